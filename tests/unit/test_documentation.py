"""What CONTRIBUTING.md, README.md and the page of promises name is there, and every package is on the map."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING.md", "README.md")
BESIDE = "shared/data"  # photographs beside the repository, which a clone does not have
FILE_NAME = re.compile(r"[\w*-]+\.(?:py|yml|toml|md|svg)\b")
FOLDER_NAME = re.compile(r"(?<![\w./])[\w-]+/(?![\w./])")
SCREEN = 70  # lines


def text_of(page: str) -> str:
    """A page at the repository's root."""
    return (ROOT / page).read_text()


def map_entries() -> list[tuple[Path, str]]:
    """Every directory on the map, and what is said of it: a line, and those under it that name none."""
    (tree,) = re.findall(r"```text\n(.*?)```", text_of("CONTRIBUTING.md"), re.DOTALL)
    above: list[Path] = []
    found: list[tuple[Path, str]] = []
    for line in tree.splitlines():
        entry = re.match(r"( *)([\w-]+)/ +(.*)", line)
        if entry is None or len(entry[1]) > 2 * len(above):  # further words about the one before
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
            continue
        depth = len(entry[1]) // 2
        above[depth:] = [(above[depth - 1] if depth else ROOT) / entry[2]]
        found.append((above[-1], entry[3]))
    return found


@pytest.mark.parametrize(("folder", "told"), map_entries(), ids=lambda value: getattr(value, "name", ""))
def test_what_the_map_names_is_there(folder: Path, told: str) -> None:
    assert folder.is_dir()
    places = [folder, *(below for below in folder.iterdir() if folder.name == "services")]
    for name in [*FILE_NAME.findall(told), *FOLDER_NAME.findall(told)]:
        beside = ROOT / name if folder.parent == ROOT else folder / name
        assert beside.exists() or any(list(place.glob(name.rstrip("/"))) for place in places), name


def test_every_package_is_on_the_map() -> None:
    packages = {path.parent for top in ("services", "shared") for path in (ROOT / top).rglob("__init__.py")}
    assert len(packages) > 10
    assert packages <= {folder for folder, _ in map_entries()}


def test_every_kind_of_test_is_on_the_map() -> None:
    (told,) = [told for folder, told in map_entries() if folder == ROOT / "tests"]
    kinds = {path.name for path in (ROOT / "tests").iterdir() if any(path.rglob("test_*.py"))}
    assert kinds
    assert kinds <= {name.rstrip("/") for name in FOLDER_NAME.findall(told)}


@pytest.mark.parametrize("page", PAGES)
def test_paths_in_the_text_are_there(page: str) -> None:
    prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    words = [word for span in re.findall(r"`([^`]+)`", prose) for word in span.split()]
    tops = {path.name for path in ROOT.iterdir()}
    paths = [word for word in words if ("/" in word and word.split("/")[0] in tops) or FILE_NAME.fullmatch(word)]
    paths = [path for path in paths if not path.startswith((BESIDE, "var/"))]
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text_of(page)) if not link.startswith("http")]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_are_there(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|&& )make ([a-z-]+)", text_of(page), re.MULTILINE))
    assert named
    assert named <= targets
    for module in re.findall(r"python -m ((?:services|tests|docs)[\w.]*)", text_of(page)):
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def promises() -> dict[str, list[str]]:
    """Every promise, and the tests that show it."""
    found: dict[str, list[str]] = {}
    for line in text_of("docs/promises.md").splitlines():
        if promise := re.fullmatch(r"\*\*(\d+\. .+)\*\*", line):
            found[promise[1]] = []
        elif test := re.fullmatch(r"- `(.+)`", line):
            found[list(found)[-1]].append(test[1])
    return found


@pytest.mark.parametrize("promise", promises())
def test_every_promise_is_shown_by_tests_that_are_there(promise: str) -> None:
    shown = promises()[promise]
    assert shown
    for test in shown:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in functions, test


def test_promises_are_numbered_and_every_test_on_the_page_belongs_to_one() -> None:
    found = promises()
    assert [int(promise.split(".")[0]) for promise in found] == list(range(1, len(found) + 1))
    named = re.findall(r"tests/[\w/]+\.py::\w+", text_of("docs/promises.md"))
    assert named == [test for tests in found.values() for test in tests]


def test_contributing_fits_a_screen() -> None:
    assert len(text_of("CONTRIBUTING.md").splitlines()) <= SCREEN
