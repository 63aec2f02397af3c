"""Spaces requests, so that no more are sent a minute than the provider's rate limit allows.

Of replicas that share an account, each may have the account's whole limit: where more than TOLERATED of a replica's
requests are refused for coming too fast, it slows down by a factor, and otherwise speeds up by steps. So they come to
share the limit evenly without knowing of each other (Chiu and Jain, Computer Networks and ISDN Systems 17, 1989). A few
refusals slow nobody down: they cost nothing, and come from a busy provider as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

WINDOW = 40  # answers that are looked at
TOLERATED = 6  # refusals among them: of 40 answers, 7 are refused in 3 of 1,000 cases where each is with 5%
SLOWER = 0.8  # factor of the pace
FASTER = 0.03  # share of the whole pace that is gained in a minute
SLOWEST = 1.0  # picture a minute


class PacingStopped(Exception):
    """The process is about to end: no further request is to be sent."""


class Pacer:
    """Spaces turns evenly. `per_minute`: the pace now, at most what it begins with; None: no pace."""

    def __init__(self, per_minute: float | None) -> None:
        self.per_minute = per_minute
        self._most = per_minute
        self._refused: deque[bool] = deque(maxlen=WINDOW)  # of the latest answers
        self._next = 0.0
        self._stopped = asyncio.Event()

    def answered(self, *, refused: bool) -> None:
        """Note an answer, and change the pace by it. `refused`: for requests that come too fast."""
        if self.per_minute is None or self._most is None:
            return
        self._refused.append(refused)
        if sum(self._refused) > TOLERATED:
            self.per_minute = max(self.per_minute * SLOWER, min(SLOWEST, self._most))
            self._refused.clear()
        elif not refused:  # as many of these steps a minute as there are answers
            self.per_minute = min(self._most, self.per_minute + FASTER * self._most / self.per_minute)

    async def turn(self) -> None:
        """Wait for the next turn; callers get theirs in the order they asked. Raises PacingStopped."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._next)
        self._next = start + (60.0 / self.per_minute if self.per_minute else 0.0)
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
