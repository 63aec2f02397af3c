"""Turns a manifest into the arrays of each fold: fetches the files, has them decoded, reads labels and masks.

The train fold holds originals and variants; validation and test hold originals only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.trainer.pixel_cache import Picture, PixelCache, Pixels
from shared.blobs import Blobs
from shared.errors import DatasetTooSmall, TrainingFailed
from shared.manifest import ManifestImage
from shared.taxonomy import Condition, Fold

CONDITIONS = tuple(Condition)
UNGRADED = -1  # present, severity not known
UNKNOWN = -2  # nobody said whether it is present
MIN_IMAGES = 2  # of each fold: below this nothing can be fitted, stopped or measured
PARITY_IMAGES = 8  # encoded files that the parity check starts from
FETCHES_AT_ONCE = 8  # open reads of the store: enough to hide its latency, few enough for its connection pool

Severities = npt.NDArray[np.int8]


def originals(images: Iterable[ManifestImage], fold: Fold) -> list[ManifestImage]:
    """The images of one fold, in the manifest's order."""
    return [image for image in images if image.fold is fold]


def check_folds(images: Sequence[ManifestImage]) -> None:
    """Raise DatasetTooSmall unless every fold has MIN_IMAGES images and the train fold shows a condition."""
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


def pictures_of(image: ManifestImage) -> list[Picture]:
    """The files of an image that a run uses: the original, and in the train fold its variants."""
    found = [Picture(str(image.image_id), image.key, image.sha256)]
    if image.fold is Fold.TRAIN:
        found += [Picture(str(image.image_id), variant.key, variant.sha256) for variant in image.variants]
    return found


def parity_pictures(images: Sequence[ManifestImage]) -> list[Picture]:
    """The files of the parity check: PARITY_IMAGES originals of the test fold, chosen by their ids."""
    chosen = sorted(originals(images, Fold.TEST), key=shuffle_key)[:PARITY_IMAGES]
    return [pictures_of(image)[0] for image in chosen]


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
    blobs: Blobs, images: Sequence[ManifestImage], encoded: Path, cache: Path, sizes: Iterable[int]
) -> list[Picture]:
    """Copy files from the store into `encoded`: those of the parity check, and those not yet decoded at every size.

    Checks each file against its SHA-256. Returns the files that lie in `encoded` afterwards. Raises BlobNotFound
    for a missing file, TrainingFailed for a changed one, StoreUnavailable.
    """
    decoded = [PixelCache(cache, size).known() for size in sizes]
    wanted = {picture.sha256: picture for picture in parity_pictures(images)}
    for image in images:
        for picture in pictures_of(image):
            if not all(picture.sha256 in known for known in decoded):
                wanted[picture.sha256] = picture
    await asyncio.to_thread(encoded.mkdir, parents=True, exist_ok=True)
    waiting = iter(wanted.values())  # one queue for all fetchers: memory stays that of FETCHES_AT_ONCE files

    async def fetch_next() -> None:
        for picture in waiting:
            await _fetch_one(blobs, picture, encoded)

    async with asyncio.TaskGroup() as group:
        for number in range(FETCHES_AT_ONCE):
            group.create_task(fetch_next(), name=f"fetch {number}")
    return list(wanted.values())


async def _fetch_one(blobs: Blobs, picture: Picture, encoded: Path) -> None:
    target = encoded / picture.sha256
    if target.exists():  # from an earlier try of this run
        return
    data = (await blobs.get(picture.key)).data
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise TrainingFailed(
            f"The file of image {picture.image_id} ('{picture.key}') is not the one that the manifest names.",
            advice="Restore the object from a backup, or reject the image.",
        )

    def write() -> None:
        partial = target.with_suffix(".partial")
        partial.write_bytes(data)
        os.replace(partial, target)

    await asyncio.to_thread(write)


@dataclass(frozen=True)
class FoldData:
    """The N samples of one fold.

    `image_ids`: the original that each sample comes from. `rows`: where in `cache` each sample's pixels lie.
    `severity`: int8 (N, 7), the labels as `severities_of` gives them.
    """

    image_ids: list[str]
    rows: npt.NDArray[np.int64]
    severity: Severities
    cache: PixelCache

    def __len__(self) -> int:
        return len(self.image_ids)

    def batch(self, indices: npt.NDArray[np.int64]) -> Pixels:
        """Copy some samples' pixels, uint8 (n, S, S, 3)."""
        return self.cache.read(self.rows[indices])

    def subset(self, image_ids: Iterable[str]) -> FoldData:
        """The samples of some images, in this fold's order."""
        wanted = set(image_ids)
        keep = [position for position, image_id in enumerate(self.image_ids) if image_id in wanted]
        return FoldData([self.image_ids[k] for k in keep], self.rows[keep], self.severity[keep], self.cache)


def load_folds(
    images: Sequence[ManifestImage],
    encoded: Path,
    cache: Path,
    size: int,
    threads: int,
    folds: Sequence[Fold] = tuple(Fold),
) -> dict[Fold, FoldData]:
    """Decode what the cache lacks, and return the folds at `size` pixels. Raises TrainingFailed for a damaged image."""
    store = PixelCache(cache, size)
    per_fold = {
        fold: [(image, picture) for image in originals(images, fold) for picture in pictures_of(image)]
        for fold in folds
    }
    store.add((picture for pairs in per_fold.values() for _, picture in pairs), encoded, threads)
    return {
        fold: FoldData(
            [picture.image_id for _, picture in pairs],
            store.rows([picture.sha256 for _, picture in pairs]),
            np.array([severities_of(image) for image, _ in pairs], dtype=np.int8).reshape(-1, len(CONDITIONS)),
            store,
        )
        for fold, pairs in per_fold.items()
    }
