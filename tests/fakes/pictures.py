"""Small pictures that pass the review gate: noise, sharp and never alike."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

SIDE = 256  # pixels: the least that the gate takes


def noise(seed: int, width: int = SIDE, height: int = SIDE) -> Image.Image:
    """Coarse and fine noise: it stays itself when it is made smaller or encoded anew."""
    random = np.random.default_rng(seed)
    coarse = random.integers(40, 216, (16, 16), dtype=np.uint8)
    large = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    fine = random.integers(-30, 31, (height, width), dtype=np.int16)
    return Image.fromarray(np.clip(large + fine, 0, 255).astype(np.uint8)).convert("RGB")


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """The picture as a file's bytes; a PNG is not compressed, which is quick."""
    buffer = io.BytesIO()
    image.save(buffer, format, **{**({"compress_level": 0} if format == "PNG" else {}), **options})
    return buffer.getvalue()


def png(seed: int, **size: int) -> bytes:
    """A noise picture as PNG."""
    return encoded(noise(seed, **size))


def unmarked(data: bytes) -> bytes:
    """A PNG without the one chunk of text that says how it was made: the bytes that a provider gave."""
    at = data.index(b"iTXtXML:com.adobe.xmp\0") - 4
    (length,) = struct.unpack_from(">I", data, at)
    assert b"DigitalSourceType" in data[at : at + 12 + length]
    return data[:at] + data[at + 12 + length :]
