"""What only the directory store has to show: full disks, unwritable directories, nothing left over."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.embedded.blobs import DirectoryBlobs
from shared.errors import StoreFull, StoreUnavailable
from tests.eventually import eventually


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def blobs(root: Path) -> DirectoryBlobs:
    return DirectoryBlobs(root)


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse to let a file grow past `size` bytes: a disk that fills in mid-write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def test_a_disk_that_fills_in_mid_write_leaves_what_was_there(blobs: DirectoryBlobs, root: Path) -> None:
    await blobs.put("key", b"before")
    with largest_file(100_000), pytest.raises(StoreFull) as full:
        await blobs.put("key", b"x" * 200_000)
    assert full.value.status == 507
    assert (await blobs.get("key")).data == b"before"
    assert files(root) == ["key"]
    await blobs.put("key", b"x" * 200_000)  # space was freed: work goes on


class Flushes:
    """Which directories were flushed to disk once an object was at its place, by what the system calls them."""

    def __init__(self, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._at, self._flush = at, os.fsync
        self.directories: set[int] = set()
        self.error: int | None = None
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            if self.error is not None:
                raise OSError(self.error, os.strerror(self.error))
            if self._at.exists():
                self.directories.add(found.st_ino)
        self._flush(descriptor)


@pytest.mark.parametrize("condition", [None, "if_absent", "if_match"])
async def test_a_name_is_on_disk_once_a_put_returns(
    blobs: DirectoryBlobs, root: Path, condition: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    match = await blobs.put("a/b/key", b"before") if condition == "if_match" else None
    flushes = Flushes(root / "a/b/key", monkeypatch)
    await blobs.put("a/b/key", b"content", if_absent=condition == "if_absent", if_match=match)
    assert flushes.directories == {place.stat().st_ino for place in (root, root / "a", root / "a" / "b")}


async def test_a_directory_that_cannot_be_flushed(
    blobs: DirectoryBlobs, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = Flushes(root / "key", monkeypatch)
    flushes.error = errno.EINVAL  # this file system flushes no directories
    await blobs.put("key", b"content")
    assert (await blobs.get("key")).data == b"content"
    flushes.error = errno.EIO
    with pytest.raises(StoreUnavailable):
        await blobs.put("key", b"more")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_disk_that_is_found_full_when_flushed_says_so(
    blobs: DirectoryBlobs, root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StoreFull):
            await blobs.put("images/a/original.png", b"bytes", if_absent=True)
    assert files(root) == []
    await blobs.put("images/a/original.png", b"bytes", if_absent=True)


async def test_a_directory_that_cannot_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blobs = DirectoryBlobs(tmp_path / "file")
    with pytest.raises(StoreUnavailable):
        await blobs.check()
    with pytest.raises(StoreUnavailable):
        await blobs.put("key", b"x")


async def test_a_failed_put_leaves_no_temporary_file(blobs: DirectoryBlobs, root: Path) -> None:
    await blobs.put("key", b"x")
    results = await asyncio.gather(
        *(blobs.put("key", b"y", if_absent=True) for _ in range(5)),
        *(blobs.put("key", b"z", if_match="stale") for _ in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(result, Exception) for result in results)
    assert [name for name in files(root) if name != ".lock"] == ["key"]


async def test_a_cancelled_put_is_whole_or_not_at_all(blobs: DirectoryBlobs) -> None:
    data = b"x" * 5_000_000
    put = asyncio.create_task(blobs.put("key", data))
    await asyncio.sleep(0.001)
    put.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await put
    info = await eventually(lambda: blobs.head("key"))
    assert info.size == len(data)


async def test_listing_reads_no_contents(blobs: DirectoryBlobs, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await blobs.put("images/a", b"bytes")
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("A listing reads a file."))
    assert [info.size async for info in blobs.list("images/")] == [5]
