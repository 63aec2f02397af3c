"""Reads the labels of a folder tree of pictures, without sending anything.

Folders are `<condition>/<severity>/…`, `<condition>/…` (severity unknown) and `clear/…` (no condition); synonyms are
understood. Deeper folders are the user's own order and mean nothing. Above them may lie the folders of somebody's split
(`train`, `val`, `test`). The whole tree is checked before the first file is yielded, so that a typo in a folder's name
imports nothing rather than half.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from services.console.file_names import shown
from services.console.folder_walk import PassedOver, walk
from shared.errors import InvalidRequest, UnknownCondition, UnknownSeverity
from shared.taxonomy import CLEAR_NAMES, Condition, Fold, Severity, normal_name, parse_condition, parse_severity

UNGRADED = frozenset({"unknown", "ungraded", "not_graded"})
SPLITS = {
    **dict.fromkeys(("train", "training"), Fold.TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), Fold.VALIDATION),
    **dict.fromkeys(("test", "testing"), Fold.TEST),
}
"""What other tools call the parts of a dataset."""
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
    """One file to import, with what its folders or its lines in a table say of it.

    `copies`: further files with the same bytes. `splits`: parts of somebody's split that it lies in. None: not said.
    """

    path: Path
    labels: Labels
    copies: tuple[Path, ...] = ()
    splits: frozenset[Fold] = frozenset()
    complete: bool | None = None
    skin_tone: int | None = None
    group: str | None = None

    @property
    def split(self) -> Fold | None:
        """Its part of somebody's split. What lies in two has been trained on: it can be in none but train."""
        return Fold.TRAIN if len(self.splits) > 1 else next(iter(self.splits), None)


@dataclass
class Folder:
    """The pictures of a tree or a table, and what in it is passed over.

    `unread_columns`: of a table, by their names.
    """

    root: Path
    pictures: list[Picture] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    unread_columns: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[Fold, int]:
        """How many pictures are in each part of somebody's split; empty where there is none."""
        found = Counter(picture.split for picture in self.pictures if picture.split is not None)
        return {fold: found[fold] for fold in Fold if fold in found}

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
    found: list[Picture] = []
    passed_over = list(tree.passed_over)
    for path in tree.files:
        if path.suffix.lower() not in PICTURE_ENDINGS:
            passed_over.append(PassedOver(path, "no picture, by its ending"))
        elif len(below_split(path.relative_to(root)).parts) == 1:
            raise InvalidRequest(
                f"'{shown(path.name)}' lies directly in '{shown(path.parent)}', which says nothing of its condition.",
                advice="Put it into a folder named after its condition, such as acne/mild, or clear.",
            )
        elif _VARIANT.fullmatch(path.stem):
            passed_over.append(PassedOver(path, "an augmented copy from an export"))
        else:
            labels = _labels_of(path.relative_to(root), root)
            split = split_of(path.relative_to(root))
            found.append(Picture(path, labels, splits=frozenset() if split is None else frozenset({split})))
    for folder in tree.folders:
        if below_split(folder.relative_to(root)).parts:
            _labels_of(folder.relative_to(root) / "any", root)  # a wrong name is told even where nothing lies below it
    if not found:
        raise InvalidRequest(
            f"'{shown(root)}' holds no pictures.",
            advice="Use .jpg, .png, .webp, .heic or .avif files in <condition>/<severity>/.",
        )
    return Folder(root, merged(found), sorted(passed_over, key=lambda each: each.path))


def split_of(relative: PurePath) -> Fold | None:
    """The part of somebody's split that a path below an import's root lies in; None where there is none."""
    return SPLITS.get(normal_name(relative.parts[0]))


def below_split(relative: PurePath) -> PurePath:
    """The same path without the folder of the split."""
    return PurePath(*relative.parts[1:]) if split_of(relative) is not None else relative


def _labels_of(relative: Path, root: Path) -> Labels:
    names = below_split(relative).parts
    above = root.joinpath(*relative.parts[: len(relative.parts) - len(names)])
    condition = _condition(names[0], above)
    if condition is None:
        return {}
    return {condition: _severity(names[1], above / names[0]) if len(names) > 2 else None}


def _condition(name: str, root: Path) -> Condition | None:
    if normal_name(name) in CLEAR_NAMES:
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


def merged(found: list[Picture]) -> list[Picture]:
    """Merge files with the same bytes: a face that shows two conditions may lie in both folders.

    Raises InvalidRequest where two of them say what cannot both be right.
    """
    sizes = {picture.path: _size(picture.path) for picture in found}
    alike = Counter(sizes.values())
    kept: dict[object, Picture] = {}
    for picture in found:
        size = sizes[picture.path]
        # Only files of equal size can be copies: most are never read here.
        may_be_copy = alike[size] > 1 and 0 < size <= MAX_FILE_BYTES
        key: object = (_digest(picture.path) if may_be_copy else None) or picture.path
        first = kept.get(key)
        kept[key] = picture if first is None else with_copy(first, picture)
    return list(kept.values())


def with_copy(first: Picture, other: Picture) -> Picture:
    """What two files with the same bytes, or two lines of one file, say together. Raises InvalidRequest."""
    both = f"'{shown(first.path)}' and '{shown(other.path)}' are the same picture"
    if first.path == other.path:
        both = f"'{shown(first.path)}' is named more than once"
    if bool(first.labels) != bool(other.labels):
        raise InvalidRequest(f"{both}, once as clear skin and once not.", advice="Keep the one that is right.")
    labels = dict(first.labels)
    for condition, severity in other.labels.items():
        known = labels.get(condition)
        if known is not None and severity is not None and known != severity:
            raise InvalidRequest(f"{both} with two severities of {condition}.", advice="Keep the one that is right.")
        labels[condition] = known if severity is None else severity
    copies = first.copies if other.path == first.path else (*first.copies, other.path)
    said = {name: _one_of(first, other, name, both) for name in ("complete", "skin_tone", "group")}
    return replace(first, labels=labels, copies=copies, splits=first.splits | other.splits, **said)


def _one_of(first: Picture, other: Picture, name: str, both: str) -> Any:
    known, said = getattr(first, name), getattr(other, name)
    if None not in (known, said) and known != said:
        raise InvalidRequest(
            f"{both}, and of its {name.replace('_', ' ')} they say two things: {shown(str(known))} and"
            f" {shown(str(said))}.",
            advice="Keep the one that is right.",
        )
    return said if known is None else known


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
