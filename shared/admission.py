"""Admission by pixels: how much is decoded at a time, so that memory is bounded whatever pictures come together.

A file's bytes say nothing of the memory that decoding takes: 200 kB of PNG can be 50 megapixels.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from shared.imaging import MAX_PIXELS, pixels_of

PIXELS_AT_ONCE = MAX_PIXELS  # pixels: four 12-megapixel photographs, or one of the largest that are read

T = TypeVar("T")


class PixelAdmission:
    """Lets work on pictures begin while all that is under way has at most `budget` pixels.

    The others wait in the order they came; a picture of more pixels than the budget waits until it is alone. Used from
    one event loop.
    """

    def __init__(self, budget: int = PIXELS_AT_ONCE) -> None:
        self._budget = budget
        self._free = budget
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def run(
        self, data: bytes, work: Callable[[], T], executor: Executor | None = None, *, min_side: int | None = None
    ) -> T:
        """Run `work`, which decodes the picture `data`, on a thread once its pixels fit.

        `executor`: the threads; None: those of the event loop. `min_side`: what `work` tells `shared.imaging.decode`.
        Raises what `work` raises.
        """
        pixels = await asyncio.to_thread(pixels_of, data, min_side)
        taken = min(pixels, self._budget)
        await self._take(taken)
        begun = asyncio.get_running_loop().run_in_executor(executor, contextvars.copy_context().run, work)
        # Whoever asked may be cancelled; a thread cannot be, and holds its memory until it is done.
        begun.add_done_callback(lambda done: self._end(taken, done))
        return await asyncio.shield(begun)

    async def _take(self, pixels: int) -> None:
        if not self._waiting and pixels <= self._free:
            self._free -= pixels
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((pixels, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # cancelled after its turn came
                self._free += pixels
            self._admit()
            raise

    def _end(self, pixels: int, done: asyncio.Future[T]) -> None:
        if not done.cancelled():
            done.exception()  # read, so that nobody is told of an error that nobody waits for
        self._free += pixels
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            pixels, turn = self._waiting[0]
            if not turn.cancelled():
                if pixels > self._free:
                    return
                self._free -= pixels
                turn.set_result(None)
            self._waiting.popleft()
