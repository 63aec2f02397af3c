"""`python -m docs.drawn_faces` draws `docs/drawn_faces.jpg`: drawn faces of every skin tone with every condition."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from services.console.contact_sheet import Labelled, picture_sheet
from services.console.text import condition_text
from services.generator.procedural import draw
from shared.events import Subject
from shared.taxonomy import MONK_TONES, AgeBand, Condition, Light, Severity, Sex, View

PICTURE = Path(__file__).with_name("drawn_faces.jpg")
_SIDE = 128  # pixels of a face on the sheet
_DRAWN = 256  # pixels of a face as it is drawn
_TITLE = "Drawn faces: a row clear, then one for each condition, severe; from left to right the ten Monk skin tones"


def faces() -> Iterator[Labelled]:
    """A row for clear skin and one for each condition, with one person for each tone, the same in every row."""
    for condition in (None, *Condition):
        for tone in MONK_TONES:
            subject = Subject(
                skin_tone=tone,
                age_band=tuple(AgeBand)[1 + tone % 3],
                sex=tuple(Sex)[tone % len(Sex)],
                light=tuple(Light)[tone % len(Light)],
                view=tuple(View)[tone % len(View)],
            )
            labels = {} if condition is None else {condition: Severity.SEVERE}
            picture = Image.open(io.BytesIO(draw(labels, subject, tone, _DRAWN)))
            yield Labelled(picture, (f"{tone}: {'clear' if condition is None else condition_text(condition)}",))


def write(path: Path = PICTURE) -> None:
    """Draw the sheet."""
    sheet = picture_sheet(list(faces()), title=_TITLE, columns=len(MONK_TONES), side=_SIDE)
    sheet.save(path, "JPEG", quality=72, optimize=True)


if __name__ == "__main__":
    write()
