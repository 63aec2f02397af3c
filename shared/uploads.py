"""Bounds of uploads: how long one may take to arrive, and how many are in hand at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from shared.errors import DamagedBody, Overloaded

BROKEN_UPLOAD = (web.RequestPayloadError, HttpProcessingError, aiohttp.ClientError, ConnectionError)
"""What reading a body raises where it breaks off or its encoding is damaged."""


@contextlib.asynccontextmanager
async def reading_upload(timeout_s: float) -> AsyncIterator[None]:
    """Limit the time of reading. A stalled upload raises HTTPRequestTimeout, one that breaks off DamagedBody."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except BROKEN_UPLOAD as error:
        raise DamagedBody("The upload broke off or its encoding is damaged.", advice="Send it again.") from error


class UploadPlaces:
    """So many uploads are in hand at a time, and their bytes in memory; the next one is refused at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a place from the upload's first byte to the answer. Raises Overloaded."""
        if self._taken >= self._limit:
            raise Overloaded(
                f"{self._limit} uploads are in hand, as many as are taken.", advice="Try again in a moment."
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
