"""The procedural provider: draws stand-in faces on this machine at no cost, so that the loop runs without a key."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import multiprocessing
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from threadpoolctl import threadpool_limits

from services.generator.procedural.draw import draw
from services.generator.prompts import prompt_of
from services.generator.provider import NotDone, Order, Picture
from shared.events import FailureReason
from shared.pictures.provenance import SourceType
from shared.taxonomy import Condition, Severity

MODEL = "evenskin-procedural-1"
SIZE = 512  # pixels of a side
TRIES = 2  # of a drawing whose process was killed, for want of memory for example
IDLE_S = 5.0  # seconds without an order after which the processes end: each holds 150 MB
_PR_SET_PDEATHSIG = 1  # prctl(2)


def seed_of(image_id: object) -> int:
    """The seed of an image's drawing: the same id draws the same picture."""
    return int.from_bytes(hashlib.sha256(str(image_id).encode()).digest()[:8], "big")


class ProceduralProvider:
    """Draws in processes: a drawing is many short NumPy calls, between which threads wait for the interpreter lock."""

    name = "procedural"
    price_usd = 0.0
    first_wait_s = 0.0

    def __init__(self, *, processes: int, images_per_minute: float | None = None) -> None:
        self.concurrency = processes
        self.images_per_minute = images_per_minute
        self._pool: ProcessPoolExecutor | None = None
        self._at_work = 0
        self._idle: asyncio.TimerHandle | None = None

    async def generate(self, order: Order) -> Picture:
        """Draw the order's face; deterministic by image id. Raises NotDone where its process is killed."""
        self._at_work += 1
        try:
            drawn = await self._draw(order)
            return Picture(drawn, prompt_of(order), MODEL, cost_usd=0.0, calls=0, source_type=SourceType.ALGORITHMIC)
        finally:
            self._at_work -= 1
            if self._at_work == 0:
                self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end_pool)

    async def _draw(self, order: Order) -> bytes:
        loop = asyncio.get_running_loop()
        labels: dict[Condition, Severity] = {}  # of clear skin
        if isinstance(order.condition, Condition) and order.severity is not None:
            labels[order.condition] = order.severity
        seed = seed_of(order.image_id)
        for _ in range(TRIES):
            pool = self._open_pool()
            try:
                return await loop.run_in_executor(pool, draw, labels, order.subject, seed, SIZE)
            except BrokenProcessPool:
                if self._pool is pool:  # nobody has replaced it yet
                    self._pool = None
        raise NotDone("The process that draws was killed.", FailureReason.PROVIDER_ERROR)

    def _open_pool(self) -> ProcessPoolExecutor:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._pool is None:
            # Spawned, not forked: this process has threads, and a fork would copy their locks as they are.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.concurrency, mp_context=context, initializer=_begin_process)
        return self._pool

    def _end_pool(self) -> None:
        if self._pool is not None and self._at_work == 0:
            self._pool.shutdown(wait=False)
            self._pool = None

    async def close(self) -> None:
        """Wait for drawings at work, and end the processes."""
        if self._idle is not None:
            self._idle.cancel()
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)


def _begin_process() -> None:
    """Leave Ctrl-C to the parent, and end with a parent that is killed (Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(limits=1)  # NumPy's products of matrices: one picture, one core
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
