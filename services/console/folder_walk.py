"""Walks a folder tree: its plain files and folders, and what is passed over, by name and reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from services.console.file_names import shown
from shared.errors import InvalidRequest

SYSTEM_NAMES = frozenset({"__macosx", "@eadir", ".@__thumb", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found"})
"""What systems and network drives leave in folders, in small letters: copies and thumbnails, never originals."""


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that is not read, and why."""

    path: Path
    reason: str


@dataclass
class Tree:
    """What lies below a root: every plain file and every folder, in the order of their names."""

    root: Path
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


def walk(root: Path) -> Tree:
    """Read the names of a tree, however deep. Links out of it, hidden and system files are passed over.

    Raises InvalidRequest for a folder that cannot be read.
    """
    tree, inside = Tree(root), root.resolve()
    waiting = [_entries(root)]
    while waiting:  # a stack of our own: folders may be nested deeper than functions
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        path = Path(entry.path)
        reason = _reason_to_pass_over(entry, path, inside)
        if reason is not None:
            tree.passed_over.append(PassedOver(path, reason))
        elif entry.is_dir(follow_symlinks=False):
            tree.folders.append(path)
            waiting.append(_entries(path))
        else:
            tree.files.append(path)
    return tree


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError as error:
        raise InvalidRequest(
            f"The folder '{shown(folder)}' cannot be read: {error.strerror}.",
            advice="Make it readable, or move it out of the tree.",
        ) from error


def _reason_to_pass_over(entry: os.DirEntry[str], path: Path, inside: Path) -> str | None:
    if entry.name.lower() in SYSTEM_NAMES or entry.name.startswith("._"):
        return "a system's own file"
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_symlink() and not (os.path.isfile(path) and path.resolve().is_relative_to(inside)):
        return "a link to a folder, to nothing, or out of the tree"
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file():
        return "no plain file"
    return None
