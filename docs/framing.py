"""`python -m docs.framing` draws `docs/framing.jpg`: what is found in drawn faces. It needs the face detector."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageFilter

from services.console.commands.looking import SIZE, Seen, tile_of
from services.console.contact_sheet import contact_sheet, drawn_tile
from services.generator.procedural import draw
from shared.events import Subject
from shared.faces import FaceDetector
from shared.judging import portrait_of
from shared.portraits import advise
from shared.preprocessing import prepare
from shared.taxonomy import AgeBand, Condition, Light, Severity, Sex, View

PICTURE = Path(__file__).with_name("framing.jpg")
_WIDTH = 1000  # pixels of the page's picture
_GROUND = (128, 120, 110)


def _face(tone: int, seed: int, view: View = View.FRONTAL, size: int = 512) -> Image.Image:
    subject = Subject(age_band=AgeBand.ADULT, skin_tone=tone, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=view)
    return Image.open(io.BytesIO(draw({Condition.REDNESS: Severity.MODERATE}, subject, seed, size))).convert("RGB")


def _on_ground(image: Image.Image, size: tuple[int, int], place: tuple[int, int]) -> Image.Image:
    whole = Image.new("RGB", size, _GROUND)
    whole.paste(image, place)
    return whole


def pictures() -> dict[str, Image.Image]:
    """Drawn faces, each with something about it, by what that is."""
    pair = _on_ground(_face(7, 11, size=400), (860, 512), (460, 60))
    pair.paste(_face(4, 4), (0, 0))
    return {
        "as it should be": _face(5, 3),
        "off centre, tilted": _on_ground(
            _face(8, 2).rotate(-12, Image.Resampling.BICUBIC, fillcolor=_GROUND), (900, 700), (380, 60)
        ),
        "held sideways, without EXIF": _face(3, 8).rotate(90, expand=True),
        "far away": _on_ground(_face(9, 7, size=192), (700, 700), (250, 220)),
        "two people": pair,
        "cut off, blurred": _face(6, 5).crop((0, 0, 512, 350)).filter(ImageFilter.GaussianBlur(7)),
    }


def write(path: Path = PICTURE) -> None:
    """Draw the sheet."""
    detector = FaceDetector.load()
    tiles = []
    for title, image in pictures().items():
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        prepared = prepare(buffer.getvalue(), SIZE, detector=detector)
        portrait = portrait_of(prepared)
        assert portrait is not None
        tiles.append(drawn_tile(tile_of(title, Seen(prepared, portrait, advise(portrait)))))
    sheet = contact_sheet(tiles)
    sheet.thumbnail((_WIDTH, _WIDTH), Image.Resampling.LANCZOS)
    sheet.save(path, "JPEG", quality=82, optimize=True)


if __name__ == "__main__":
    write()
