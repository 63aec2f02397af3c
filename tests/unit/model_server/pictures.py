"""Pictures for the model-server's tests: the real selfies where they are, and made ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SELFIES = Path(__file__).parents[4] / "shared" / "data" / "selfies"

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture is stored so that its EXIF orientation turns it back."""


def face(width: int = 300, height: int = 360) -> Image.Image:
    """A drawn head that is not symmetric in any way, so that every wrong turn shows."""
    across, down = np.meshgrid(np.linspace(40, 150, width), np.linspace(60, 200, height))
    pixels = np.stack([across, down, (across + down) / 2], axis=-1).astype(np.uint8)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.2, height * 0.1, width * 0.8, height * 0.9), fill=(214, 170, 140))
    draw.ellipse((width * 0.32, height * 0.35, width * 0.42, height * 0.42), fill=(40, 30, 30))
    draw.ellipse((width * 0.55, height * 0.55, width * 0.75, height * 0.7), fill=(200, 60, 60))
    return image


def encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    """The picture as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def oriented(orientation: int, upright: Image.Image | None = None) -> bytes:
    """A picture, the drawn head, as a JPEG stored in one of the eight EXIF orientations; it displays upright."""
    image = upright or face()
    stored = image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, exif=exif, quality=95)


def orientations() -> dict[str, dict[int, bytes]]:
    """Sets of one picture in all eight orientations: the drawn one, and the real one where it is there."""
    sets = {"drawn": {orientation: oriented(orientation) for orientation in range(1, 9)}}
    if SELFIES.is_dir():
        sets["photograph"] = {
            orientation: (SELFIES / f"astronaut_orient{orientation}.jpg").read_bytes() for orientation in range(1, 9)
        }
    return sets


def animated(format: str) -> bytes:
    """A moving picture of two frames."""
    return encoded(face(), format, save_all=True, append_images=[face().transpose(Image.Transpose.ROTATE_180)])


def noise(side: int, seed: int = 1) -> Image.Image:
    """A picture that no codec makes small."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))
