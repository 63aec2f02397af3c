"""Draws pictures on sheets: many with their labels, or few with all that was found in them.

Of the few: face, points and frame on each picture, and beside it what a model sees of it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

from shared.frames import Face, Frame

FACE, FRAME, POINT = (255, 214, 10), (45, 212, 191), (255, 255, 255)
_INK, _QUIET, _ADVICE, _PAPER, _GROUND = (31, 37, 35), (91, 102, 98), (178, 58, 10), (255, 255, 255), (226, 222, 215)
_PICTURE, _SEEN, _GAP, _LINE = 480, 224, 16, 22  # pixels: sides of picture and cut, space, and a line of text
_TILE = _PICTURE + _GAP + _SEEN
_CHARACTERS = 84  # of a line of text below a tile
_LEGEND = "Yellow: the box and points of the face that was found. Green: the frame. Right: what a model sees."
_MOST_COLUMNS = 3

SIDE = 160  # pixels of a picture among many, of which a hundred fit on a screen
_SMALL, _SMALL_LINE = 12, 15  # pixels: a label's letters and lines
_NARROW = 8  # pixels between pictures

Corners = list[tuple[float, float]]


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet. `picture`: upright, perhaps smaller than `frame` says; `seen`: the cut of its frame."""

    title: str
    picture: Image.Image
    frame: Frame
    faces: tuple[Face, ...]
    seen: Image.Image
    facts: str
    advice: tuple[str, ...]


def drawn_tile(tile: Tile) -> Image.Image:
    """One picture with what was found in it, the cut of its frame, and the advice below."""
    below = [(_drawable(tile.title), _INK), (_drawable(tile.facts), _QUIET)] + [
        (advice, _ADVICE) for advice in tile.advice
    ]
    lines = [(line, colour) for text, colour in below for line in textwrap.wrap(text, _CHARACTERS) or [""]]
    drawn = Image.new("RGB", (_TILE, _PICTURE + _GAP + _LINE * len(lines)), _PAPER)
    drawn.paste(_annotated(tile), (0, 0))
    drawn.paste(tile.seen.resize((_SEEN, _SEEN), Image.Resampling.BICUBIC), (_PICTURE + _GAP, 0))
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(16)
    for number, (line, colour) in enumerate(lines):
        pen.text((0, _PICTURE + _GAP // 2 + number * _LINE), line, fill=colour, font=font)
    return drawn


def contact_sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    """Drawn tiles in rows, under a line that explains them."""
    columns = min(_MOST_COLUMNS, max(1, math.ceil(math.sqrt(len(tiles)))))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    size = (columns * (_TILE + _GAP) + _GAP, sum(heights) + (len(rows) + 1) * _GAP + 2 * _LINE)
    sheet = Image.new("RGB", size, _PAPER)
    legend, font = "\n".join(textwrap.wrap(_LEGEND, _CHARACTERS * columns)), ImageFont.load_default(16)
    ImageDraw.Draw(sheet).multiline_text((_GAP, _GAP // 2), legend, fill=_QUIET, font=font)
    top = _GAP + 2 * _LINE
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (_GAP + column * (_TILE + _GAP), top))
        top += height + _GAP
    return sheet


@dataclass(frozen=True)
class Labelled:
    """One picture of many, and the lines below it; no picture where it could not be had."""

    picture: Image.Image | None
    lines: tuple[str, ...]


def picture_sheet(pictures: Sequence[Labelled], *, title: str, columns: int, side: int = SIDE) -> Image.Image:
    """Pictures in rows of `columns`, each within a square of `side` pixels above its lines."""
    lines = max((len(each.lines) for each in pictures), default=0)
    width, height = side + _NARROW, side + lines * _SMALL_LINE + _NARROW
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width + _NARROW, rows * height + _LINE + 2 * _NARROW), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_SMALL)
    heading = ImageFont.load_default(16)
    pen.text((_NARROW, _NARROW), _within(_drawable(title), heading, sheet.width - 2 * _NARROW), fill=_INK, font=heading)
    for number, each in enumerate(pictures):
        row, column = divmod(number, columns)
        left, top = _NARROW + column * width, _NARROW + _LINE + row * height
        cell = Image.new("RGB", (side, side), _GROUND)
        if each.picture is not None:
            small = ImageOps.contain(each.picture, (side, side), Image.Resampling.LANCZOS)
            cell.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
        sheet.paste(cell, (left, top))
        for below, line in enumerate(each.lines):
            place = (left, top + side + below * _SMALL_LINE)
            pen.text(place, _within(_drawable(line), font, side), fill=_QUIET if below else _INK, font=font)
    return sheet


def _within(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """As much of a text as is no wider than so many pixels."""
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text


def _drawable(text: str) -> str:
    """Text in the letters that Pillow's own font has."""
    return text.replace("×", "x").encode("latin-1", "replace").decode("latin-1")


def _annotated(tile: Tile) -> Image.Image:
    """The picture, and of its frame what leaves it, in a square of _PICTURE pixels."""
    frame = tile.frame
    square = _corners(frame.square.x, frame.square.y, frame.square.side, frame.square.side, frame.square.roll)
    places = [*square, (0.0, 0.0), (float(frame.width), float(frame.height))]
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    right, bottom = (max(place[axis] for place in places) for axis in (0, 1))
    scale = (_PICTURE - 4) / max(right - left, bottom - top)
    moved = ((_PICTURE - scale * (right + left)) / 2, (_PICTURE - scale * (bottom + top)) / 2)

    def at(points: Sequence[tuple[float, float]]) -> Corners:
        return [(scale * x + moved[0], scale * y + moved[1]) for x, y in points]

    drawn = Image.new("RGB", (_PICTURE, _PICTURE), _GROUND)
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    place = (round(moved[0]), round(moved[1]))
    drawn.paste(tile.picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0), place)
    pen = ImageDraw.Draw(drawn)
    _outline(pen, at(square), FRAME)
    for face in tile.faces:
        _outline(pen, at(_corners(face.x, face.y, face.width, face.height, face.roll)), FACE)
        for x, y in at(face.points):
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=POINT, outline=_INK)
    return drawn


def _outline(pen: ImageDraw.ImageDraw, corners: Corners, colour: tuple[int, int, int]) -> None:
    """A closed line, with a dark one below it that shows on light skin."""
    for ink, width in ((_INK, 5), (colour, 3)):
        pen.line([*corners, corners[0], corners[1]], fill=ink, width=width, joint="curve")


def _corners(x: float, y: float, width: float, height: float, roll: float) -> Corners:
    """The corners of a rectangle that is turned about its centre, clockwise by `roll` degrees."""
    cos, sin = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    sides = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    half = [(across * width / 2, down * height / 2) for across, down in sides]
    return [(x + cos * dx - sin * dy, y + sin * dx + cos * dy) for dx, dy in half]
