"""Reads the labels of a folder tree of pictures, without sending anything.

Folders are `<condition>/<severity>/…`, `<condition>/…` (severity unknown) and `clear/…` (no condition); synonyms are
understood. Deeper folders are the user's own order and mean nothing. The whole tree is checked before
the first file is yielded, so that a typo in a folder's name imports nothing rather than half.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from services.console.file_names import shown
from services.console.folder_walk import PassedOver, walk
from shared.errors import InvalidRequest, UnknownCondition, UnknownSeverity
from shared.taxonomy import Condition, Severity, normal_name, parse_condition, parse_severity

CLEAR = frozenset({"clear", "clear_skin", "healthy", "none"})
UNGRADED = frozenset({"unknown", "ungraded", "not_graded"})
READABLE_ENDINGS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".heic", ".heif", ".hif", ".avif"})
# Pictures in formats that are not read are sent too: the refusal names the format.
UNREADABLE_ENDINGS = frozenset(
    {".gif", ".bmp", ".tif", ".tiff", ".jp2", ".jxl", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"}
)
PICTURE_ENDINGS = READABLE_ENDINGS | UNREADABLE_ENDINGS
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
    """The pictures of a tree, and what in it is passed over."""

    root: Path
    pictures: list[Picture] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[Path, Labels]]:
        return ((picture.path, picture.labels) for picture in self.pictures)


def read_folder(root: Path) -> Folder:
    """Read a tree's names, and the bytes of files that may be copies. Sends and changes nothing.

    Raises InvalidRequest, UnknownCondition or UnknownSeverity, which name the folder.
    """
    if not os.path.isdir(root):
        what = "is not a folder" if os.path.exists(root) else "does not exist, or is out of reach"
        raise InvalidRequest(
            f"'{shown(root)}' {what}.", advice="Name a folder that holds <condition>/<severity>/ folders."
        )
    tree = walk(root)
    found: list[tuple[Path, Labels]] = []
    passed_over = list(tree.passed_over)
    for path in tree.files:
        if path.suffix.lower() not in PICTURE_ENDINGS:
            passed_over.append(PassedOver(path, "no picture, by its ending"))
        elif path.parent == root:
            raise InvalidRequest(
                f"'{shown(path.name)}' lies directly in '{shown(root)}', which says nothing about its condition.",
                advice="Put it into a folder named after its condition, such as acne/mild, or clear.",
            )
        elif _VARIANT.fullmatch(path.stem):
            passed_over.append(PassedOver(path, "an augmented copy from an export"))
        else:
            found.append((path, _labels_of(path.relative_to(root), root)))
    for folder in tree.folders:
        _labels_of(folder.relative_to(root) / "any", root)  # a wrong name is told even where nothing lies below it
    if not found:
        raise InvalidRequest(
            f"'{shown(root)}' holds no pictures.",
            advice="Use .jpg, .png, .webp, .heic or .avif files in <condition>/<severity>/.",
        )
    return Folder(root, _merged(found), sorted(passed_over, key=lambda each: each.path))


def _labels_of(relative: Path, root: Path) -> Labels:
    condition = _condition(relative.parts[0], root)
    if condition is None:
        return {}
    graded = len(relative.parts) > 2
    return {condition: _severity(relative.parts[1], root / relative.parts[0]) if graded else None}


def _condition(name: str, root: Path) -> Condition | None:
    if normal_name(name) in CLEAR:
        return None
    try:
        return parse_condition(name)
    except UnknownCondition as error:
        raise UnknownCondition(
            f"The folder '{shown(root / name)}' is not named after a condition.", advice=f"{error.advice} Or: clear."
        ) from None


def _severity(name: str, folder: Path) -> Severity | None:
    if normal_name(name) in UNGRADED:
        return None
    try:
        return parse_severity(name)
    except UnknownSeverity as error:
        raise UnknownSeverity(
            f"The folder '{shown(folder / name)}' is not named after a severity.", advice=error.advice
        ) from None


def _merged(found: list[tuple[Path, Labels]]) -> list[Picture]:
    """Merge files with the same bytes: a face that shows two conditions may lie in both folders."""
    sizes = {path: _size(path) for path, _ in found}
    alike = Counter(sizes.values())
    merged: dict[object, Picture] = {}
    for path, labels in found:
        # Only files of equal size can be copies: most are never read here.
        may_be_copy = alike[sizes[path]] > 1 and 0 < sizes[path] <= MAX_FILE_BYTES
        key: object = (_digest(path) if may_be_copy else None) or path
        first = merged.get(key)
        merged[key] = Picture(path, labels) if first is None else _with_copy(first, path, labels)
    return list(merged.values())


def _with_copy(first: Picture, path: Path, labels: Labels) -> Picture:
    both = f"'{shown(first.path)}' and '{shown(path)}' are the same picture"
    if bool(first.labels) != bool(labels):
        raise InvalidRequest(f"{both}, once as clear skin and once not.", advice="Keep the one that is right.")
    merged = dict(first.labels)
    for condition, severity in labels.items():
        known = merged.get(condition)
        if known is not None and severity is not None and known != severity:
            raise InvalidRequest(f"{both} with two severities of {condition}.", advice="Keep the one that is right.")
        merged[condition] = known if severity is None else severity
    return Picture(first.path, merged, (*first.copies, path))


def _size(path: Path) -> int:
    """Bytes of a file; 0 of one that went meanwhile, which is told where it is sent."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _digest(path: Path) -> str | None:
    """SHA-256 of a file; None of one that cannot be read, which is told where it is sent."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
