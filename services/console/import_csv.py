"""Reads a table of pictures and their labels, without sending anything.

A table is a text file in UTF-8 with commas, semicolons or tabs, and a line of headers: `path` and `condition`, and
optional `severity`, `skin_tone`, `group`, `complete` and `split`; synonyms are understood, letters' case and order do
not matter. A picture that shows several conditions has a line for each. Paths are relative to the table, or to a folder
`images` beside it. The whole table is checked before the first picture is sent.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from services.console.file_names import shown
from services.console.import_folder import SPLITS, UNGRADED, Folder, Labels, Picture, merged, with_copy
from shared.errors import EvenskinError, InvalidRequest
from shared.taxonomy import CLEAR_NAMES, MONK_TONES, Fold, normal_name, parse_condition, parse_severity

ENDINGS = frozenset({".csv", ".tsv"})
IMAGES = "images"  # folder beside a table
MAX_TABLE_BYTES = 256 * 1024 * 1024  # a million lines of long paths
_DELIMITERS = ",;\t"
_COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "picture"),
    "condition": ("condition", "label", "class", "class_name", "category", "diagnosis"),
    "severity": ("severity", "grade", "level", "severity_grade"),
    "skin_tone": ("skin_tone", "tone", "monk", "monk_skin_tone", "monk_scale", "mst"),
    "group": ("group", "person", "person_id", "subject", "subject_id", "patient", "patient_id"),
    "complete": ("complete", "is_complete"),
    "split": ("split", "fold", "subset", "partition"),
}
_NAMES = {synonym: name for name, synonyms in _COLUMNS.items() for synonym in synonyms}
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def table_of(path: Path) -> Path | None:
    """The table that an import names: itself, or the one that lies beside a folder `images`; None for a folder tree.

    Raises InvalidRequest where several tables lie there.
    """
    if path.suffix.lower() in ENDINGS and not path.is_dir():
        return path
    if not (path / IMAGES).is_dir():
        return None
    tables = sorted(each for each in path.iterdir() if each.suffix.lower() in ENDINGS and each.is_file())
    tables = [each for each in tables if not each.name.startswith(".")]
    if len(tables) > 1:
        names = ", ".join(shown(each.name) for each in tables)
        raise InvalidRequest(f"'{shown(path)}' holds several tables: {names}.", advice="Name the one to import.")
    return tables[0] if tables else None


def read_csv(path: Path) -> Folder:
    """Read a table, and the bytes of pictures that may be copies. Sends and changes nothing.

    Raises InvalidRequest, UnknownCondition or UnknownSeverity, which name the line.
    """
    text = _text(path)
    heading = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=heading.count), strict=True)
    pictures: dict[Path, Picture] = {}
    columns: dict[str, int] | None = None
    unread: tuple[str, ...] = ()
    width = 0
    with _named(path, lambda: reader.line_num):
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                (columns, unread), width = _columns(cells), len(cells)
                continue
            if len(cells) > width:
                raise InvalidRequest("The line has more cells than the headers.", advice="Put quotes around commas.")
            said = {name: cells[at].strip() for name, at in columns.items() if at < len(cells)}
            picture = _picture(said, path.parent)
            first = pictures.get(picture.path)
            pictures[picture.path] = picture if first is None else with_copy(first, picture)
    if not pictures:
        raise InvalidRequest(f"'{shown(path)}' names no pictures.", advice="Write a line of headers: path,condition.")
    return Folder(path.parent, merged(list(pictures.values())), unread_columns=unread)


@contextmanager
def _named(path: Path, line: Callable[[], int]) -> Iterator[None]:
    """Errors name the table and the line."""
    try:
        yield
    except EvenskinError as error:
        named = type(error)(f"{shown(path.name)}, line {line()}: {error.message}", advice=error.advice)
        raise named from None
    except csv.Error as error:
        raise InvalidRequest(f"{shown(path.name)}, line {line()}: {error}.", advice="Save it as CSV anew.") from error


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise InvalidRequest(f"'{shown(path)}' has more than {MAX_TABLE_BYTES:,} bytes.")
        return path.read_bytes().decode("utf-8-sig")  # Excel's "CSV UTF-8" begins with a byte order mark
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"'{shown(path)}' is not in UTF-8.", advice="Save it as 'CSV UTF-8'.") from error
    except OSError as error:
        raise InvalidRequest(f"'{shown(path)}' cannot be read: {error.strerror}.") from error


def _columns(headers: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Where each column is, and the names of those that are not read."""
    found: dict[str, int] = {}
    unread = []
    for at, header in enumerate(headers):
        name = _NAMES.get(normal_name(header))
        if name is None:
            unread.append(header.strip())
        elif name in found:
            raise InvalidRequest(f"Two columns say the {name}: '{headers[found[name]]}' and '{header}'.")
        else:
            found[name] = at
    missing = [name for name in ("path", "condition") if name not in found]
    if missing:
        raise InvalidRequest(
            f"No column is named {' or '.join(missing)}.",
            advice=f"Name the columns in the first line: {', '.join(_COLUMNS)}.",
        )
    return found, tuple(unread)


def _picture(said: Mapping[str, str], folder: Path) -> Picture:
    return Picture(
        _path(said.get("path", ""), folder),
        _labels(said.get("condition", ""), said.get("severity", "")),
        splits=_splits(said.get("split", "")),
        complete=_complete(said.get("complete", "")),
        skin_tone=_skin_tone(said.get("skin_tone", "")),
        group=said.get("group") or None,
    )


def _path(text: str, folder: Path) -> Path:
    if not text or "\0" in text:
        raise InvalidRequest("The line names no picture.")
    names = [text, PureWindowsPath(text).as_posix()] if "\\" in text else [text]
    for name in names:
        for path in (folder / name, folder / IMAGES / name):
            if os.path.isfile(path):  # which takes names that no disk can hold
                return path
    raise InvalidRequest(
        f"There is no file '{shown(text)}'.", advice="Write paths as they are from the table's folder."
    )


def _labels(condition: str, severity: str) -> Labels:
    if not condition:
        raise InvalidRequest("The line names no condition.", advice="Write clear where none shows.")
    if normal_name(condition) in CLEAR_NAMES:
        if severity and normal_name(severity) not in CLEAR_NAMES:
            raise InvalidRequest(f"Clear skin has no severity '{shown(severity)}'.")
        return {}
    graded = severity and normal_name(severity) not in UNGRADED
    return {parse_condition(condition): parse_severity(_whole(severity)) if graded else None}


def _splits(text: str) -> frozenset[Fold]:
    if not text:
        return frozenset()
    try:
        return frozenset({SPLITS[normal_name(text)]})
    except KeyError:
        raise InvalidRequest(f"'{shown(text)}' is no part of a split.", advice=f"Use: {', '.join(SPLITS)}.") from None


def _complete(text: str) -> bool | None:
    if not text:
        return None
    try:
        return _TRUTHS[text.lower()]
    except KeyError:
        raise InvalidRequest(f"complete is '{shown(text)}'.", advice="Write true or false.") from None


def _skin_tone(text: str) -> int | None:
    if not text:
        return None
    tone = _whole(text)
    if tone not in {str(each) for each in MONK_TONES}:
        raise InvalidRequest(f"The skin tone '{shown(text)}' is no step of the Monk scale.", advice="Write 1 to 10.")
    return int(tone)


def _whole(text: str) -> str:
    """`2.0` → "2": spreadsheets and pandas write whole numbers so where a cell of the column is empty."""
    return text.removesuffix(".0")
