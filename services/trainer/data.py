"""From a manifest to arrays: which files a run needs, fetching them, decoding each once, labels with masks.

Training sees originals and variants of the train fold; validation and test see originals only. Decoded
pictures lie in a cache shared by all runs: a file of raw pixels that only grows, and an index of SHA-256
sums, so the next run on a larger dataset decodes only what is new. Deleting the cache costs only time.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from shared.blobs import Blobs
from shared.errors import DatasetTooSmall, ImageError, TrainingFailed
from shared.imaging import model_input
from shared.manifest import ManifestImage
from shared.taxonomy import Condition, Fold

CONDITIONS = tuple(Condition)
UNGRADED = -1  # present, severity not known
UNKNOWN = -2  # nobody said whether it is present
MIN_IMAGES = 2  # of each fold: below this nothing can be fitted, stopped or measured
PARITY_IMAGES = 8  # encoded files that the parity check starts from
FETCHES_AT_ONCE = 8  # open reads of the store: enough to hide its latency, few enough for its connection pool
PREPROCESSING = "shared.imaging.square/1"  # names the cache: another preprocessing is another cache
_DIGEST = 64  # hexadecimal digits of a SHA-256
_CHUNK = 64  # pictures decoded between two writes to disk

Pixels = npt.NDArray[np.uint8]
Severities = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Picture:
    """One encoded file of the dataset: an original or a variant."""

    image_id: str
    key: str
    sha256: str


def originals(images: Iterable[ManifestImage], fold: Fold) -> list[ManifestImage]:
    """The images of one fold, in the manifest's order."""
    return [image for image in images if image.fold is fold]


def check_folds(images: Sequence[ManifestImage]) -> None:
    """Raise DatasetTooSmall unless every fold has images, and the train fold two different presences."""
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
    """The files of an image that a run uses: its variants only where it is trained on."""
    found = [Picture(str(image.image_id), image.key, image.sha256)]
    if image.fold is Fold.TRAIN:
        found += [Picture(str(image.image_id), variant.key, variant.sha256) for variant in image.variants]
    return found


def parity_pictures(images: Sequence[ManifestImage]) -> list[Picture]:
    """The files on which PyTorch and ONNX Runtime have to agree: originals of the test fold, chosen by id."""
    chosen = sorted(originals(images, Fold.TEST), key=lambda image: hash_of(str(image.image_id)))[:PARITY_IMAGES]
    return [pictures_of(image)[0] for image in chosen]


def hash_of(text: str) -> str:
    """An order that is the same for ever and has nothing to do with time or content."""
    return hashlib.sha256(text.encode()).hexdigest()


def severities_of(image: ManifestImage) -> list[int]:
    """The label of every condition: 0 to 3, UNGRADED, or UNKNOWN where the labelling is incomplete."""
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
    """Copy from the store every file that is not decoded at all `sizes` yet, and those of the parity check.

    Each is checked against its SHA-256. Returns the files that lie in `encoded` afterwards. Raises
    TrainingFailed for a file that is missing or changed, StoreUnavailable.
    """
    decoded = [PixelCache(cache, size).known() for size in sizes]
    wanted = {picture.sha256: picture for picture in parity_pictures(images)}
    for image in images:
        for picture in pictures_of(image):
            if not all(picture.sha256 in known for known in decoded):
                wanted[picture.sha256] = picture
    await asyncio.to_thread(encoded.mkdir, parents=True, exist_ok=True)
    waiting = iter(wanted.values())  # one queue for all fetchers: memory stays that of FETCHES_AT_ONCE files

    async def work() -> None:
        for picture in waiting:
            await _fetch_one(blobs, picture, encoded)

    async with asyncio.TaskGroup() as group:
        for number in range(FETCHES_AT_ONCE):
            group.create_task(work(), name=f"fetch {number}")
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


class PixelCache:
    """Decoded pictures of one size: `pixels.u8` holds rows (S, S, 3), `index` their SHA-256 sums in order.

    Safe for several processes. A row counts once its sum is in the index, which is written after the
    pixels are on disk; so a process killed in between leaves nothing half-written.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self._size = size
        self._directory = directory / f"{hash_of(PREPROCESSING)[:8]}-{size}"
        self._pixels = self._directory / "pixels.u8"
        self._index = self._directory / "index"

    def known(self) -> dict[str, int]:
        """Row number by SHA-256 of the encoded file."""
        try:
            text = self._index.read_text()
            rows = min(len(text) // (_DIGEST + 1), self._pixels.stat().st_size // self._row_bytes)
        except FileNotFoundError:
            return {}
        return {text[row * (_DIGEST + 1) : row * (_DIGEST + 1) + _DIGEST]: row for row in range(rows)}

    def add(self, pictures: Iterable[Picture], encoded: Path, threads: int) -> None:
        """Decode the files that are not there yet. Raises TrainingFailed naming the image that is damaged."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "lock").open("a") as lock, ThreadPoolExecutor(max(1, threads)) as pool:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file closes
            known = self.known()
            missing = {picture.sha256: picture for picture in pictures if picture.sha256 not in known}
            with self._open(self._pixels) as pixels, self._open(self._index) as index:
                pixels.truncate(len(known) * self._row_bytes)
                index.truncate(len(known) * (_DIGEST + 1))
                pixels.seek(0, os.SEEK_END)
                index.seek(0, os.SEEK_END)
                for chunk in _chunks(missing.values()):
                    # Pillow releases the interpreter lock while it decodes: threads use all cores.
                    for decoded in pool.map(lambda picture: self._decode(picture, encoded), chunk):
                        pixels.write(decoded.tobytes())
                    pixels.flush()
                    os.fsync(pixels.fileno())
                    index.write("".join(f"{picture.sha256}\n" for picture in chunk).encode())
                    index.flush()

    def rows(self, sums: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row numbers of files that were added. Raises TrainingFailed for one that was not."""
        known = self.known()
        try:
            return np.array([known[digest] for digest in sums], dtype=np.int64)
        except KeyError as error:
            raise TrainingFailed(f"The file with SHA-256 {error.args[0]} was not decoded.") from error

    def read(self, rows: npt.NDArray[np.int64]) -> Pixels:
        """Copy of some rows, uint8 (n, S, S, 3).

        The file is mapped for this call alone: pages that stay mapped would count as this process's memory.
        """
        return np.asarray(np.memmap(self._pixels, np.uint8, "r").reshape(-1, self._size, self._size, 3)[rows])

    @property
    def _row_bytes(self) -> int:
        return self._size * self._size * 3

    @staticmethod
    def _open(path: Path) -> BinaryIO:
        path.touch()
        return path.open("r+b")

    def _decode(self, picture: Picture, encoded: Path) -> Pixels:
        try:
            return model_input((encoded / picture.sha256).read_bytes(), self._size)
        except (ImageError, FileNotFoundError) as error:
            raise TrainingFailed(
                f"Image {picture.image_id} ('{picture.key}') cannot be read: {error}",
                advice="Reject the image, and train again.",
            ) from error


def _chunks(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    remaining = iter(pictures)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


@dataclass(frozen=True)
class FoldData:
    """One fold, ready to use.

    `image_ids`: of each sample's original. `rows`: its pixels' place in `cache`. `severity`: int8 (N, 7) as
    `severities_of` gives it.
    """

    image_ids: list[str]
    rows: npt.NDArray[np.int64]
    severity: Severities
    cache: PixelCache

    def __len__(self) -> int:
        return len(self.image_ids)

    def batch(self, indices: npt.NDArray[np.int64]) -> Pixels:
        """Copy of some samples' pixels, uint8 (n, S, S, 3)."""
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
    """Decode what is new and return the folds at `size` pixels. Raises TrainingFailed naming a damaged image."""
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
