"""The cache of decoded pictures that all training runs share.

A file of raw pixels that only grows, and an index of SHA-256 sums: a run on a larger dataset decodes only what is
new. Deleting the cache costs only time.
"""

from __future__ import annotations

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
from filelock import FileLock

from shared.errors import ImageError, InvalidRequest, TrainingFailed
from shared.faces import FaceDetector
from shared.frames import Frame
from shared.preprocessing import Preprocessing, prepare

_DIGEST = 64  # hexadecimal digits of a SHA-256
_CHUNK = 64  # pictures decoded between two writes to disk

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One encoded file of the dataset: an original or a variant. `frame`: None where it is not known."""

    image_id: str
    key: str
    sha256: str
    frame: Frame | None = None


@dataclass(frozen=True)
class View:
    """How a model sees pictures: at `size` × `size` pixels, by a preprocessing.

    `looks`: whether faces are looked for where no frame is known; never where the preprocessing frames none.
    """

    size: int
    preprocessing: Preprocessing
    looks: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", self.looks and self.preprocessing.frames_the_face)

    def sum_of(self, picture: Picture) -> str:
        """SHA-256 of what a picture's pixels follow from, in hexadecimal: its file, and its frame where that counts."""
        if picture.frame is None or not self.preprocessing.frames_the_face:
            return picture.sha256
        return hashlib.sha256(f"{picture.sha256} {picture.frame.model_dump_json()}".encode()).hexdigest()


class PixelCache:
    """Decoded pictures of one view: `pixels.u8` holds rows (S, S, 3), `index` their sums in order.

    Several processes may use one directory. A row counts once its sum is in the index. The index is written after
    the pixels are on disk, so a process killed in between leaves no half-written row.
    """

    def __init__(self, directory: Path, view: View) -> None:
        self.directory = directory
        """Where caches of all views lie."""
        self.view = view
        """How its pictures are seen."""
        self._size = view.size
        named = hashlib.sha256(f"{view.preprocessing} {view.looks}".encode()).hexdigest()[:8]
        self._directory = directory / f"{named}-{view.size}"
        self._pixels = self._directory / "pixels.u8"
        self._index = self._directory / "index"

    def known(self) -> dict[str, int]:
        """Row number by sum, as `View.sum_of` gives it."""
        try:
            text = self._index.read_text()
            rows = min(len(text) // (_DIGEST + 1), self._pixels.stat().st_size // self._row_bytes)
        except FileNotFoundError:
            return {}
        return {text[row * (_DIGEST + 1) : row * (_DIGEST + 1) + _DIGEST]: row for row in range(rows)}

    def add(
        self, pictures: Iterable[Picture], encoded: Path, threads: int, detector: FaceDetector | None
    ) -> dict[str, str]:
        """Decode the files that are not there yet. Returns why, by the file's SHA-256, of those that cannot be read.

        `detector`: for pictures without a frame; None where the view does not look. Raises TrainingFailed where a file
        in `encoded` is missing or is not the one that was fetched.
        """
        unreadable: dict[str, str] = {}
        self._directory.mkdir(parents=True, exist_ok=True)
        with FileLock(self._directory / "lock"), ThreadPoolExecutor(max(1, threads)) as pool:
            known = self.known()
            sums = ((self.view.sum_of(picture), picture) for picture in pictures)
            missing = {name: picture for name, picture in sums if name not in known}
            with self._open(self._pixels) as pixels, self._open(self._index) as index:
                pixels.truncate(len(known) * self._row_bytes)
                index.truncate(len(known) * (_DIGEST + 1))
                pixels.seek(0, os.SEEK_END)
                index.seek(0, os.SEEK_END)
                for chunk in _chunks(missing.items()):
                    # Pillow releases the interpreter lock while it decodes: threads use all cores.
                    added: list[str] = []
                    decoding = pool.map(lambda entry: self._decode(entry[1], encoded, detector), chunk)
                    for (name, picture), decoded in zip(chunk, decoding, strict=True):
                        if isinstance(decoded, str):
                            unreadable[picture.sha256] = decoded
                        else:
                            pixels.write(decoded.tobytes())
                            added.append(name)
                    pixels.flush()
                    os.fsync(pixels.fileno())
                    index.write("".join(f"{digest}\n" for digest in added).encode())
                    index.flush()
        return unreadable

    def rows(self, pictures: Sequence[Picture]) -> npt.NDArray[np.int64]:
        """Row numbers of pictures. Raises TrainingFailed for one that was never added."""
        known = self.known()
        rows = np.array([known.get(self.view.sum_of(picture), -1) for picture in pictures], dtype=np.int64)
        if (rows < 0).any():
            missing = pictures[int(rows.argmin())]
            raise TrainingFailed(f"The file with SHA-256 {missing.sha256} was not decoded.")
        return rows

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

    def _decode(self, picture: Picture, encoded: Path, detector: FaceDetector | None) -> Pixels | str:
        """A picture's pixels, or why it cannot be read."""
        path = encoded / picture.sha256
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise TrainingFailed(f"The file of image {picture.image_id} ('{picture.key}') was not fetched.") from error
        try:
            view = self.view
            return prepare(data, view.size, view.preprocessing, detector=detector, frame=picture.frame).pixels
        except (ImageError, InvalidRequest) as error:  # the latter: its frame is another picture's
            if hashlib.sha256(data).hexdigest() == picture.sha256:
                return error.message
            path.unlink(missing_ok=True)  # damaged here, by a crash or the disk: the next try fetches it again
            raise TrainingFailed(f"The file of image {picture.image_id} was damaged after it was fetched.") from error


def _chunks(pictures: Iterable[tuple[str, Picture]]) -> Iterator[list[tuple[str, Picture]]]:
    remaining = iter(pictures)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
