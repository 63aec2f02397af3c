"""Reads a folder of labelled pictures as an import would, without any service: labels, and who looks alike.

One root, and so one fold, have the pictures of one group, files with the same bytes, and near-duplicates, mirrored or
not, as the import's gate finds them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from services.console.import_folder import Picture, read_folder
from services.console.import_groups import folder_group
from services.labeler_api.pictures.perceptual_hash import IMPORT_BITS, Look, look, near_duplicates, packed
from shared.cores import usable_cores
from shared.errors import ImageError
from shared.imaging import decode
from shared.manifest import ManifestImage
from shared.taxonomy import Fold, imported_image_id, root_of_group

_LOOK_SIDE = 256  # pixels of a picture's shorter side that are enough to see who looks alike


@dataclass
class LabelledFolder:
    """The pictures that can be read, their files by SHA-256, and why others cannot be, by path below the root."""

    images: list[ManifestImage] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def link(self, directory: Path) -> None:
        """Name every file in `directory` by its SHA-256, as the trainer reads them, without a copy."""
        directory.mkdir(parents=True, exist_ok=True)
        for digest, path in self.files.items():
            link = directory / digest
            if not link.is_symlink():
                link.symlink_to(path.resolve())


@dataclass(frozen=True)
class _Seen:
    sha256: str
    look: Look


def read_labelled(root: Path, *, groups: bool = False, look_alikes: bool = True) -> LabelledFolder:
    """The pictures of `<condition>/<severity>/…`, `<condition>/…` and `clear/…`. The fold of each is still open: train.

    `groups`: the deepest folder below the severity's says whose picture it is. `look_alikes`: whether near-duplicates
    are looked for; drawn faces have none. Raises InvalidRequest, UnknownCondition or UnknownSeverity.
    """
    folder = read_folder(root)
    found = LabelledFolder()
    with ThreadPoolExecutor(usable_cores()) as pool:
        looks = list(pool.map(_see if look_alikes else _digest, folder.pictures))
    readable: list[tuple[Picture, _Seen]] = []
    for picture, seen in zip(folder.pictures, looks, strict=True):
        if isinstance(seen, str):
            found.unreadable[picture.path.relative_to(root).as_posix()] = seen
        else:
            readable.append((picture, seen))
    names = [folder_group(picture, root) if groups else None for picture, _ in readable]
    alike = roots([seen.look for _, seen in readable] if look_alikes else (), names)
    for number, (picture, seen) in enumerate(readable):
        first = alike[number]
        name = names[first]
        found.files[seen.sha256] = picture.path
        found.images.append(
            ManifestImage(
                image_id=imported_image_id(seen.sha256),
                root_id=imported_image_id(readable[first][1].sha256) if name is None else root_of_group(name),
                key=picture.path.relative_to(root).as_posix(),
                sha256=seen.sha256,
                fold=Fold.TRAIN,
                labels=picture.labels,
                complete=picture.complete is not False,
            )
        )
    return found


def roots(looks: Sequence[Look], groups: Sequence[str | None]) -> list[int]:
    """The number of the picture that stands for each one's root: the first of all that it hangs together with.

    `looks`: of the pictures, or none where nobody looks alike. `groups`: the name of each one's group, or None.
    """
    parent = list(range(len(groups)))

    def first(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    def join(numbers: Iterable[int]) -> None:
        together = sorted({first(number) for number in numbers})
        for number in together:
            parent[number] = together[0]

    members: dict[object, list[int]] = {}
    for number, group in enumerate(groups):
        if group is not None:
            members.setdefault(group, []).append(number)
    by_hash: dict[bytes, list[int]] = {}
    for number, each in enumerate(looks):
        by_hash.setdefault(each.hash, []).append(number)
    for numbers in (*members.values(), *by_hash.values()):
        join(numbers)
    hashes = packed(b"".join(by_hash))
    for number, each in enumerate(looks):
        for value in (each.hash, each.mirrored):
            join([number, *(by_hash[near][0] for near in near_duplicates(value, hashes, IMPORT_BITS))])
    return [first(number) for number in range(len(groups))]


def _see(picture: Picture) -> _Seen | str:
    """A file's hashes, or why it cannot be read."""
    try:
        data = picture.path.read_bytes()
        return _Seen(hashlib.sha256(data).hexdigest(), look(decode(data, min_side=_LOOK_SIDE).image))
    except ImageError as error:
        return error.message
    except OSError as error:
        return f"It cannot be read: {os.strerror(error.errno or 0)}."


def _digest(picture: Picture) -> _Seen | str:
    return _Seen(hashlib.sha256(picture.path.read_bytes()).hexdigest(), Look(b"", b""))
