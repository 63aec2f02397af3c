"""A loop that looks for work at an interval, and sooner when it is woken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable


class Wakeable:
    """Looks every `poll_s` seconds; wakes are gathered for `gather_s` seconds, so that one look answers them all."""

    def __init__(self, *, gather_s: float, poll_s: float) -> None:
        self._gather_s = gather_s
        self._poll_s = poll_s
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """There is something new: look at once."""
        self._awake.set()

    async def run(self, look: Callable[[], Awaitable[None]]) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._gather_s)
            self._awake.clear()
            await look()
            with contextlib.suppress(TimeoutError):  # not wait_for: on 3.11 it can swallow a cancellation
                async with asyncio.timeout(self._poll_s):
                    await self._awake.wait()
