"""`sheet`: pictures of the ledger with their labels on one sheet, so that a person sees a hundred at a glance."""

from __future__ import annotations

import asyncio
import io
import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.markup import escape

from services.console.client import LabelerClient
from services.console.connection import labeler
from services.console.contact_sheet import Labelled, picture_sheet
from services.console.file_names import as_text, shown
from services.console.output import print_json, results
from services.console.text import condition_text, count
from shared.documents.images import ImageDocument
from shared.errors import ImageError, InvalidRequest, NotFound
from shared.taxonomy import MONK_TONES, Condition, Severity

KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
MAX_PICTURES = 1000  # on a sheet, which has 42 megapixels then
PAGE = 200  # images asked for at a time
AT_ONCE = 4  # thumbnails asked for at a time


@dataclass(frozen=True)
class Selection:
    """Which images are shown: in the order they came, at most `limit`."""

    condition: Condition | None = None
    severity: Severity | None = None
    tone: int | None = None
    state: str | None = None
    limit: int = 100

    def __post_init__(self) -> None:
        if self.tone is not None and self.tone not in MONK_TONES:
            raise InvalidRequest(f"{self.tone} is not a step of the Monk scale.", advice="Use --tone 1 to 10.")
        if self.severity is not None and self.condition is None:
            raise InvalidRequest("--severity needs --condition.", advice="Say of which condition.")
        if not 1 <= self.limit <= MAX_PICTURES:
            raise InvalidRequest(f"{self.limit} pictures are not from 1 to {MAX_PICTURES}.", advice="Change --limit.")

    @property
    def title(self) -> str:
        """What is shown, in words."""
        condition = [] if self.condition is None else [condition_text(self.condition)]
        severity = [] if self.severity is None else [self.severity.label]
        tone = [] if self.tone is None else [f"tone {self.tone}"]
        return ", ".join([*condition, *severity, *tone, *([self.state] if self.state else [])]) or "all"


async def show_sheet(selection: Selection, *, out: Path, home: Path | None, url: str | None, json_output: bool) -> int:
    """Draw the images of a selection. Returns the exit status."""
    kind = KINDS.get(out.suffix.lower())
    if kind is None:
        raise InvalidRequest(
            f"The sheet '{shown(out)}' is not a JPEG, PNG or WebP file.", advice="Name one: --out sheet.jpg."
        )
    async with labeler(home, url) as (client, _):
        images = await _selected(client, selection)
        pictures = await _pictures(client, images)
    if not images:
        raise NotFound(f"There is no image to show: {selection.title}.", advice="Widen what is asked for.")
    title = f"{count(len(images), 'image')}: {selection.title}"
    columns = min(10, math.ceil(math.sqrt(len(images))))
    _write(picture_sheet(pictures, title=title, columns=columns), out, kind)
    missing = [image.id for image, picture in zip(images, pictures, strict=True) if picture.picture is None]
    if json_output:
        print_json({"sheet": as_text(out), "images": [image.id for image in images], "without_picture": missing})
    else:
        lacking = f", {len(missing)} of them without a picture" if missing else ""
        results().print(f"{title}{lacking}, drawn on {escape(shown(out))}.", soft_wrap=True)
    return 1 if missing else 0


async def _selected(client: LabelerClient, selection: Selection) -> list[ImageDocument]:
    images: list[ImageDocument] = []
    cursor: str | None = None
    while len(images) < selection.limit:
        page = await client.images(
            status=selection.state,
            condition=selection.condition,
            severity=None if selection.severity is None else selection.severity.label,
            skin_tone=selection.tone,
            cursor=cursor,
            limit=min(PAGE, selection.limit - len(images)),
        )
        images += page.images
        cursor = page.next_cursor
        if cursor is None:
            break
    return images


async def _pictures(client: LabelerClient, images: list[ImageDocument]) -> list[Labelled]:
    places = asyncio.Semaphore(AT_ONCE)

    async def labelled(image: ImageDocument) -> Labelled:
        async with places:
            return Labelled(await _picture(client, image.id), _lines(image))

    return list(await asyncio.gather(*map(labelled, images)))


async def _picture(client: LabelerClient, image_id: str) -> Image.Image | None:
    """A thumbnail; None where its bytes are gone, or cannot be read."""
    try:
        with Image.open(io.BytesIO(await client.image_thumbnail(image_id))) as image:
            return image.convert("RGB")
    except (ImageError, NotFound):
        return None


def _lines(image: ImageDocument) -> tuple[str, ...]:
    labels = [f"{condition_text(name)} {text}" for name, text in image.labels_text.items()]
    tone = "tone ?" if image.skin_tone is None else f"tone {image.skin_tone}"
    return (", ".join(labels) or "clear skin", f"{tone}, {image.status}", image.id[:8])


def _write(image: Image.Image, path: Path, kind: str) -> None:
    try:
        image.save(path, kind, quality=88)
    except OSError as error:
        raise InvalidRequest(
            f"The sheet cannot be written to '{shown(path)}': {error.strerror or error}.",
            advice="Name a place that can be written to with --out.",
        ) from error
