"""`export`: writes the dataset as files that other tools read, whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

from rich.markup import escape

from services.console.client import Download
from services.console.connection import labeler
from services.console.import_labelstudio import labelling_configuration
from services.console.output import print_json, results
from services.console.progress import progress_bars
from services.console.text import count
from shared.errors import Conflict, EvenskinError, InvalidRequest

_DATA_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""tarfile's own check of what is unpacked, where it is: Python 3.11.2, which Debian 12 has, came before it."""
_CONFIGURATION = "labelstudio.xml"  # of a project that the tasks are shown in
_FILES = {"labelstudio": "labelstudio.json", "coco": "coco.json", "csv": "images.csv", "audit": "audit.ndjson"}


async def export(
    directory: Path, *, format: str, annotators: bool, home: Path | None, url: str | None, json_output: bool
) -> int:
    """Write the dataset into an empty or new directory."""
    check_empty(directory)  # before the server packs anything
    async with labeler(home, url) as (client, _), client.export(format, annotators=annotators) as download:
        files = await write_export(download, directory, format)
    if json_output:
        print_json({"directory": str(directory), "format": format, "files": files})
    else:
        results().print(f"{count(files, 'file')} written to {escape(str(directory))}.", soft_wrap=True)
    return 0


async def write_export(download: Download, directory: Path, format: str) -> int:
    """Write a download into an empty or new directory, whole or not at all. Returns the number of files."""
    partial = prepare(directory)
    try:
        if download.content_type in ("application/x-tar", "application/tar"):
            files = await _extract(download.chunks, partial)
        else:
            files = _write(partial / _FILES.get(format, format), [chunk async for chunk in download.chunks])
            if format == "labelstudio":
                files += _write(partial / _CONFIGURATION, [labelling_configuration().encode()])
        put_in_place(partial, directory)
    except OSError as error:
        raise unwritable(directory, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return files


def check_empty(directory: Path) -> None:
    """Raise Conflict unless it is an empty directory or is not there."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        what = "is not empty" if directory.is_dir() else "is a file"
        raise Conflict(f"'{directory}' {what}.", advice="Export into a new or an empty directory.")


def prepare(directory: Path) -> Path:
    """A hidden directory beside the wanted one, so that putting it in place is one rename."""
    check_empty(directory)
    target = directory.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise InvalidRequest(f"'{directory}' cannot be written: {error.strerror}.") from error


def _write(path: Path, chunks: list[bytes]) -> int:
    path.write_bytes(b"".join(chunks))
    return 1


def put_in_place(partial: Path, directory: Path) -> None:
    """Rename what was written to what was wanted."""
    partial.chmod(0o755)  # mkdtemp's is for its owner only
    if directory.is_dir():
        directory.rmdir()
    partial.rename(directory.absolute())


def unwritable(directory: Path, error: OSError) -> EvenskinError:
    """The error that an export ends with where the disk refuses it."""
    failed = EvenskinError(f"'{directory}' cannot be written: {error.strerror or error}.", advice="Nothing was left.")
    failed.code = "export_failed"
    return failed


async def _extract(chunks: AsyncIterator[bytes], into: Path) -> int:
    """Unpack a tar as it arrives, in a thread, through a pipe: no second copy on the disk."""
    reading, writing = os.pipe()
    unpacking = asyncio.create_task(asyncio.to_thread(_unpack, reading, into), name="unpack export")
    try:
        with progress_bars(unit="MB") as bars, contextlib.suppress(BrokenPipeError):  # the thread's error says why
            task = bars.add_task("exporting", total=None, note="")
            async for chunk in chunks:
                await asyncio.to_thread(_write_all, writing, chunk)
                bars.advance(task, len(chunk) / 1e6)
    except BaseException:
        os.close(writing)
        await asyncio.gather(unpacking, return_exceptions=True)
        raise
    os.close(writing)
    return await unpacking


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _unpack(descriptor: int, into: Path) -> int:
    """Unpack a tar's files; directories are made for them, links and devices are passed over. Returns how many."""
    files = 0
    try:
        with os.fdopen(descriptor, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isfile():
                    _check_name(member.name, into)
                    archive.extract(member, into, set_attrs=False, **_DATA_FILTER)
                    files += 1
    except (tarfile.TarError, ValueError, OverflowError) as error:  # the last two: a number or name no disk can take
        raise InvalidRequest(f"The export was cut off or damaged: {error}.") from error
    return files


def _check_name(name: str, into: Path) -> None:
    """Raise InvalidRequest for a file that would lie elsewhere, or where another one lies."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(f"The export names '{name[:80]}', which lies outside of it.")
    if (into / path).exists():
        raise InvalidRequest(f"The export names '{name[:80]}' twice.")
