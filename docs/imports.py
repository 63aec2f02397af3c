"""The picture of who imports whom: rooms as boxes with their modules, an arrow from each room to those it imports.

Arrows and module names come from the code; where a room stands is said here. Arrows run down, or sideways; an import
against that direction is drawn in red.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

from services.console.all_in_one import SERVICES

ROOT = Path(__file__).parents[1]
LABELER = "services.labeler_api"
STACK = (LABELER, *(f"{LABELER}.{room}" for room in ("web", "campaigns", "webhooks", "pictures", "ledger", "settings")))
"""labeler-api's rooms, each of which may import those after it; the first is what puts them together."""
ABOVE = ("services.demo", "services.console", "services.report")
SHARED = ("shared.adapters", "shared.embedded", "shared.remote", "shared")

WIDTH = 960
LETTER = 6.1  # pixels: width of a letter of a module's name
LINE, TITLE = 14, 20  # pixels: height of a line of names, and of a box's title
EDGE = 16  # pixels around the picture
FOOT = 34  # pixels for the legend
PAD = 8  # pixels between a box's border and what is in it
GAP = 34  # pixels between two rows, for arrows
LANE = 11  # pixels between two arrows side by side
HEAD = 6  # pixels: length of an arrow's head


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, y downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height


def room_of(module: str) -> str:
    """The room that a module is in. Raises KeyError for a package that no place in the picture is given to."""
    rooms = {*STACK, *SHARED, *ABOVE, *(package for package, _ in SERVICES.values())}
    if module == "services":
        return module
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in rooms:
            return name
    raise KeyError(f"{module} has no place in the picture: give its package one in docs/imports.py")


def imports_between_rooms() -> set[tuple[str, str]]:
    """Pairs of rooms, the first of which imports a module of the second."""
    graph = grimp.build_graph("services", "shared", cache_dir=None)
    pairs = {
        (room_of(module), room_of(imported))
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    }
    return {(importer, imported) for importer, imported in pairs if importer != imported}


def names_in(room: str) -> list[str]:
    """The modules of a room, and its packages, with a stroke behind them, that have no box of their own."""
    path = ROOT.joinpath(*room.split("."))
    if not path.is_dir():
        return []
    modules = (file.stem for file in path.glob("*.py") if not file.stem.startswith("__"))
    packages = (file.parent.name for file in path.glob("*/__init__.py"))
    own = [name for name in modules if room_of(f"{room}.{name}") == room]
    return sorted(own + [f"{name}/" for name in packages if room_of(f"{room}.{name}") == room])


def picture(imports: Collection[tuple[str, str]]) -> str:
    """The SVG of imports between rooms. Raises ValueError where an arrow would have to run through a room."""
    boxes, height = _layout()
    frames = {LABELER + "/": _around(boxes[room] for room in STACK), "shared/": _around(boxes[room] for room in SHARED)}
    drawing = [_frame(box, name.rstrip("/").rpartition(".")[2]) for name, box in frames.items()]
    starts = {("services.console", package) for package, _ in SERVICES.values()}
    drawing += _arrows(imports, starts, boxes, frames)
    drawing += [_room(room, box) for room, box in boxes.items()]
    return _document(drawing, imports, height)


def _lines(room: str, width: float) -> list[str]:
    return textwrap.wrap(" ".join(names_in(room)), int((width - 2 * PAD) / LETTER), break_on_hyphens=False)


def _tall(room: str, width: float) -> float:
    return (TITLE if _title(room) else 0) + LINE * len(_lines(room, width)) + PAD


def _title(room: str) -> str:
    """A room's name; the one that a frame bears already is not repeated."""
    if room in (LABELER, "shared"):
        return ""
    name = room.rpartition(".")[2]
    return f"{name}/" if ROOT.joinpath(*room.split(".")).is_dir() else name


def _layout() -> tuple[dict[str, Box], float]:
    """Where each room stands, and the height of it all."""
    boxes: dict[str, Box] = {}
    row = _in_a_row(boxes, EDGE, {"services.demo": (EDGE, 128), "services.console": (172, WIDTH - EDGE - 172)})
    # Above the trainer, which it measures with; beside it ways down for others, and from it past the trainer.
    row = _in_a_row(boxes, row + GAP, {"services.report": (396, 150)})

    row += GAP
    services = [f"services.{name}" for name in ("generator", "augmenter", "trainer", "model_server")]
    _in_a_row(boxes, row, {room: (52 + place * 149, 138) for place, room in enumerate(services)})
    row += TITLE
    for room in STACK:
        row = _in_a_row(boxes, row, {room: (672, 208)}) + LANE
    row += PAD - LANE

    row += GAP + TITLE
    under = _in_a_row(boxes, row, {"shared.embedded": (168, 250)}) + LANE
    end = _in_a_row(boxes, under, {"shared.remote": (168, 250)}) + 2 * LANE  # a way past it, for adapters
    boxes["shared.adapters"] = Box(EDGE + PAD, row, 96, end - row)
    boxes["shared"] = Box(466, row, WIDTH - EDGE - PAD - 466, end - row)
    return boxes, end + PAD + FOOT


def _in_a_row(boxes: dict[str, Box], y: float, places: Mapping[str, tuple[float, float]]) -> float:
    """Stand rooms side by side, each at its x and width, as tall as the tallest needs. Returns the row's lower edge."""
    height = max(_tall(room, width) for room, (_, width) in places.items())
    boxes.update({room: Box(x, y, width, height) for room, (x, width) in places.items()})
    return y + height


def _around(boxes: Iterable[Box]) -> Box:
    """The frame around boxes, with room for its title, and for the arrows on the right of a stack."""
    found = list(boxes)
    x, y = min(box.x for box in found) - PAD, min(box.y for box in found) - TITLE
    bottom = max(box.bottom for box in found)
    return Box(x, y, WIDTH - EDGE - x, bottom + PAD - y)


def _arrows(
    imports: Collection[tuple[str, str]],
    starts: Collection[tuple[str, str]],
    boxes: Mapping[str, Box],
    frames: Mapping[str, Box],
) -> Iterator[str]:
    outside: set[tuple[str, str]] = set()
    places = {**boxes, **frames}
    for importer, imported in sorted(imports):
        if importer in STACK and imported in STACK:
            continue
        if importer in SHARED and imported in SHARED:
            yield _straight(importer, imported, places, SHARED, "imports")
        else:
            outside.add((_frame_of(importer), _frame_of(imported)))
    whole = [room for room in places if room not in STACK and room not in SHARED]
    for importer, imported in sorted(outside):
        yield _straight(importer, imported, places, whole, "imports")
    for starter, started in sorted(starts):
        yield _straight(starter, _frame_of(started), places, whole, "starts")
    yield from _stack_arrows({pair for pair in imports if pair[0] in STACK and pair[1] in STACK}, boxes)


def _frame_of(room: str) -> str:
    return f"{LABELER}/" if room in STACK else "shared/" if room in SHARED else room


def _straight(importer: str, imported: str, places: Mapping[str, Box], others: Iterable[str], kind: str) -> str:
    """An arrow through free space: straight down or up between rows, else sideways; down, if need be, with a bend."""
    a, b = places[importer], places[imported]
    between = [places[other] for other in others if other not in (importer, imported)]
    if a.bottom <= b.y or b.bottom <= a.y:
        upper, lower = (a, b) if a.bottom <= b.y else (b, a)
        blocked = [(box.x, box.right) for box in between if upper.bottom <= box.y and box.bottom <= lower.y]
        if a is upper and min(a.right, b.right) <= max(a.x, b.x):  # none above the other
            start, end = _bends(a, b)
            if all(right <= end or end <= left for left, right in blocked):
                return _bent(a, b, start, end, kind)
        x = _middle(max(a.x, b.x), min(a.right, b.right), blocked, 0.5)
        if a is upper:
            return _arrow([(x, a.bottom), (x, b.y)], kind)
        return _arrow([(x, a.y), (x, b.bottom)], "against")
    left, right = (a, b) if a.right <= b.x else (b, a)
    blocked = [(box.y, box.bottom) for box in between if left.right <= box.x and box.right <= right.x]
    y = _middle(max(a.y, b.y), min(a.bottom, b.bottom), blocked, 0.35 if a is left else 0.65)
    return _arrow([(a.right, y), (b.x, y)] if a is left else [(a.x, y), (b.right, y)], kind)


def _bends(a: Box, b: Box) -> tuple[float, float]:
    """Where an arrow with a bend leaves one box and comes to another."""
    quarter = b.width / 4
    return (a.right - EDGE, b.x + quarter) if a.right <= b.x else (a.x + EDGE, b.right - quarter)


def _bent(a: Box, b: Box, start: float, end: float, kind: str) -> str:
    """An arrow down into the gap below its row, along it, and down. Those out of one box begin as one."""
    lane = a.bottom + LANE
    return _line([(start, a.bottom), (start, lane), (end, lane)], kind) + _arrow([(end, lane), (end, b.y)], kind)


def _middle(low: float, high: float, blocked: Iterable[tuple[float, float]], part: float) -> float:
    """A place in the widest free interval between two ends. Raises ValueError where there is none."""
    free, start = [], low
    for left, right in sorted(blocked):
        free.append((min(left, high) - start, start))
        start = max(start, right)
    width, at = max([*free, (high - start, start)])
    if width <= 0:
        raise ValueError("An import has no free way in the picture: change the places in docs/imports.py.")
    return at + width * part


def _stack_arrows(imports: Collection[tuple[str, str]], boxes: Mapping[str, Box]) -> Iterator[str]:
    """Arrows to the next room straight down; to those below it along a line on the right; upwards on the left, red."""
    for upper, lower in pairwise(STACK):
        if (upper, lower) in imports:
            x = boxes[upper].x + boxes[upper].width / 2
            yield _arrow([(x, boxes[upper].bottom), (x, boxes[lower].y)], "imports")
    for place, importer in enumerate(STACK):
        box, share = boxes[importer], (place + 1) / len(STACK)
        below = [boxes[room] for room in STACK[place + 2 :] if (importer, room) in imports]
        above = [boxes[room] for room in STACK[:place] if (importer, room) in imports]
        yield from _branches(box.right, box, below, box.right + LANE * (len(STACK) - 1 - place), share, "imports")
        yield from _branches(box.x, box, above, box.x - 3 - place, share, "against")


def _branches(side: float, start: Box, ends: list[Box], lane: float, share: float, kind: str) -> Iterator[str]:
    """Arrows out of a box's side into the same side of others, along one line; `share` of their height down."""
    middle = start.y + start.height / 2
    heights = [box.y + box.height * share for box in ends]
    if heights:
        far = max(heights, key=lambda height: abs(height - middle))
        yield _line([(side, middle), (lane, middle), (lane, far)], kind)
        for height in heights:
            yield _arrow([(lane, height), (side, height)], kind)


def _line(points: list[tuple[float, float]], kind: str) -> str:
    return f'<polyline class="{kind}" points="{_points(points)}"/>'


def _arrow(ends: list[tuple[float, float]], kind: str) -> str:
    """A straight arrow, level or upright."""
    (from_x, from_y), (x, y) = ends
    dx, dy = (x > from_x) - (x < from_x), (y > from_y) - (y < from_y)
    base_x, base_y, half = x - HEAD * dx, y - HEAD * dy, HEAD / 2
    tip = [(x, y), (base_x - half * dy, base_y - half * dx), (base_x + half * dy, base_y + half * dx)]
    line = _line([(from_x, from_y), (base_x, base_y)], kind)
    return f'{line}<polygon class="{kind}" points="{_points(tip)}"/>'


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{round(x, 1):g},{round(y, 1):g}" for x, y in points)


def _frame(box: Box, title: str) -> str:
    return (
        f'<rect class="frame" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="8"/>'
        f'<text class="title" x="{box.x + PAD:g}" y="{box.y + 14:g}">{escape(title)}/</text>'
    )


def _room(room: str, box: Box) -> str:
    title = _title(room)
    parts = [f'<rect class="room" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="5"/>']
    if title:
        parts.append(f'<text class="title" x="{box.x + PAD:g}" y="{box.y + 15:g}">{escape(title)}</text>')
    first = box.y + (TITLE + 11 if title else 16)
    parts += [
        f'<text class="names" x="{box.x + PAD:g}" y="{first + LINE * place:g}">{escape(line)}</text>'
        for place, line in enumerate(_lines(room, box.width))
    ]
    return "".join(parts)


_STYLE = """
:root { --page: #ffffff; --room: #f6f8fa; --edge: #8c959f; --ink: #1f2328; --soft: #59636e }
:root { --arrow: #0969da; --red: #cf222e }
@media (prefers-color-scheme: dark) {
 :root { --page: #0d1117; --room: #151b23; --edge: #656c76; --ink: #f0f6fc; --soft: #9198a1 }
 :root { --arrow: #4493f8; --red: #f85149 }
}
.page { fill: var(--page) }
.frame { fill: none; stroke: var(--edge); stroke-dasharray: 2 3 }
.room { fill: var(--room); stroke: var(--edge) }
text { fill: var(--ink); font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.title { font-weight: bold }
.names, .legend { font-size: 10px; fill: var(--soft) }
polyline { fill: none; stroke: var(--arrow); stroke-width: 1.3 }
polygon { fill: var(--arrow) }
polyline.starts { stroke-dasharray: 4 3 }
polyline.against { stroke: var(--red) }
polygon.against { fill: var(--red) }
"""


def _document(drawing: list[str], imports: Collection[tuple[str, str]], height: float) -> str:
    told = "; ".join(f"{importer} imports {imported}" for importer, imported in sorted(imports))
    against = any('class="against"' in part for part in drawing)
    legend = [(EDGE, "imports", "imports"), (120, "starts", "starts, by name")]
    if against:
        legend.append((270, "against", "imports against the flow"))
    y = height - 16
    foot = [
        _arrow([(x, y - 3), (x + 26, y - 3)], kind) + f'<text class="legend" x="{x + 34:g}" y="{y:g}">{text}</text>'
        for x, kind, text in legend
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
            f'viewBox="0 0 {WIDTH} {height:g}" role="img">',
            "<!-- Drawn by `make docs` from the code. Do not edit. -->",
            "<title>Who imports whom</title>",
            f"<desc>{escape(told)}.</desc>",
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height:g}"/>',
            *drawing,
            *foot,
            "</svg>",
            "",
        ]
    )
