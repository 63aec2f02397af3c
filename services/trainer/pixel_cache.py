"""The cache of decoded pictures that all training runs share.

A file of raw pixels that only grows, and an index of SHA-256 sums: a run on a larger dataset decodes only what is
new. Deleting the cache costs only time.
"""

from __future__ import annotations

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

from shared.errors import ImageError, TrainingFailed
from shared.imaging import model_input

PREPROCESSING = "shared.imaging.square/3"  # names the cache: another preprocessing is another cache
_DIGEST = 64  # hexadecimal digits of a SHA-256
_CHUNK = 64  # pictures decoded between two writes to disk

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One encoded file of the dataset: an original or a variant."""

    image_id: str
    key: str
    sha256: str


class PixelCache:
    """Decoded pictures of one size: `pixels.u8` holds rows (S, S, 3), `index` their SHA-256 sums in order.

    Several processes may use one directory. A row counts once its sum is in the index. The index is written after
    the pixels are on disk, so a process killed in between leaves no half-written row.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        """Where caches of all sizes lie."""
        self._size = size
        self._directory = directory / f"{hashlib.sha256(PREPROCESSING.encode()).hexdigest()[:8]}-{size}"
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

    def add(self, pictures: Iterable[Picture], encoded: Path, threads: int) -> dict[str, str]:
        """Decode the files that are not there yet. Returns why, by SHA-256, of those that cannot be read.

        Raises TrainingFailed where a file in `encoded` is missing or is not the one that was fetched.
        """
        unreadable: dict[str, str] = {}
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
                    added: list[str] = []
                    for picture, decoded in zip(
                        chunk, pool.map(lambda picture: self._decode(picture, encoded), chunk), strict=True
                    ):
                        if isinstance(decoded, ImageError):
                            unreadable[picture.sha256] = decoded.message
                        else:
                            pixels.write(decoded.tobytes())
                            added.append(picture.sha256)
                    pixels.flush()
                    os.fsync(pixels.fileno())
                    index.write("".join(f"{digest}\n" for digest in added).encode())
                    index.flush()
        return unreadable

    def rows(self, sums: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row numbers by the files' SHA-256 sums. Raises TrainingFailed for a file that was never added."""
        known = self.known()
        try:
            return np.array([known[digest] for digest in sums], dtype=np.int64)
        except KeyError as error:
            raise TrainingFailed(f"The file with SHA-256 {error.args[0]} was not decoded.") from error

    def read(self, rows: npt.NDArray[np.int64]) -> Pixels:
        """Copy some rows, uint8 (n, S, S, 3).

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

    def _decode(self, picture: Picture, encoded: Path) -> Pixels | ImageError:
        path = encoded / picture.sha256
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise TrainingFailed(f"The file of image {picture.image_id} ('{picture.key}') was not fetched.") from error
        try:
            return model_input(data, self._size)
        except ImageError as error:
            if hashlib.sha256(data).hexdigest() == picture.sha256:
                return error
            path.unlink(missing_ok=True)  # damaged here, by a crash or the disk: the next try fetches it again
            raise TrainingFailed(f"The file of image {picture.image_id} was damaged after it was fetched.") from error


def _chunks(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    remaining = iter(pictures)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
