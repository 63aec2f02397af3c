"""A loop that is woken looks at once, and once for many wakes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from services.labeler_api.ledger.wakeable import Wakeable

FOREVER_S = 3600.0


class Looks:
    """Counts looks."""

    def __init__(self) -> None:
        self.count = 0
        self.again = asyncio.Event()

    async def look(self) -> None:
        """One look."""
        self.count += 1
        self.again.set()

    async def one_more(self) -> None:
        """Wait for the next look."""
        self.again.clear()
        await self.again.wait()


@contextlib.asynccontextmanager
async def running(loop: Wakeable) -> AsyncIterator[Looks]:
    """The loop, its first look done."""
    looks = Looks()
    task = asyncio.create_task(loop.run(looks.look))
    await looks.one_more()
    yield looks
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_it_looks_when_it_is_woken() -> None:
    loop = Wakeable(gather_s=0.0, poll_s=FOREVER_S)
    async with running(loop) as looks:
        for _ in range(3):
            loop.wake()
            await looks.one_more()
        assert looks.count == 4


async def test_wakes_in_quick_succession_are_answered_by_one_look() -> None:
    loop = Wakeable(gather_s=0.01, poll_s=FOREVER_S)
    async with running(loop) as looks:
        for _ in range(100):
            loop.wake()
        await looks.one_more()
        await asyncio.sleep(0.05)
        assert looks.count == 2


async def test_it_looks_by_itself() -> None:
    async with running(Wakeable(gather_s=0.0, poll_s=0.001)) as looks:
        for _ in range(3):
            await looks.one_more()


async def test_a_wake_while_it_looks_is_not_lost() -> None:
    loop = Wakeable(gather_s=0.0, poll_s=FOREVER_S)
    count = 0
    done = asyncio.Event()

    async def look() -> None:
        nonlocal count
        count += 1
        if count == 1:
            loop.wake()
        else:
            done.set()

    task = asyncio.create_task(loop.run(look))
    await done.wait()
    task.cancel()
    await asyncio.wait([task])
