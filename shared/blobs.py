"""The blob port: the store of pictures, manifests and models, addressed by key.

A key is a relative path of lower-case letters, digits, `.`, `_` and `-`, parts separated by `/`.
Adapters: `shared.embedded.blobs.DirectoryBlobs`, `shared.remote.blobs.S3Blobs`. Both pass
`tests/contract/test_blobs.py`. All raise StoreUnavailable (retryable) when the store does not answer
and StoreFull when it is full; nothing is ever half-written.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from shared.errors import InvalidRequest

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class Blob:
    """An object as it was read: its bytes and the ETag that names this content of the key."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class BlobInfo:
    """What is known of an object without reading it. `size` in bytes."""

    key: str
    size: int
    etag: str


class Blobs(Protocol):
    """Store of immutable or conditionally replaced objects."""

    async def get(self, key: str) -> Blob:
        """Read an object. Raises BlobNotFound."""
        ...

    async def head(self, key: str) -> BlobInfo | None:
        """Return what is known of an object, or None if there is none."""
        ...

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        """Write an object whole or not at all and return its ETag.

        `if_absent`: only if no object has the key; `if_match`: only if the object there has this ETag.
        Raises PreconditionFailed otherwise.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every object whose key starts with `prefix` (all objects if it is empty), ordered by key."""
        ...

    async def check(self) -> None:
        """Raise StoreUnavailable unless the store answers."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


def checked_key(key: str) -> str:
    """Return the key if it is valid, so that no key leads out of the store's prefix. Raises InvalidRequest."""
    if not _KEY.fullmatch(key) or len(key) > 512:
        raise InvalidRequest(f"'{key[:80]}' is not a storage key.")
    return key


def checked_prefix(prefix: str) -> str:
    """Return the prefix if it is empty or begins a valid key, so that no listing leaves the store.

    Raises InvalidRequest.
    """
    if prefix and not _KEY.fullmatch(prefix.removesuffix("/")):
        raise InvalidRequest(f"'{prefix[:80]}' is not the beginning of a storage key.")
    return prefix
