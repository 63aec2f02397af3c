"""Reads the labels of a folder tree of pictures, without sending anything.

Folders are `<condition>/<severity>/…`, `<condition>/…` (severity unknown) and `clear/…` (no condition); synonyms are
understood. Deeper folders are the user's own order and mean nothing. The whole tree is checked before
the first file is yielded, so that a typo in a folder's name imports nothing rather than half.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import InvalidRequest, UnknownCondition, UnknownSeverity
from shared.taxonomy import Condition, Severity, normal_name, parse_condition, parse_severity

CLEAR = frozenset({"clear", "clear_skin", "healthy", "none"})
UNGRADED = frozenset({"unknown", "ungraded", "not_graded"})
READABLE_ENDINGS = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif"})
UNREADABLE_ENDINGS = frozenset({".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2"})
PICTURE_ENDINGS = (
    READABLE_ENDINGS | UNREADABLE_ENDINGS
)  # pictures in formats that are not read are sent too: the refusal is reported
MAX_FILE_BYTES = 20 * 1024 * 1024  # bytes of one picture; the server reads no more either
# Our own export names variants <image id>_<operation>: taken as originals, a face could cross folds.
_VARIANT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_[a-z0-9_]+")

Labels = dict[Condition, Severity | None]


@dataclass(frozen=True)
class Picture:
    """One file to import, with the labels that its folders give it. `copies`: further files with the same bytes."""

    path: Path
    labels: Labels
    copies: tuple[Path, ...] = ()


@dataclass
class Folder:
    """The pictures of a tree. `passed_over` counts hidden files, other endings, variants and links out of the tree."""

    root: Path
    pictures: list[Picture] = field(default_factory=list)
    passed_over: int = 0

    def __iter__(self) -> Iterator[tuple[Path, Labels]]:
        return ((picture.path, picture.labels) for picture in self.pictures)


def read_folder(root: Path) -> Folder:
    """Read a tree's names, and the bytes of files that may be copies. Sends and changes nothing.

    Raises InvalidRequest, UnknownCondition or UnknownSeverity, which name the folder.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InvalidRequest(f"'{root}' {what}.", advice="Name a folder that holds <condition>/<severity>/ folders.")
    folder = Folder(root)
    found: list[tuple[Path, Labels]] = []
    for path in _plain_files(root, folder):
        if path.parent == root:
            if path.suffix.lower() in PICTURE_ENDINGS:
                raise InvalidRequest(
                    f"'{path.name}' lies directly in '{root}', which says nothing about its condition.",
                    advice="Put it into a folder named after its condition, such as acne/mild, or clear.",
                )
            folder.passed_over += 1
        elif path.suffix.lower() in PICTURE_ENDINGS and not _VARIANT.fullmatch(path.stem):
            found.append((path, _labels_of(path.relative_to(root), root)))
        else:
            folder.passed_over += 1
    for name in sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        _check_names(root / name, root)  # a wrong name is told even where nothing lies below it
    if not found:
        raise InvalidRequest(
            f"'{root}' holds no pictures.", advice="Use .jpg, .png, .webp or .heic files in <condition>/<severity>/."
        )
    folder.pictures = _merged(found)
    return folder


def _plain_files(root: Path, folder: Folder) -> Iterator[Path]:
    """Yield every plain file below the root in a stable order. Count hidden files and links that lead out of it."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidRequest(f"'{root}' cannot be read: {error.strerror}.") from error
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            folder.passed_over += 1
        elif entry.is_dir(follow_symlinks=False):
            yield from _plain_files(path, folder)
        elif entry.is_symlink() and not (path.is_file() and path.resolve().is_relative_to(folder.root.resolve())):
            folder.passed_over += 1  # a link to a folder, to nothing, or out of the tree
        elif entry.is_file():
            yield path
        else:
            folder.passed_over += 1


def _labels_of(relative: Path, root: Path) -> Labels:
    condition = _condition(relative.parts[0], root)
    if condition is None:
        return {}
    graded = len(relative.parts) > 2
    return {condition: _severity(relative.parts[1], root / relative.parts[0]) if graded else None}


def _check_names(folder: Path, root: Path) -> None:
    if _condition(folder.name, root) is not None and not folder.is_symlink():
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.name.startswith("."):
                _severity(entry.name, folder)


def _condition(name: str, root: Path) -> Condition | None:
    if normal_name(name) in CLEAR:
        return None
    try:
        return parse_condition(name)
    except UnknownCondition as error:
        raise UnknownCondition(
            f"The folder '{root / name}' is not named after a condition.", advice=f"{error.advice} Or: clear."
        ) from None


def _severity(name: str, folder: Path) -> Severity | None:
    if normal_name(name) in UNGRADED:
        return None
    try:
        return parse_severity(name)
    except UnknownSeverity as error:
        raise UnknownSeverity(
            f"The folder '{folder / name}' is not named after a severity.", advice=error.advice
        ) from None


def _merged(found: list[tuple[Path, Labels]]) -> list[Picture]:
    """Merge files with the same bytes: a face that shows two conditions may lie in both folders."""
    by_size: dict[int, list[tuple[Path, Labels]]] = defaultdict(list)
    for path, labels in found:
        by_size[path.stat().st_size].append((path, labels))
    merged: dict[object, Picture] = {}
    for path, labels in found:
        size = path.stat().st_size
        # Only files of equal size can be copies: most are never read here.
        key: object = path if len(by_size[size]) == 1 or not 0 < size <= MAX_FILE_BYTES else _digest(path)
        first = merged.get(key)
        merged[key] = Picture(path, labels) if first is None else _with_copy(first, path, labels)
    return list(merged.values())


def _with_copy(first: Picture, path: Path, labels: Labels) -> Picture:
    if bool(first.labels) != bool(labels):
        raise InvalidRequest(f"'{first.path}' and '{path}' are the same picture, once as clear skin and once not.")
    merged = dict(first.labels)
    for condition, severity in labels.items():
        known = merged.get(condition)
        if known is not None and severity is not None and known != severity:
            raise InvalidRequest(
                f"'{first.path}' and '{path}' are the same picture with two severities of {condition}.",
                advice="Keep the one that is right.",
            )
        merged[condition] = known if severity is None else severity
    return Picture(first.path, merged, (*first.copies, path))


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidRequest(f"'{path}' cannot be read: {error.strerror}.") from error
