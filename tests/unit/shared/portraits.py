"""Portraits for tests: drawn faces, and the photographs that lie beside the repository where it has them."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from PIL import Image, ImageOps

from services.generator.procedural import draw
from shared.events import Subject
from shared.faces import FaceDetector
from shared.taxonomy import AgeBand, Light, Sex, View

_SELFIES = Path(__file__).parents[4] / "shared/data/selfies"
SIZE = 384  # pixels of a side of a drawn portrait
ORIENTED = tuple(f"astronaut_orient{orientation}.jpg" for orientation in range(1, 9))
PHOTOGRAPHS = ("astronaut.png", "grace_hopper.jpg", *ORIENTED)


@cache
def detector() -> FaceDetector:
    """The installed detector."""
    return FaceDetector.load()


@cache
def drawn_file(tone: int = 4, seed: int = 4, view: View = View.FRONTAL, size: int = SIZE) -> bytes:
    """A drawn face with clear skin, as a file."""
    subject = Subject(age_band=AgeBand.ADULT, skin_tone=tone, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=view)
    return draw({}, subject, seed, size)


@cache
def drawn(tone: int = 4, seed: int = 4, view: View = View.FRONTAL) -> Image.Image:
    """A drawn face with clear skin."""
    return Image.open(io.BytesIO(drawn_file(tone, seed, view))).convert("RGB")


def photograph_file(name: str) -> bytes | None:
    """A photograph's bytes, or None where the photographs are not beside the repository."""
    path = _SELFIES / name
    return path.read_bytes() if path.is_file() else None


def photographs(*names: str) -> list[Image.Image]:
    """The photographs of these names that are there, upright."""
    files = [data for name in names if (data := photograph_file(name)) is not None]
    return [ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB") for data in files]


def with_border(image: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """The picture with an even ground around it."""
    return ImageOps.expand(image, (left, top, right, bottom), (128, 120, 110))


def placed(
    image: Image.Image, share: float, side: int = 1000, ground: tuple[int, int, int] = (128, 120, 110)
) -> Image.Image:
    """The picture with `share` of its size, in the middle of an even ground of `side` pixels."""
    whole = Image.new("RGB", (side, side), ground)
    small = image.resize((round(image.width * share), round(image.height * share)))
    whole.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return whole
