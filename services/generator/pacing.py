"""Pacing: no more pictures are started a minute than the provider's rate limit allows."""

from __future__ import annotations

import asyncio


class Pacer:
    """Spaces starts evenly. `per_minute` None: no pace."""

    def __init__(self, per_minute: float | None) -> None:
        self._interval_s = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next start; callers get their turns in the order they asked."""
        if not self._interval_s:
            return
        now = asyncio.get_running_loop().time()
        start = max(now, self._next)
        self._next = start + self._interval_s
        if start > now:
            await asyncio.sleep(start - now)
