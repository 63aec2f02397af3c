"""The blob port on a directory: atomic writes by rename, conditional puts under a file lock."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from filelock import FileLock

from shared.blobs import Blob, BlobInfo, checked_key, checked_prefix
from shared.errors import BlobNotFound, EvenskinError, PreconditionFailed, StoreFull, StoreUnavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CANNOT_FLUSH = {
    errno.EBADF,
    errno.EINVAL,
}  # said of a directory by file systems that flush none; PostgreSQL's list, too
LOCK_POLL_S = 0.005  # between two looks at a lock that somebody holds for one rename
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class DirectoryBlobs:
    """Blobs as files below `root`; the key is the path. Safe for several processes on one machine."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = root / ".incoming"
        self._locks = root / ".lock"

    async def get(self, key: str) -> Blob:
        """Read an object. Raises BlobNotFound, StoreUnavailable."""
        return await asyncio.to_thread(self._get, checked_key(key))

    async def head(self, key: str) -> BlobInfo | None:
        """Return size and ETag, or None."""
        return await asyncio.to_thread(self._head, checked_key(key))

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        """Write to a temporary file, flush it to disk, rename, flush the name: readers see all of it or nothing."""
        del content_type  # a file system keeps none; readers go by the key's ending
        # Shielded: a cancelled caller must not leave the thread's rename running unobserved.
        return await asyncio.shield(asyncio.to_thread(self._put, checked_key(key), data, if_absent, if_match))

    async def delete(self, key: str) -> None:
        """Remove the file."""
        await asyncio.to_thread(self._delete, checked_key(key))

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Walk the directory in key order."""
        start = checked_prefix(prefix)
        for info in await asyncio.to_thread(lambda: sorted(self._walk(start), key=lambda found: found.key)):
            yield info

    async def check(self) -> None:
        """Raise StoreUnavailable unless the directory can be written."""
        await asyncio.to_thread(self._prepare)

    async def close(self) -> None:
        """Nothing is held open."""

    def _prepare(self) -> None:
        with _translated("create the store's directory"):
            self._temporary.mkdir(parents=True, exist_ok=True)
            if not os.access(self._temporary, os.W_OK):
                raise PermissionError(errno.EACCES, "not writable", str(self._temporary))

    def _get(self, key: str) -> Blob:
        with _translated(f"read {key}"):
            try:
                with (self._root / key).open("rb") as file:
                    return Blob(file.read(), _etag(os.fstat(file.fileno())))
            except _MISSING:
                raise BlobNotFound(f"The store has no object '{key}'.") from None

    def _head(self, key: str) -> BlobInfo | None:
        with _translated(f"read {key}"):
            try:
                found = (self._root / key).stat()
            except _MISSING:
                return None
        return BlobInfo(key, found.st_size, _etag(found)) if stat.S_ISREG(found.st_mode) else None

    def _put(self, key: str, data: bytes, if_absent: bool, if_match: str | None) -> str:
        target = self._root / key
        with _translated(f"write {key}"):
            self._temporary.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._temporary)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    now = time.time_ns()
                    os.utime(file.fileno(), ns=(now, now))  # finer than a file system's own clock: see _etag
                    os.fsync(file.fileno())
                    etag = _etag(os.fstat(file.fileno()))
                target.parent.mkdir(parents=True, exist_ok=True)
                if if_absent:
                    self._link_if_absent(name, target, key)
                elif if_match is not None:
                    self._replace_if_match(name, target, key, if_match)
                else:
                    os.replace(name, target)
                self._flush_names(target)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
        return etag

    def _flush_names(self, target: Path) -> None:
        """Flush the directories down to an object: a put that was answered outlives a power cut, its name too."""
        if not hasattr(os, "O_DIRECTORY"):  # Windows opens no directories, and writes names with their files
            return
        for directory in target.relative_to(self._root).parents:
            descriptor = os.open(self._root / directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            except OSError as error:
                if error.errno not in _CANNOT_FLUSH:
                    raise
            finally:
                os.close(descriptor)

    def _link_if_absent(self, name: str, target: Path, key: str) -> None:
        try:
            os.link(name, target)  # atomic: fails if somebody else was first
        except FileExistsError:
            raise PreconditionFailed(f"The store already has an object '{key}'.") from None

    def _replace_if_match(self, name: str, target: Path, key: str, if_match: str) -> None:
        with FileLock(self._locks, poll_interval=LOCK_POLL_S):  # compare and rename as one step
            info = self._head(key)
            if info is None or info.etag != if_match:
                raise PreconditionFailed(f"The object '{key}' has changed meanwhile.")
            os.replace(name, target)

    def _delete(self, key: str) -> None:
        with _translated(f"delete {key}"), contextlib.suppress(*_MISSING):
            (self._root / key).unlink()

    def _walk(self, prefix: str) -> Iterator[BlobInfo]:
        # Only the deepest directory that the prefix names is walked.
        start = self._root / prefix.rpartition("/")[0]
        for path in start.rglob("*") if start.is_dir() else ():
            key = path.relative_to(self._root).as_posix()
            if key.startswith(prefix) and not key.startswith(".") and path.is_file():
                info = self._head(key)
                if info is not None:
                    yield info


@contextlib.contextmanager
def _translated(action: str) -> Iterator[None]:
    """Turn the file system's errors into ours."""
    try:
        yield
    except EvenskinError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(
                f"The disk is full: could not {action}.", advice="Free space; work goes on by itself."
            ) from error
        raise StoreUnavailable(
            f"Could not {action}: {error.strerror}.", advice="Check that the store's directory exists and is writable."
        ) from error


def _etag(found: os.stat_result) -> str:
    """Names one content of a key. A put always makes a new file, so nothing need be read to tell contents apart."""
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"
