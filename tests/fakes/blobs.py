"""Directory stores that fail where a test tells them to, and a store in memory that costs nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from shared.blobs import Blob, BlobInfo
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import BlobNotFound, EvenskinError, PreconditionFailed, StoreFull, StoreUnavailable


class FailingBlobs(DirectoryBlobs):
    """A directory store whose reads and writes raise the errors `on_get` and `on_put`. `refused` counts them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.on_get: EvenskinError | None = None
        self.on_put: EvenskinError | None = None
        self.refused = 0

    async def get(self, key: str) -> Blob:
        if self.on_get is not None:
            self.refused += 1
            raise self.on_get
        return await super().get(key)

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        if self.on_put is not None:
            self.refused += 1
            raise self.on_put
        return await super().put(key, data, content_type=content_type, if_absent=if_absent, if_match=if_match)

    def files(self) -> list[str]:
        """Keys of everything that lies there, half-written files too."""
        return sorted(
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_file() and path.name != ".lock"
        )


class FlakyBlobs(DirectoryBlobs):
    """A directory store that is `down`, where every call fails, or `full`, where only a write fails."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.down = False
        self.full = False
        self.refused = 0  # calls that were answered with an error

    def holds(self, key: str) -> bool:
        """Whether the object is there. Always answers: it is for the test."""
        return (self.root / key).is_file()

    def _refuse(self, *, writes: bool = False) -> None:
        if self.down or (writes and self.full):
            self.refused += 1
            raise StoreUnavailable("The store is down.") if self.down else StoreFull("The store is full.")

    async def get(self, key: str) -> Blob:
        self._refuse()
        return await super().get(key)

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        self._refuse(writes=True)
        return await super().put(key, data, content_type=content_type, if_absent=if_absent, if_match=if_match)

    async def check(self) -> None:
        self._refuse()
        await super().check()


class MemoryBlobs:
    """Objects in memory, for measuring what uses a store rather than the store."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    async def get(self, key: str) -> Blob:
        if key not in self._objects:
            raise BlobNotFound(f"There is no object {key}.")
        return Blob(self._objects[key], _etag(self._objects[key]))

    async def head(self, key: str) -> BlobInfo | None:
        found = self._objects.get(key)
        return None if found is None else BlobInfo(key, len(found), _etag(found))

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        there = self._objects.get(key)
        if (if_absent and there is not None) or (if_match is not None and (there is None or _etag(there) != if_match)):
            raise PreconditionFailed(f"{key} is not what it was.")
        self._objects[key] = data
        return _etag(data)

    async def delete(self, key: str) -> None:
        self._objects.pop(key, None)

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        for key in sorted(key for key in self._objects if key.startswith(prefix)):
            yield BlobInfo(key, len(self._objects[key]), _etag(self._objects[key]))

    async def check(self) -> None:
        """It always answers."""

    async def close(self) -> None:
        """Nothing to release."""


def _etag(data: bytes) -> str:
    return f"{hash(data):x}"
