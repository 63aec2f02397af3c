"""The bounded pool that decodes and predicts off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from services.model_server.metrics import ServerMetrics
from shared.admission import PIXELS_AT_ONCE, PixelAdmission
from shared.errors import Overloaded

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
        self._admission = PixelAdmission(decode_pixels)
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

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold a place from the upload's first byte to the answer, which bounds memory too. Raises Overloaded."""
        if self._in_hand >= self._limit:
            raise Overloaded(
                f"{self._limit} requests are in hand, as many as are taken.", advice="Try again in a moment."
            )
        self._in_hand += 1
        self._metrics.in_hand.set(self._in_hand)
        try:
            yield
        finally:
            self._in_hand -= 1
            self._metrics.in_hand.set(self._in_hand)

    async def run_on_picture(self, data: bytes, work: Callable[[], T], *, min_side: int | None = None) -> T:
        """Run `work`, which decodes the picture `data`, once its pixels fit, and on a worker's thread.

        `min_side`: what `work` tells `shared.imaging.decode`.
        """
        return await self._admission.run(data, work, self._executor, min_side=min_side)

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` on a worker's thread, once one is free."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
