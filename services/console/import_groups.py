"""Groups of an import: whose picture a file is, by the folder that it lies in."""

from __future__ import annotations

from pathlib import Path

from services.console.file_names import shown
from services.console.import_folder import Picture, below_split
from shared.documents.requests import MAX_GROUP_CHARACTERS
from shared.errors import InvalidRequest
from shared.taxonomy import CLEAR_NAMES, normal_name


def folder_group(picture: Picture, root: Path) -> str | None:
    """The name of the deepest folder below the severity's, or below `clear`; None where there is none.

    So `acne/mild/anna/1.jpg`, `acne/severe/anna/2.jpg` and `clear/anna/3.jpg` are one group. Raises InvalidRequest
    where the name is no text or too long, and where the same picture lies in the folders of two groups.
    """
    found = {_deepest(path.relative_to(root)) for path in (picture.path, *picture.copies)} - {None}
    if len(found) > 1:
        names = ", ".join(sorted(shown(str(name)) for name in found))
        raise InvalidRequest(f"The same picture lies in the folders of two groups: {names}.")
    group = next(iter(found), None)
    if group is not None and not (len(group) <= MAX_GROUP_CHARACTERS and group.isprintable()):
        raise InvalidRequest(
            f"Its folder's name is none of a group: at most {MAX_GROUP_CHARACTERS} printable characters."
        )
    return group


def _deepest(path: Path) -> str | None:
    folders = below_split(path).parts[:-1]
    labels = 1 if normal_name(folders[0]) in CLEAR_NAMES else 2
    return folders[-1] if len(folders) > labels else None
