"""A folder of pictures that somebody made by hand, by `<condition>/<severity>/…`, and `clear/…`,
as an import reads them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import ConfigurationError, UnknownCondition, UnknownSeverity
from shared.taxonomy import CLEAR, CLEAR_NAMES, Kind, Severity, normal_name, parse_kind, parse_severity

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp"})  # of formats that the dataset keeps
_SYSTEM_FOLDERS = ("__macosx", "lost+found", "$recycle.bin")

Label = tuple[Kind, Severity | None]  # None: of clear skin


@dataclass
class PictureFolder:
    """Files by what they show, in the order of their names; and those that fill no slot, with the reason."""

    files: dict[Label, list[Path]] = field(default_factory=dict)
    passed_over: dict[Path, str] = field(default_factory=dict)


def read_pictures(root: Path) -> PictureFolder:
    """Read the names in a tree. Links, hidden and system files are passed over without a word.

    Raises ConfigurationError where there is no such folder.
    """
    if not root.is_dir():
        raise ConfigurationError(
            f"EVENSKIN_PICTURE_FOLDER is '{root}', which is no folder.",
            advice="Name one that holds <condition>/<severity>/ folders of pictures.",
        )
    found = PictureFolder()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _is_systems(name))
        for name in sorted(names):
            path = Path(folder, name)
            if _is_systems(name) or path.is_symlink():
                continue
            label = _label(path.relative_to(root))
            if isinstance(label, str):
                found.passed_over[path] = label
            else:
                found.files.setdefault(label, []).append(path)
    return found


def _is_systems(name: str) -> bool:
    return name.startswith((".", "@")) or name.casefold() in _SYSTEM_FOLDERS


def _label(path: Path) -> Label | str:
    """What a file shows by its folders, or why it fills no slot. Folders below the severity mean nothing."""
    if path.suffix.casefold() not in ENDINGS:
        return "no PNG, JPEG or WebP by its ending"
    if len(path.parts) > 1 and normal_name(path.parts[0]) in CLEAR_NAMES:
        return CLEAR, None
    if len(path.parts) < 3:
        return "in no <condition>/<severity>/ folder: a slot has both"
    try:
        return parse_kind(path.parts[0]), parse_severity(path.parts[1])
    except (UnknownCondition, UnknownSeverity) as error:
        return error.message
