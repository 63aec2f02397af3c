"""Spaces requests, so that no more are sent a minute than the provider's rate limit allows.

All replicas of a store take their turns from one pace (see `shared_pace.py`). Those that share an account and no store
may each have the account's whole limit: where more than TOLERATED of a replica's requests are refused for coming too
fast, the pace falls by a factor, and otherwise it rises by steps. So they come to share the limit evenly without
knowing of each other (Chiu and Jain, Computer Networks and ISDN Systems 17, 1989). A few refusals slow nobody down:
they cost nothing, and come from a busy provider as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from services.generator.shared_pace import SharedPace

WINDOW = 40  # answers that are looked at
TOLERATED = 6  # refusals among them: of 40 answers, 7 are refused in 3 of 1,000 cases where each is with 5%
SLOWER = 0.8  # factor of the pace
FASTER = 0.03  # share of the whole pace that is gained in a minute
SLOWEST = 1.0  # picture a minute
AHEAD_S = 1.0  # seconds of the pace that are taken at a time, or one turn; a replica that is killed loses so much


class PacingStopped(Exception):
    """The process is about to end: no further request is to be sent."""


class Pacer:
    """Spaces turns evenly. `per_minute`: the pace now, at most what it begins with; None: no pace.

    `shared`: where turns are taken from; None: they are this pacer's own.
    """

    def __init__(self, per_minute: float | None, shared: SharedPace | None = None) -> None:
        self.per_minute = per_minute
        self._most = per_minute
        self._shared = shared
        self._refused: deque[bool] = deque(maxlen=WINDOW)  # of the latest answers
        self._found = per_minute or 0.0  # the shared pace as it was at the last look
        self._factor, self._gain = 1.0, 0.0  # what the answers since then change it by
        self._turns: deque[float] = deque()  # when the turns begin that are taken and nobody has had yet
        self._next = 0.0
        self._waiting = 0
        self._queue = asyncio.Lock()  # in which callers stand in the order they came
        self._stopped = asyncio.Event()

    def answered(self, *, refused: bool) -> None:
        """Note an answer, and change the pace by it. `refused`: for requests that come too fast."""
        if self.per_minute is None or self._most is None:
            return
        self._refused.append(refused)
        if sum(self._refused) > TOLERATED:
            self._factor *= SLOWER
            self._gain *= SLOWER
            self.per_minute = self._bounded(self.per_minute * SLOWER, self._most)
            self._refused.clear()
        elif not refused:  # as many of these steps a minute as there are answers
            step = FASTER * self._most / self.per_minute
            self._gain += step
            self.per_minute = self._bounded(self.per_minute + step, self._most)

    async def turn(self) -> None:
        """Wait for the next turn; callers get theirs in the order they asked. Raises PacingStopped, StoreUnavailable.

        The store is asked only where the pace is shared.
        """
        if self._most is None:
            await self._wait(0.0)
            return
        self._waiting += 1
        try:
            async with self._queue:
                await self._wait(0.0)
                while self._turns and self._turns[0] < self._now() - AHEAD_S:
                    self._turns.popleft()  # nobody was there for it, and it is not made up for
                if not self._turns:
                    await self._take(self._most)
                await self._wait(self._turns.popleft() - self._now())
        finally:
            self._waiting -= 1

    async def _take(self, most: float) -> None:
        """Take turns for those who wait, but no more than begin within AHEAD_S."""
        assert self.per_minute is not None
        if self._shared is None:
            start = max(self._now(), self._next)
            self._next = start + 60.0 / self.per_minute
            self._turns.append(start)
            return
        factor, gain = self._factor, self._gain
        wanted = max(1, min(self._waiting, int(self.per_minute * AHEAD_S / 60)))
        taken = await self._shared.take(wanted, most, lambda pace: self._bounded(pace * factor + gain, most))
        # What was answered meanwhile is still to be told.
        self._factor, self._gain = self._factor / factor, max(0.0, self._gain - gain)
        if taken.before is not None and taken.before < self._found * (1 + SLOWER) / 2:
            self._refused.clear()  # another replica has slowed down for what was refused to all
        self.per_minute = self._found = taken.per_minute
        self._turns.extend(taken.starts)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() if self._shared is None else self._shared.clock()

    @staticmethod
    def _bounded(pace: float, most: float) -> float:
        return min(most, max(pace, min(SLOWEST, most)))

    async def pause(self, seconds: float) -> None:
        """Wait so long, then for the next turn. Raises PacingStopped (at once if stopped), StoreUnavailable."""
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
