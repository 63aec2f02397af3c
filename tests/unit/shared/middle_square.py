"""The preprocessing of models from before faces were looked for, written out: what its versions must give."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.imaging import decode, needed_side


def square(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """The middle square of a picture at `size` × `size` pixels, uint8 (size, size, 3), RGB."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    resized = image.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side), reducing_gap=3.0
    )
    return np.asarray(resized, dtype=np.uint8)


def model_input(data: bytes, size: int) -> npt.NDArray[np.uint8]:
    """The same of an encoded picture."""
    return square(decode(data, min_side=needed_side(size)).image, size)
