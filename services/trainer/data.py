"""Turns a manifest into the arrays of each fold: fetches the files, has them decoded, reads labels and masks.

The train fold holds originals and variants; validation and test hold originals only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.trainer.pixel_cache import Picture, PixelCache, Pixels
from shared.blobs import Blobs
from shared.errors import BlobNotFound, DatasetTooSmall, ImagesUnreadable
from shared.faces import FaceDetector
from shared.frames import Frame
from shared.manifest import ManifestImage, ManifestVariant, parse_manifest
from shared.model_card import LeftOut
from shared.taxonomy import Condition, Fold

CONDITIONS = tuple(Condition)
UNGRADED = -1  # present, severity not known
FLIP = "hflip"  # the operation of a variant that is the mirror image
UNKNOWN = -2  # nobody said whether it is present
MIN_IMAGES = 2  # of each fold: below this nothing can be fitted, stopped or measured
PARITY_IMAGES = 8  # encoded files that the parity check starts from
LEFT_OUT_SHARE = 0.01  # of a manifest's images may be unreadable; one always may
FETCHES_AT_ONCE = 8  # open reads of the store: enough to hide its latency, few enough for its connection pool

Severities = npt.NDArray[np.int8]


def originals(images: Iterable[ManifestImage], fold: Fold) -> list[ManifestImage]:
    """The images of one fold, in the manifest's order."""
    return [image for image in images if image.fold is fold]


def check_folds(images: Sequence[ManifestImage]) -> None:
    """Raise DatasetTooSmall unless every fold has MIN_IMAGES images and the train fold has something to tell apart.

    That is a condition which some of its images show and others do not. A condition that no image shows is no error: a
    model never answers it, see `abstention`.
    """
    for fold in Fold:
        found = len(originals(images, fold))
        if found < MIN_IMAGES:
            raise DatasetTooSmall(
                f"The {fold.value} fold has {found} images; {MIN_IMAGES} are needed.",
                advice="Import or generate more images, and train again.",
                fold=fold.value,
                images=found,
            )
    present = [bool(image.labels) for image in originals(images, Fold.TRAIN)]
    if not any(present):
        raise DatasetTooSmall(
            "No image of the train fold shows a condition.", advice="Import images with a condition, and train again."
        )
    shown, known = presence(np.array([severities_of(image) for image in originals(images, Fold.TRAIN)], np.int8))
    if not ((shown & known).any(0) & (~shown & known).any(0)).any():
        raise DatasetTooSmall(
            "All images of the train fold show the same conditions: there is nothing to tell apart.",
            advice="Import images with other conditions, or of clear skin, and train again.",
        )


def read_manifest(data: bytes) -> list[ManifestImage]:
    """The images of a manifest's bytes. Of a frame, what is cut is kept, without the face: it is half of the memory.

    Raises InvalidRequest with the number of the first wrong line.
    """
    return [
        image
        if image.frame is None
        else image.model_copy(update={"frame": image.frame.model_copy(update={"face": None})})
        for image in parse_manifest(data)
    ]


def pictures_of(image: ManifestImage) -> list[Picture]:
    """The files of an image that a run uses: the original, and in the train fold its variants."""
    name = str(image.image_id)
    found = [Picture(name, image.key, image.sha256, image.frame)]
    if image.fold is Fold.TRAIN:
        found += [Picture(name, each.key, each.sha256, _frame_of(each, image.frame)) for each in image.variants]
    return found


def _frame_of(variant: ManifestVariant, frame: Frame | None) -> Frame | None:
    """The frame of an original's variant; None where it is not known."""
    if frame is None or variant.operation != FLIP:
        return None
    return frame.mirrored()


def parity_pictures(images: Sequence[ManifestImage]) -> list[Picture]:
    """The files of the parity check: PARITY_IMAGES originals of the test fold, chosen by their ids."""
    chosen = sorted(originals(images, Fold.TEST), key=shuffle_key)[:PARITY_IMAGES]
    return [pictures_of(image)[0] for image in chosen]


def parity_files(images: Sequence[ManifestImage], encoded: Path) -> list[bytes]:
    """Read the files of the parity check, of those that lie in `encoded`."""
    fetched = [image for image in images if (encoded / image.sha256).exists()]
    return [(encoded / picture.sha256).read_bytes() for picture in parity_pictures(fetched)]


def left_out(images: Iterable[ManifestImage], unreadable: Mapping[str, str]) -> list[LeftOut]:
    """The images that have an unreadable file, each with the first one. `unreadable`: why, by the file's SHA-256."""
    found: dict[str, LeftOut] = {}
    for image in images:
        for picture in pictures_of(image):
            if picture.sha256 in unreadable and picture.image_id not in found:
                why = unreadable[picture.sha256]
                found[picture.image_id] = LeftOut(image_id=picture.image_id, key=picture.key, reason=why)
    return list(found.values())


def readable_images(images: Sequence[ManifestImage], unreadable: Mapping[str, str]) -> list[ManifestImage]:
    """The images all of whose files can be read. `unreadable`: why, by the file's SHA-256.

    Raises ImagesUnreadable where more than one image and more than LEFT_OUT_SHARE of them would be left out: so
    many are no accident, and a model without them is not the one that was asked for.
    """
    missing = left_out(images, unreadable)
    allowed = max(1, int(len(images) * LEFT_OUT_SHARE))
    if len(missing) > allowed:
        first = missing[0]
        raise ImagesUnreadable(
            f"{len(missing)} of {len(images)} images cannot be read, and {allowed} may be left out; "
            f"image {first.image_id} ('{first.key}'): {first.reason}",
            advice="Restore the objects from a backup, or reject the images, and train again.",
        )
    gone = {entry.image_id for entry in missing}
    return [image for image in images if str(image.image_id) not in gone]


def shuffle_key(image: ManifestImage) -> str:
    """Sort key of an order that never changes and depends on neither age nor content."""
    return hashlib.sha256(str(image.image_id).encode()).hexdigest()


def severities_of(image: ManifestImage) -> list[int]:
    """An image's label for every condition: 0 to 3, UNGRADED, or UNKNOWN where the labelling is incomplete."""
    unnamed = 0 if image.complete else UNKNOWN
    return [
        unnamed
        if condition not in image.labels
        else UNGRADED
        if (severity := image.labels[condition]) is None
        else int(severity)
        for condition in CONDITIONS
    ]


def presence(severity: Severities) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Whether each condition is present, and whether that is known at all; same shape as `severity`."""
    return (severity >= 1) | (severity == UNGRADED), severity != UNKNOWN


async def fetch(
    blobs: Blobs, images: Sequence[ManifestImage], encoded: Path, caches: Sequence[PixelCache]
) -> dict[str, str]:
    """Copy files from the store into `encoded`: those of the parity check, and those not yet decoded in every cache.

    Checks each file against its SHA-256. Returns why, by SHA-256, of the files that are missing or not those that
    the manifest names. Raises ImagesUnreadable where they are too many, StoreUnavailable.
    """
    decoded = [(cache.view, cache.known()) for cache in caches]
    await asyncio.to_thread(encoded.mkdir, parents=True, exist_ok=True)
    unreadable: dict[str, str] = {}
    while True:
        readable = readable_images(images, unreadable)
        wanted = {picture.sha256: picture for picture in parity_pictures(readable)}
        for image in readable:
            for picture in pictures_of(image):
                if not all(view.sum_of(picture) in known for view, known in decoded):
                    wanted[picture.sha256] = picture
        failed = await _fetch_all(blobs, wanted.values(), encoded)
        if not failed:
            return unreadable
        unreadable |= failed  # once more: other images take their places in the parity check


async def _fetch_all(blobs: Blobs, pictures: Iterable[Picture], encoded: Path) -> dict[str, str]:
    """Fetch files. Returns why, by SHA-256, of those that cannot be had."""
    waiting = iter(pictures)  # one queue for all fetchers: memory stays that of FETCHES_AT_ONCE files
    failed: dict[str, str] = {}

    async def fetch_next() -> None:
        for picture in waiting:
            problem = await _fetch_one(blobs, picture, encoded)
            if problem is not None:
                failed[picture.sha256] = problem

    async with asyncio.TaskGroup() as group:
        for number in range(FETCHES_AT_ONCE):
            group.create_task(fetch_next(), name=f"fetch {number}")
    return failed


async def _fetch_one(blobs: Blobs, picture: Picture, encoded: Path) -> str | None:
    """Fetch one file, unless an earlier try of this run did. Returns why it cannot be had, or None."""
    target = encoded / picture.sha256
    if target.exists():
        return None
    try:
        data = (await blobs.get(picture.key)).data
    except BlobNotFound:
        return "The file is not in the store."
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        return "The file is not the one that the manifest names."

    def write() -> None:
        partial = target.with_suffix(".partial")
        partial.write_bytes(data)
        os.replace(partial, target)

    await asyncio.to_thread(write)
    return None


@dataclass(frozen=True)
class FoldData:
    """The N samples of one fold.

    `image_ids`: the original that each sample comes from; `root_ids`: the root of each. `rows`: where in `cache` each
    sample's pixels lie. `severity`: int8 (N, 7), the labels as `severities_of` gives them.
    """

    image_ids: list[str]
    root_ids: list[str]
    rows: npt.NDArray[np.int64]
    severity: Severities
    cache: PixelCache

    def __len__(self) -> int:
        return len(self.image_ids)

    def batch(self, indices: npt.NDArray[np.int64]) -> Pixels:
        """Copy some samples' pixels, uint8 (n, S, S, 3)."""
        return self.cache.read(self.rows[indices])


def decode(
    images: Sequence[ManifestImage],
    encoded: Path,
    cache: PixelCache,
    threads: int,
    detector: FaceDetector | None,
    folds: Iterable[Fold] = Fold,
) -> dict[str, str]:
    """Decode what the cache lacks of some folds. Returns why, by SHA-256, of the files that cannot be read.

    `detector`: for pictures whose frame is not known; None where the cache's view does not look.
    """
    found = (picture for fold in folds for image in originals(images, fold) for picture in pictures_of(image))
    return cache.add(found, encoded, threads, detector)


def load_folds(
    images: Sequence[ManifestImage], cache: PixelCache, folds: Iterable[Fold] = Fold
) -> dict[Fold, FoldData]:
    """The folds as a cache's view sees them, of images that are decoded. Raises TrainingFailed for one that is not."""
    per_fold = {
        fold: [(image, picture) for image in originals(images, fold) for picture in pictures_of(image)]
        for fold in folds
    }
    return {
        fold: FoldData(
            [picture.image_id for _, picture in pairs],
            [str(image.root_id) for image, _ in pairs],
            cache.rows([picture for _, picture in pairs]),
            np.array([severities_of(image) for image, _ in pairs], dtype=np.int8).reshape(-1, len(CONDITIONS)),
            cache,
        )
        for fold, pairs in per_fold.items()
    }
