"""Transparency of pictures, and of a PNG in every form it can have: colours and how opaque they are."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import reduce

import numpy as np
from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngImageFile

_ROWS = 64  # of a picture that are worked on at a time


def stored_samples(image: Image.Image) -> str:
    """How an opened PNG stores its samples, in Pillow's words such as "L;4": known only until its data is loaded."""
    return str(image.tile[0][3]) if isinstance(image, PngImageFile) and image.tile else ""


def split(image: Image.Image, data: bytes, stored: str) -> tuple[Image.Image, Image.Image | None]:
    """Split a picture into its colours (L, RGB or CMYK) and their opacity (L; None: nothing says that it is not 255).

    A PNG without an alpha channel names its transparent colour or palette entries (W3C PNG, third edition, 11.3.1.1).
    """
    transparent = image.info.pop("transparency", None)
    if image.mode in ("RGBA", "LA"):
        return image.convert(image.mode[:-1]), image.getchannel("A")
    if image.mode == "P":
        opacities = bytes(255 * (entry != transparent) for entry in range(256))
        if isinstance(transparent, bytes):
            opacities = transparent[:256].ljust(256, b"\xff")
        return image.convert("RGB"), None if transparent is None else image.point(list(opacities), "L")
    if image.mode == "I;16":
        return _split_deep_grey(image, transparent)
    colours = image if image.mode in ("L", "RGB", "CMYK") else image.convert("L" if image.mode == "1" else "RGB")
    if transparent is None:
        return colours, None
    named = transparent if isinstance(transparent, tuple) else (transparent,)
    if stored == "RGB;16B":
        high, low = _opacity(image, [value >> 8 for value in named]), [value & 255 for value in named]
        return colours, ImageChops.lighter(high, _opacity(_low_bytes(data), low))
    step = {"L;2": 85, "L;4": 17}.get(stored, 1)  # between the levels that fewer bits become
    return colours, _opacity(colours, [value % (255 // step + 1) * step for value in named])


def _split_deep_grey(image: Image.Image, transparent: int | None) -> tuple[Image.Image, Image.Image | None]:
    """16 bits of grey to 8, some rows at a time: an array of all of them would take five times the picture."""
    colours = Image.new("L", image.size)
    opacity = None if transparent is None else Image.new("L", image.size)
    for top in range(0, image.height, _ROWS):
        levels = np.asarray(image.crop((0, top, image.width, min(top + _ROWS, image.height))))
        colours.paste(Image.fromarray((levels >> 8).astype(np.uint8)), (0, top))
        if opacity is not None:
            opacity.paste(Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)), (0, top))
    return colours, opacity


def _opacity(image: Image.Image, transparent: Sequence[int]) -> Image.Image:
    """0 where every channel has its transparent value, else 255."""
    masks = [
        channel.point([255 * (level != value) for level in range(256)])
        for channel, value in zip(image.split(), transparent, strict=True)
    ]
    return reduce(ImageChops.lighter, masks)


def _low_bytes(data: bytes) -> Image.Image:
    """The low bytes of a PNG's 16-bit colours, of which Pillow gives the high ones."""
    image = PngImageFile(io.BytesIO(data))
    image.tile = [image.tile[0]._replace(args="RGB;16L")]  # as if the low byte came last
    image.load()
    return image
