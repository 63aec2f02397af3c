"""A store that fails where it is told to."""

from __future__ import annotations

from pathlib import Path

from shared.blobs import Blob
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import EvenskinError


class FailingBlobs(DirectoryBlobs):
    """A directory whose reads and writes raise the errors that are set; `refused` counts them."""

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
