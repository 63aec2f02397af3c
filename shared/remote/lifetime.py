"""Calls that end with the channel or the connection that they wait on.

The client (aiormq 7.2) keeps up to ten frames for the socket; a call with one more waits for room. Once the
connection is lost nothing takes from there, and the client tells everybody but that call, which holds the channel's
lock besides: it and all who want to publish would wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aio_pika.abc import AbstractChannel, AbstractConnection

T = TypeVar("T")


class Lifetime:
    """Of a channel or a connection: knows the calls that wait on it, and ends them when it closes or is lost."""

    def __init__(self, of: AbstractChannel | AbstractConnection) -> None:
        self._is_over = False
        self._limits: set[asyncio.Timeout] = set()
        of.close_callbacks.add(lambda *_: self._end())

    async def within(self, call: Awaitable[T]) -> T:
        """Return what a call returns. Raises TimeoutError if it still waits when the lifetime ends."""
        async with asyncio.timeout(0 if self._is_over else None) as limit:
            self._limits.add(limit)
            try:
                return await call
            except asyncio.CancelledError:
                # What waits for an answer is told of a loss in this way; a caller's cancellation is another matter.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise TimeoutError from None
            finally:
                self._limits.discard(limit)

    def _end(self) -> None:
        self._is_over = True
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            limit.reschedule(now)
