"""How requests that find no place are sent away: at once, and more slowly when many ask again without waiting.

Else a few hundred callers that ignore Retry-After would take the cores from those that are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from shared.errors import Overloaded
from shared.uploads import BROKEN_UPLOAD

AT_ONCE = 50  # refusals that come together and need not wait: a burst
PER_S = 50.0  # refusals a second that need not wait; each costs half a millisecond of CPU, and the caller about as much
MOST_S = 2.0  # seconds a refusal waits at most, as many as Retry-After asks for


class RefusalPace:
    """Decides how long a refusal waits.

    The generic cell rate algorithm (ITU-T I.371, annex A): so many at once, so many a second, and the others behind.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._due = now()  # when the last refusal would be due, had they come evenly

    def wait_s(self) -> float:
        """Seconds that the next refusal waits, 0 to MOST_S."""
        now, burst_s = self._now(), AT_ONCE / PER_S
        self._due = min(max(self._due, now) + 1 / PER_S, now + burst_s + MOST_S)
        return max(0.0, self._due - now - burst_s)


def paced_refusals() -> Any:
    """Middleware that lets what is refused for want of a place wait for its turn."""
    pace = RefusalPace()

    @web.middleware
    async def paced(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Overloaded:
            if wait_s := pace.wait_s():  # else aiohttp drops the body after the answer
                await _drop_body(request, wait_s)
            raise

    return paced


async def _drop_body(request: web.Request, wait_s: float) -> None:
    """Wait so many seconds. What comes of the body meanwhile is not kept."""
    until = time.monotonic() + wait_s
    with contextlib.suppress(TimeoutError, *BROKEN_UPLOAD):
        async with asyncio.timeout(wait_s):
            while await request.content.readany():
                pass
    await asyncio.sleep(max(0.0, until - time.monotonic()))
