"""Spaces requests, so that no more are sent a minute than the provider's rate limit allows."""

from __future__ import annotations

import asyncio
import contextlib


class PacingStopped(Exception):
    """The process is about to end: no further request is to be sent."""


class Pacer:
    """Spaces turns evenly. `per_minute` None: no pace."""

    def __init__(self, per_minute: float | None) -> None:
        self._interval_s = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._stopped = asyncio.Event()

    async def turn(self) -> None:
        """Wait for the next turn; callers get theirs in the order they asked. Raises PacingStopped."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._next)
        self._next = start + self._interval_s
        await self._wait(start - now)

    async def pause(self, seconds: float) -> None:
        """Wait so long, then for the next turn. Raises PacingStopped, as soon as it is stopped."""
        await self._wait(seconds)
        await self.turn()

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopped.wait()
        if self._stopped.is_set():
            raise PacingStopped

    def stop(self) -> None:
        """Give no further turns: those who wait get PacingStopped."""
        self._stopped.set()
