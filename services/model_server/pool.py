"""The bounded pool that decodes and predicts off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from services.model_server.memory import give_memory_back
from services.model_server.metrics import ServerMetrics
from shared.admission import PIXELS_AT_ONCE
from shared.errors import Overloaded
from shared.imaging import pixels_of

LARGE_PIXELS = 4_000_000  # of a picture whose memory is given back: freeing 12 MB and more outweighs the call

T = TypeVar("T")


class PredictionPool:
    """Runs work on `workers` threads. At most `queue` more requests wait; the next one is refused at once.

    Pictures of at most `decode_pixels` pixels together are decoded at a time.

    Threads, not processes: Pillow and ONNX Runtime release the interpreter's lock where they work.
    """

    def __init__(
        self, metrics: ServerMetrics, *, workers: int, queue: int, decode_pixels: int = PIXELS_AT_ONCE
    ) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="predict")
        # One more for each worker is handed over, so that none waits for the event loop; the others can still leave.
        self._near = asyncio.Semaphore(2 * workers)
        self._budget = PixelBudget(decode_pixels)
        self._metrics = metrics
        self._limit = workers + queue
        metrics.limit.set(self._limit)
        self._in_hand = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    def check(self) -> None:
        """Raise Overloaded where there is no place."""
        if self._in_hand >= self._limit:
            raise Overloaded(
                f"{self._limit} requests are in hand, as many as are taken.", advice="Try again in a moment."
            )

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold a place from the upload's first byte to the answer, which bounds memory too. Raises Overloaded."""
        self.check()
        self._in_hand += 1
        self._metrics.in_hand.set(self._in_hand)
        try:
            yield
        finally:
            self._in_hand -= 1
            self._metrics.in_hand.set(self._in_hand)

    async def run_on_picture(self, data: bytes, work: Callable[[], T], *, min_side: int | None = None) -> T:
        """Run `work`, which decodes the picture `data`, on a worker's thread, once its pixels fit.

        `min_side`: what `work` tells `shared.imaging.decode`.
        """
        return await self.run(partial(self._decoding, data, work, min_side))

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` on a worker's thread, once one is free. Whoever is cancelled before that leaves nothing behind."""
        async with self._near:
            context = contextvars.copy_context()  # its log lines belong to the request
            return await asyncio.get_running_loop().run_in_executor(self._executor, context.run, work)

    def run_later(self, work: Callable[[], None]) -> None:
        """Run `work`, which nobody waits for, behind what the workers have already. Called on a worker's thread.

        Each picture may leave one such behind: as many wait as pictures are at hand, and they are dropped at the end.
        """
        with contextlib.suppress(RuntimeError):  # the pool is closing
            self._executor.submit(work)

    def _decoding(self, data: bytes, work: Callable[[], T], min_side: int | None) -> T:
        pixels = pixels_of(data, min_side)
        try:
            with self._budget.taken(pixels):
                return work()
        finally:
            if pixels >= LARGE_PIXELS:
                give_memory_back()


class PixelBudget:
    """Lets threads decode while all that is under way has at most `budget` pixels; the others wait.

    A picture of more pixels than the budget waits until it is alone. Nobody overtakes who waits for the pixels.
    """

    def __init__(self, budget: int) -> None:
        self._budget = self._free = budget
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Hold so many pixels, once they are free."""
        taken = min(pixels, self._budget)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= taken)
            self._free -= taken
        try:
            yield
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify()
