"""`look`: what is found in pictures, drawn on a contact sheet. Nothing is asked of a service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.markup import escape

from services.console.commands.importing import read_picture
from services.console.contact_sheet import Tile, contact_sheet, drawn_tile
from services.console.file_names import as_text, shown
from services.console.output import print_json, results
from services.console.picture_files import check_files, exit_status, tell_failure
from shared.errors import EvenskinError, InvalidRequest
from shared.faces import FaceDetector
from shared.judging import portrait_of
from shared.portraits import Advice, Portrait, advise
from shared.preprocessing import NEWEST, Prepared, prepare

SHEET = Path("look.png")
SIZE = 224  # pixels of the square that is cut, as a model of ours sees it
MAX_PICTURES = 60  # on a sheet, which has 30 megapixels then


@dataclass(frozen=True)
class Seen:
    """A picture and what was found in it."""

    prepared: Prepared
    portrait: Portrait
    advice: tuple[Advice, ...]


def look(files: Sequence[Path], *, out: Path | None, json_output: bool) -> int:
    """Find, measure, advise, and draw it. Returns the exit status."""
    check_files(files)
    sheet = out or (None if json_output else SHEET)
    if sheet is not None:
        _check_sheet(sheet, files)
    detector = FaceDetector.load()
    failures: list[EvenskinError] = []
    entries: list[dict[str, Any]] = []
    tiles: list[Image.Image] = []
    for path in files:
        try:
            seen = _see(path, detector)
        except EvenskinError as error:
            failures.append(error)
            entries.append({"file": as_text(path), "error": error.problem()})
            tell_failure(path, error)
            continue
        entries.append({"file": as_text(path), **_facts(seen)})
        if sheet is not None:
            tiles.append(drawn_tile(tile_of(shown(path.name), seen)))
        if not json_output:
            _tell(path, seen)
    if sheet is not None and tiles:
        _write(contact_sheet(tiles), sheet)
    written = sheet if tiles else None
    if json_output:
        print_json({"pictures": entries, "sheet": None if written is None else as_text(written)})
    elif written is not None:
        results().print(f"Drawn on {escape(shown(written))}.", soft_wrap=True)
    return exit_status(failures)


def _check_sheet(sheet: Path, files: Sequence[Path]) -> None:
    """Raise InvalidRequest where the sheet cannot be, or ought not to be, written."""
    if sheet.suffix.lower() != ".png":
        raise InvalidRequest(f"The sheet '{shown(sheet)}' is not a PNG file.", advice="Name one: --out look.png.")
    if any(sheet.resolve() == path.resolve() for path in files):
        raise InvalidRequest(f"The sheet '{shown(sheet)}' is one of the pictures.", advice="Name another with --out.")
    if len(files) > MAX_PICTURES:
        raise InvalidRequest(
            f"{len(files)} pictures are too many for one sheet; at most {MAX_PICTURES} fit.",
            advice="Name fewer, or ask for --json alone.",
        )


def _see(path: Path, detector: FaceDetector) -> Seen:
    prepared = prepare(read_picture(path), SIZE, NEWEST, detector=detector)
    portrait = portrait_of(prepared)
    assert portrait is not None  # a face was looked for
    return Seen(prepared, portrait, advise(portrait))


def _facts(seen: Seen) -> dict[str, Any]:
    decoded = seen.prepared.decoded
    return {
        "width": decoded.width,
        "height": decoded.height,
        "format": decoded.format,
        "orientation": decoded.orientation,
        "preprocessing": NEWEST.value,
        "frame": seen.prepared.frame.model_dump(mode="json"),
        "faces": [face.model_dump(mode="json") for face in seen.prepared.faces or ()],
        "portrait": seen.portrait.model_dump(mode="json"),
        "advice": [advice.model_dump(mode="json") for advice in seen.advice],
        "warnings": [warning.value for warning in decoded.warnings],
    }


def _sentence(seen: Seen) -> str:
    """Size, format, and what was found, in a line."""
    decoded, frame, faces = seen.prepared.decoded, seen.prepared.frame, seen.prepared.faces or ()
    size = f"{decoded.width} × {decoded.height} {decoded.format}"
    turn = f", turned by {frame.turn}°" if frame.turn else ""
    if frame.face is None:
        return f"{size}{turn}: no face to frame; the middle is looked at."
    others = f" of {len(faces)} faces, the largest" if len(faces) > 1 else " a face"
    square = f"frame of {frame.square.side:.0f} pixels, roll {round(frame.square.roll)}°"
    return f"{size}{turn}:{others} with score {frame.face.score:.2f}; {square}."


def _tell(path: Path, seen: Seen) -> None:
    console = results()
    console.print(escape(f"{shown(path)}: {_sentence(seen)}"), soft_wrap=True)
    for advice in seen.advice:
        console.print(escape(f"  ! {advice.message} ({advice.code.value})"), soft_wrap=True)


def tile_of(title: str, seen: Seen) -> Tile:
    """A picture of the contact sheet."""
    prepared = seen.prepared
    return Tile(
        title=title,
        picture=prepared.upright,
        frame=prepared.frame,
        faces=prepared.faces or (),
        seen=Image.fromarray(prepared.pixels),
        facts=_sentence(seen),
        advice=tuple(advice.message for advice in seen.advice),
    )


def _write(image: Image.Image, path: Path) -> None:
    try:
        image.save(path, "PNG")
    except OSError as error:
        raise InvalidRequest(
            f"The sheet cannot be written to '{shown(path)}': {error.strerror or error}.",
            advice="Name a place that can be written to with --out.",
        ) from error
