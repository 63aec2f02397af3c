"""`import`: uploads the pictures of a folder tree or a table, several at a time. None that is there is taken twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape

from services.console.client import LabelerClient
from services.console.connection import labeler
from services.console.file_names import as_text, shown
from services.console.folder_walk import PassedOver
from services.console.import_csv import read_csv, table_of
from services.console.import_folder import MAX_FILE_BYTES, Folder, Picture, read_folder
from services.console.import_groups import folder_group
from services.console.import_yolo import is_yolo, read_yolo
from services.console.output import print_json, results
from services.console.progress import progress_bars
from services.console.text import count
from shared.documents.images import ImageDetail
from shared.errors import EvenskinError, ImageTooLarge, InvalidRequest, first_error

UPLOADS = 8  # pictures on their way at a time: keeps the server's cores busy, and little memory
UPLOAD_TRIES = 4  # of one picture while the service is overloaded
PAUSE_S = 1.0  # seconds before an overloaded service is asked again
SHOWN = 20  # refusals, and files passed over, listed one by one for a person; --json has all


@dataclass(frozen=True)
class Manner:
    """What is said of every picture.

    `groups`: its folder names its group; `update`: new labels replace the old; `keep_folds`: a picture that becomes a
    root gets the fold that its split says.
    """

    complete: bool = True
    groups: bool = False
    update: bool = False
    keep_folds: bool = False


DEFAULT = Manner()


@dataclass
class Imported:
    """How an import went.

    `copies`: path, and the file with the same bytes that is sent in its stead; `near_duplicates`: path, and the image
    that it looks the same as; `kept_out`: path and reason of those that fit no fold; `other_fold`: path, the fold it
    has and the one it was to keep; `refused`: path, code and reason, and where both are known what is `stored` and what
    was `sent`.
    """

    new: int = 0
    already_there: int = 0
    copies: list[dict[str, str]] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    near_duplicates: list[dict[str, Any]] = field(default_factory=list)
    kept_out: list[dict[str, Any]] = field(default_factory=list)
    other_fold: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)


async def import_folder(
    directory: Path, *, home: Path | None, url: str | None, manner: Manner, json_output: bool
) -> int:
    """Import a folder tree, a table, or what is laid out as for YOLO.

    Returns exit status 1 if the service refused some of the pictures.
    """
    folder = _read(directory, manner)
    async with labeler(home, url) as (client, _):
        outcome = await upload_folder(client, folder, manner)
    others = [(_name(each.path, folder.root), each.reason) for each in outcome.passed_over]
    if json_output:
        print_json(
            {
                "imported": outcome.new,
                "already_there": outcome.already_there,
                "copies": len(outcome.copies),
                "copied_files": outcome.copies,
                "passed_over": len(outcome.passed_over),
                "passed_over_files": [{"path": path, "reason": reason} for path, reason in others],
                "near_duplicates": outcome.near_duplicates,
                "kept_out": outcome.kept_out,
                "split": {"found": folder.splits, "kept": manner.keep_folds} if folder.splits else None,
                "other_fold": outcome.other_fold,
                "unread_columns": folder.unread_columns,
                "refused": outcome.refused,
            }
        )
    else:
        _print_outcome(outcome, others)
        _print_split(folder, outcome, manner)
        if folder.unread_columns:
            names = ", ".join(shown(name) for name in folder.unread_columns)
            results().print(f"Columns that are not read: {escape(names)}.", soft_wrap=True)
    return 1 if outcome.refused else 0


def _read(path: Path, manner: Manner) -> Folder:
    table = table_of(path)
    if table is not None:
        if manner.groups:
            raise InvalidRequest("A table names groups in its column 'group'.", advice="Leave out --groups.")
        return read_csv(table)
    if not is_yolo(path):
        return read_folder(path)
    if manner.groups:
        raise InvalidRequest("YOLO's folders name no groups.", advice="Leave out --groups, or import a table.")
    return read_yolo(path)


async def upload_folder(client: LabelerClient, folder: Folder, manner: Manner = DEFAULT) -> Imported:
    """Upload every picture of a folder, several at a time, with a progress bar."""
    copies = [
        {"path": _name(copy, folder.root), "copy_of": _name(picture.path, folder.root)}
        for picture in folder.pictures
        for copy in picture.copies
    ]
    outcome = Imported(copies=copies, passed_over=folder.passed_over)
    try:
        await _upload_all(client, folder, outcome, manner)
    except EvenskinError as error:
        done = outcome.new + outcome.already_there
        error.advice += f" {done} of {len(folder.pictures)} pictures are in; run it again for the others."
        error.advice = error.advice.strip()
        raise
    for listed in (outcome.near_duplicates, outcome.kept_out, outcome.other_fold, outcome.refused):
        listed.sort(key=lambda entry: str(entry["path"]))
    return outcome


def _print_outcome(outcome: Imported, others: list[tuple[str, str]]) -> None:
    console = results()
    console.print(
        f"{outcome.new:,} imported, {outcome.already_there:,} already there, {len(outcome.refused):,} refused"
        f" ({count(len(others), 'other file')} passed over,"
        f" {count(len(outcome.copies), 'copy', 'copies')} in a second folder)."
    )
    print_some(f"{refusal['path']}: {refusal['reason']} [{refusal['code']}]" for refusal in outcome.refused)
    if outcome.near_duplicates:
        console.print(f"{len(outcome.near_duplicates):,} of them look the same as another image, and share its fold:")
        print_some(f"{entry['path']}: as image {entry['near_duplicate_of']}" for entry in outcome.near_duplicates)
    if outcome.copies:
        console.print("Copies:")
        print_some(f"{each['path']}: of {each['copy_of']}" for each in outcome.copies)
    if outcome.kept_out:
        console.print(f"{len(outcome.kept_out):,} of them are kept out of the dataset:")
        print_some(f"{entry['path']}: {entry['reason']}" for entry in outcome.kept_out)
    if others:
        console.print("Passed over:")
        print_some(f"{path}: {reason}" for path, reason in others)


def _print_split(folder: Folder, outcome: Imported, manner: Manner) -> None:
    if not folder.splits:
        return
    parts = ", ".join(f"{number:,} {fold}" for fold, number in folder.splits.items())
    if not manner.keep_folds:
        results().print(
            f"Their split ({parts}) is not kept: our own folds hold. --keep-folds keeps it, for new pictures only.",
            soft_wrap=True,
        )
        return
    results().print(f"Their split ({parts}) is kept, but for {len(outcome.other_fold):,}.", soft_wrap=True)
    both = sum(len(picture.splits) > 1 for picture in folder.pictures)
    if both:
        results().print(f"{count(both, 'picture lies', 'pictures lie')} in two parts of it: taken for train.")
    if outcome.other_fold:
        results().print("They were there already, look the same as an image that is, or have a group:")
        print_some(f"{each['path']}: {each['fold']}, not {each['split']}" for each in outcome.other_fold)


def print_some(lines: Iterable[str]) -> None:
    """The first of these lines, indented, and how many more there are."""
    every = list(lines)
    for line in every[:SHOWN]:
        results().print(f"  {escape(line)}", soft_wrap=True)
    if len(every) > SHOWN:
        results().print(f"  and {len(every) - SHOWN:,} more; --json lists them all.")


async def _upload_all(client: LabelerClient, folder: Folder, outcome: Imported, manner: Manner) -> None:
    waiting = iter(folder.pictures)
    with progress_bars() as bars:
        task = bars.add_task("importing", total=len(folder.pictures), note="")

        async def worker() -> None:
            for picture in waiting:  # shared by the workers: each takes the next one
                await _upload(client, picture, folder.root, outcome, manner)
                bars.advance(task)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(UPLOADS, len(folder.pictures))):
                    group.create_task(worker())
        except* EvenskinError as failures:
            raise first_error(failures) from None


async def _upload(client: LabelerClient, picture: Picture, root: Path, outcome: Imported, manner: Manner) -> None:
    path = _name(picture.path, root)
    labels = {str(name): severity.label if severity else None for name, severity in picture.labels.items()}
    try:
        said = {
            "complete": manner.complete if picture.complete is None else picture.complete,
            "group": folder_group(picture, root) if manner.groups else picture.group,
            "skin_tone": picture.skin_tone,
            "fold": picture.split if manner.keep_folds else None,
            "update": manner.update,
        }
        data = await asyncio.to_thread(read_picture, picture.path)
        image, new = await _add(client, data, shown(picture.path.name), labels, said)
    except EvenskinError as error:
        if not _is_refusal(error):
            raise
        outcome.refused.append({"path": path, "code": error.code, "reason": error.message, **error.details})
        return
    if new:
        outcome.new += 1
        _note(image, path, outcome)
    else:
        outcome.already_there += 1
    if manner.keep_folds and picture.split not in (None, image.fold):
        outcome.other_fold.append({"path": path, "fold": image.fold, "split": picture.split})


def _name(path: Path, root: Path) -> str:
    """A picture's path as it is told: below the root where it lies there."""
    return as_text((path.relative_to(root) if path.is_relative_to(root) else path).as_posix())


def _note(image: ImageDetail, path: str, outcome: Imported) -> None:
    if image.status == "rejected":
        outcome.kept_out.append({"path": path, "reason": image.reason, "near_duplicate_of": image.near_duplicate_of})
    elif image.near_duplicate_of is not None:
        outcome.near_duplicates.append({"path": path, "near_duplicate_of": image.near_duplicate_of})


async def _add(
    client: LabelerClient, data: bytes, name: str, labels: dict[str, str | None], said: dict[str, Any]
) -> tuple[ImageDetail, bool]:
    for left in reversed(range(UPLOAD_TRIES)):
        try:
            return await client.add_image(data, filename=name, labels=labels, **said)
        except EvenskinError as error:
            if error.status != 503 or not left or error.code == "service_unreachable":
                raise
            await asyncio.sleep(PAUSE_S)
    raise AssertionError("unreachable: the last try returns or raises")


def read_picture(path: Path) -> bytes:
    """Read a file. Raises ImageTooLarge, without reading, for what the server would not read; InvalidRequest."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ImageTooLarge(f"The file has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read.")
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"The file cannot be read: {error.strerror}.") from error


def _is_refusal(error: EvenskinError) -> bool:
    """Whether this picture is at fault. A wrong key or a server in trouble would refuse the next one too."""
    return error.status in (409, 413, 415, 422)
