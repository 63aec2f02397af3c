"""EXIF orientation: how a stored picture is turned for display, and how the displayed picture is mirrored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

TAG = 0x0112  # EXIF 2.3, table 4: Orientation

_SWAPS = frozenset({5, 6, 7, 8})  # stored lying down: rows are displayed as columns
# A mirror after the display's turn. Each of the eight turns is "swap the axes, then turn rows and columns
# round"; a mirror changes only the last of these three.
_COLUMNS_REVERSED = frozenset({1, 4, 5, 8})
_ROWS_REVERSED = frozenset({3, 4, 7, 8})

_MIRRORED_TURNS = {
    1: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.FLIP_TOP_BOTTOM,
    4: Image.Transpose.ROTATE_180,
    5: Image.Transpose.ROTATE_270,
    6: Image.Transpose.TRANSPOSE,
    7: Image.Transpose.ROTATE_90,
    8: Image.Transpose.TRANSVERSE,
}
"""Of each orientation, the display's turn and a mirror as one; 2 is stored mirrored already."""

Samples = npt.NDArray[np.uint8]


def swaps_sides(orientation: int) -> bool:
    """Whether width and height change places when the picture is displayed."""
    return orientation in _SWAPS


def mirror_displayed(samples: Samples, orientation: int) -> Samples:
    """Stored samples (rows, columns, …) → the displayed picture, mirrored and upright, as a view without a copy."""
    if orientation in _SWAPS:
        samples = np.swapaxes(samples, 0, 1)
    if orientation in _COLUMNS_REVERSED:
        samples = samples[:, ::-1]
    if orientation in _ROWS_REVERSED:
        samples = samples[::-1]
    return samples


def mirror_image(image: Image.Image, orientation: int) -> Image.Image:
    """Stored picture → the displayed picture, mirrored and upright, as a copy."""
    turn = _MIRRORED_TURNS.get(orientation)
    return image.copy() if turn is None else image.transpose(turn)


def exif_block(orientation: int) -> bytes:
    """An EXIF block that holds only the orientation; empty for 1, which needs no tag."""
    if orientation == 1:
        return b""
    exif = Image.Exif()
    exif[TAG] = orientation
    return exif.tobytes()
