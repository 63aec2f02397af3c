"""Refuses a manifest whose test fold was seen in training: then its figures would say how well a model remembers.

The ledger keeps what looks the same in one fold. This is the trainer's own look at what it was given, since a manifest
may have been written by hand, or by a program with a fault: by roots and files, and by the decoded pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from services.trainer.data import FoldData
from shared.errors import FoldsLeak
from shared.manifest import ManifestImage
from shared.taxonomy import Fold

GRID = 16  # squares on a side, whose mean colours are compared
ALIKE = 3.0  # of 255: root mean square difference of the mean colours, up to which two pictures are one
STRUCTURE = 0.2
"""Most of that difference, as a share of the standard deviation of the test picture's mean colours about its own mean
colour: two patches of even skin of one tone differ little, and are two all the same."""
_BATCH = 32  # pictures of the cache at a time: 5 MB
_ADVICE = "Bring the images in anew as one group (import --groups folder), or reject one of them; then train again."

Looks = npt.NDArray[np.float32]


def check_files(images: Sequence[ManifestImage]) -> None:
    """Raise FoldsLeak where an image, a root, or a file, of an original or a variant, is in two folds."""
    for what, named in (
        ("image", ((str(image.image_id), image) for image in images)),
        ("root", ((str(image.root_id), image) for image in images)),
        ("file with SHA-256", _files(images)),
    ):
        seen: dict[str, ManifestImage] = {}
        for name, image in named:
            other = seen.setdefault(name, image)
            if other.fold is not image.fold:
                raise FoldsLeak(
                    f"The {what} {name} is in the {other.fold.value} fold (image {other.image_id}) and in the "
                    f"{image.fold.value} fold (image {image.image_id}).",
                    advice=_ADVICE,
                )


def _files(images: Iterable[ManifestImage]) -> Iterator[tuple[str, ManifestImage]]:
    for image in images:
        yield image.sha256, image
        yield from ((variant.sha256, image) for variant in image.variants)


def check_looks(folds: Mapping[Fold, FoldData]) -> None:
    """Raise FoldsLeak where a test picture looks the same as one of another fold, mirrored or not.

    It finds what was encoded anew, scaled or mirrored; not what was cut, turned or lit otherwise. Of 25 drawn faces
    encoded anew as JPEG of quality 90 and framed anew, it finds 20 (the others differ by up to 4.1); two different
    ones differ by 14.9 or more.
    """
    tested = _looks(folds[Fold.TEST])
    sides = np.concatenate([tested, tested[:, :, ::-1]]).reshape(2 * len(tested), -1)
    squares = (sides**2).sum(1)
    spread = (tested - tested.mean((1, 2), keepdims=True)).reshape(len(tested), -1).std(1)
    limits = np.minimum(ALIKE, STRUCTURE * np.tile(spread, 2)) ** 2
    for fold in (Fold.TRAIN, Fold.VALIDATION):
        data = folds[fold]
        for start in range(0, len(data), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(data)))
            others = _grid(data.batch(rows)).reshape(len(rows), -1)
            # |a - b|² = |a|² + |b|² - 2ab: one product for all pairs
            distance = (squares + (others**2).sum(1)[:, None] - 2 * others @ sides.T) / sides.shape[1]
            if (distance < limits).any():
                row, column = np.unravel_index(int((distance - limits).argmin()), distance.shape)
                raise FoldsLeak(
                    f"Image {folds[Fold.TEST].image_ids[int(column) % len(tested)]} of the test fold looks the same as "
                    f"image {data.image_ids[int(rows[row])]} of the {fold.value} fold.",
                    advice=_ADVICE,
                )


def _looks(data: FoldData) -> Looks:
    starts = range(0, len(data), _BATCH)
    return np.concatenate([_grid(data.batch(np.arange(start, min(start + _BATCH, len(data))))) for start in starts])


def _grid(pixels: npt.NDArray[np.uint8]) -> Looks:
    """uint8 (n, S, S, 3) → mean colours less 128, so that their squares are small: float32 (n, GRID, GRID, 3)."""
    side = pixels.shape[1] // GRID
    cut = pixels[:, : side * GRID, : side * GRID].reshape(len(pixels), GRID, side, GRID, side, 3)
    means: Looks = cut.mean((2, 4), dtype=np.float32) - 128
    return means
