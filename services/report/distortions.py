"""What happens to pictures on their way: seven distortions, each at three strengths. Pure: the same bytes every time.

Lengths are shares of the picture's shorter side, so that a strength means the same at any size.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

STRENGTHS = (1, 2, 3)
SIDE = 480  # pixels that a picture's shorter side is reduced to first: bounds the time, and is enough for the frame
_SEED = 20261129

_QUALITY = (50, 25, 10)  # of JPEG
_BLUR = (0.002, 0.004, 0.008)  # standard deviation of the Gaussian, of the side
_NOISE = (5.0, 10.0, 20.0)  # standard deviation of each pixel and channel, of 255
_BRIGHTNESS = (0.8, 0.6, 0.4)  # factor
_CONTRAST = (0.8, 0.6, 0.4)  # factor of the distance from the mean grey
_CAST = ((1.08, 1.0, 0.92), (1.16, 1.0, 0.84), (1.24, 1.0, 0.76))  # factors of red, green, blue: warm light
_ROTATION = (5.0, 10.0, 20.0)  # degrees, anticlockwise


def _jpeg(image: Image.Image, level: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY[level])
    return Image.open(buffer).convert("RGB")


def _blur(image: Image.Image, level: int) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(_BLUR[level] * min(image.size)))


def _noise(image: Image.Image, level: int) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    noise = np.random.default_rng(_SEED).standard_normal(pixels.shape, dtype=np.float32)
    return _image(pixels + _NOISE[level] * noise)


def _brightness(image: Image.Image, level: int) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(_BRIGHTNESS[level])


def _contrast(image: Image.Image, level: int) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(_CONTRAST[level])


def _cast(image: Image.Image, level: int) -> Image.Image:
    return _image(np.asarray(image, dtype=np.float32) * np.array(_CAST[level], dtype=np.float32))


def _rotation(image: Image.Image, level: int) -> Image.Image:
    mean = tuple(int(value) for value in np.asarray(image).mean((0, 1)))
    return image.rotate(_ROTATION[level], Image.Resampling.BICUBIC, fillcolor=mean)


def _image(pixels: np.typing.NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


DISTORTIONS: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "jpeg": _jpeg,
    "blur": _blur,
    "noise": _noise,
    "brightness": _brightness,
    "contrast": _contrast,
    "colour cast": _cast,
    "rotation": _rotation,
}
MEANING = {
    "jpeg": "JPEG of quality 50, 25 and 10",
    "blur": "Gaussian blur of 0.2, 0.4 and 0.8% of the shorter side",
    "noise": "Gaussian noise of 5, 10 and 20 of 255 in every pixel and channel",
    "brightness": "brightness times 0.8, 0.6 and 0.4",
    "contrast": "contrast times 0.8, 0.6 and 0.4",
    "colour cast": "warm light: red times 1.08, 1.16 and 1.24, blue times 0.92, 0.84 and 0.76",
    "rotation": "turned by 5, 10 and 20 degrees",
}


def reduced(image: Image.Image) -> Image.Image:
    """The picture in RGB, its shorter side at most SIDE pixels."""
    scale = SIDE / min(image.size)
    rgb = image.convert("RGB")
    if scale >= 1:
        return rgb
    width, height = (max(1, round(length * scale)) for length in image.size)
    return rgb.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def distorted(image: Image.Image, name: str, strength: int) -> Image.Image:
    """A picture in RGB as one of DISTORTIONS leaves it, at a strength of STRENGTHS; of the same size."""
    return DISTORTIONS[name](image, strength - 1)


def encoded(image: Image.Image) -> bytes:
    """The picture as a file that loses nothing."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
