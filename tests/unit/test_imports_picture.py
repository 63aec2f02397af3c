"""The picture of who imports whom shows every import between rooms, and nothing else."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.imports import LABELER, imports_between_rooms, picture, room_of

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
PLACES = tuple[float, float, float, float]


def imports_in_the_text() -> Iterator[tuple[str, str]]:
    """Pairs of modules as the source text has them: a second opinion, without the library that the picture uses."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ("services", "shared")
        for path in (ROOT / package).rglob("*.py")
        if all((folder / "__init__.py").exists() for folder in path.relative_to(ROOT).parents if folder.name)
    }
    for module, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [name if name in files else str(node.module) for name in whole]
            else:
                continue
            yield from ((module, name) for name in found if name in files)


def boxes_of(svg: str) -> list[PLACES]:
    """Left, top, right and bottom of every room."""
    found = [box for box in ElementTree.fromstring(svg).iter(f"{SVG}rect") if box.get("class") == "room"]
    sides = [[float(box.get(side, "")) for side in ("x", "y", "width", "height")] for box in found]
    return [(x, y, x + width, y + height) for x, y, width, height in sides]


def lines_of(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """The corners of every line of a kind, but for the legend's."""
    bottom = max(box[3] for box in boxes_of(svg))
    lines = [
        [(float(x), float(y)) for x, y in (point.split(",") for point in line.get("points", "").split())]
        for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline")
        if line.get("class") == kind
    ]
    return [line for line in lines if line[0][1] < bottom]


@pytest.fixture(scope="module")
def imports() -> set[tuple[str, str]]:
    return imports_between_rooms()


def test_imports_are_those_in_the_text(imports: set[tuple[str, str]]) -> None:
    pairs = {(room_of(importer), room_of(imported)) for importer, imported in imports_in_the_text()}
    assert {(importer, imported) for importer, imported in pairs if importer != imported} == imports
    assert ("services.generator", "shared") in imports
    assert (f"{LABELER}.web", f"{LABELER}.campaigns") in imports


def test_the_description_names_every_import(imports: set[tuple[str, str]]) -> None:
    described = ElementTree.fromstring(picture(imports)).findtext(f"{SVG}desc") or ""
    assert set(described.removesuffix(".").split("; ")) == {f"{a} imports {b}" for a, b in imports}


def test_rooms_do_not_overlap_and_no_line_runs_through_one(imports: set[tuple[str, str]]) -> None:
    svg = picture(imports)
    boxes = boxes_of(svg)
    assert len(boxes) > 10
    for one, other in itertools.combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for line in [*lines_of(svg, "imports"), *lines_of(svg, "starts")]:
        for (x1, y1), (x2, y2) in itertools.pairwise(line):
            low, high = (min(x1, x2), min(y1, y2)), (max(x1, x2), max(y1, y2))
            for left, top, right, bottom in boxes:
                assert high[0] <= left or right <= low[0] or high[1] <= top or bottom <= low[1], line


def test_nothing_is_imported_against_the_flow(imports: set[tuple[str, str]]) -> None:
    assert not lines_of(picture(imports), "against")


def test_an_import_against_the_flow_is_red() -> None:
    down, up = (f"{LABELER}.web", f"{LABELER}.ledger"), (f"{LABELER}.ledger", f"{LABELER}.web")
    assert not lines_of(picture([down]), "against")
    assert lines_of(picture([down, up]), "against")
    assert lines_of(picture([("shared", "services.trainer")]), "against")


def test_every_import_that_is_left_out_is_an_arrow_less(imports: set[tuple[str, str]]) -> None:
    whole = picture(imports).count("<polygon")
    assert picture(imports - {("services.demo", "services.generator")}).count("<polygon") == whole - 1
    assert picture(imports - {(LABELER, f"{LABELER}.ledger")}).count("<polygon") == whole - 1
    assert picture(imports - {("shared.adapters", "shared.remote")}).count("<polygon") == whole - 1


def test_a_package_without_a_place_is_an_error() -> None:
    with pytest.raises(KeyError, match="docs/imports"):
        room_of("services.newcomer.app")
