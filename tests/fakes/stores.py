"""A directory store that can be taken down, for everything or for writing only."""

from __future__ import annotations

from pathlib import Path

from shared.blobs import Blob
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import StoreFull, StoreUnavailable


class FlakyBlobs(DirectoryBlobs):
    """`down`: nothing works. `full`: nothing can be written, which only a write finds out."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.down = False
        self.full = False
        self.refused = 0  # calls that were answered with an error

    def holds(self, key: str) -> bool:
        """Whether the object is there; works always, for it is the test that asks."""
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
