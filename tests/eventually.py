"""Waiting for what another task or process does in its own time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

# Only a broken program meets these; a busy machine may take twenty times as long as a quiet one, and must not.
LIMIT_S = 120.0  # of one wait
LONG_LIMIT_S = 600.0  # of one that a training or the whole loop is part of

Condition = Callable[[], Awaitable[object]] | Callable[[], object]


async def eventually(
    condition: Condition, what: str = "It", *, within_s: float = LIMIT_S, every_s: float = 0.01
) -> Any:
    """Wait until a condition holds, and return what it gave. Fails if it does not in time."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen in time."
        await asyncio.sleep(every_s)
