"""The pool's threads: what is decoded at a time, who waits, and what a caller that left leaves behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from services.model_server import pool as pool_module
from services.model_server.metrics import ServerMetrics
from services.model_server.pool import LARGE_PIXELS, PixelBudget, PredictionPool
from shared.metrics import MetricRegistry
from tests.eventually import LIMIT_S, eventually
from tests.fakes.pictures import encoded


class Threads:
    """Threads that each hold some pixels until the test says so."""

    def __init__(self, budget: PixelBudget) -> None:
        self.begun: list[str] = []
        self._budget = budget
        self._ends: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def start(self, name: str, pixels: int) -> None:
        """Ask for pixels."""
        end = self._ends[name] = threading.Event()

        def work() -> None:
            with self._budget.taken(pixels):
                self.begun.append(name)
                end.wait(LIMIT_S)

        thread = threading.Thread(target=work)
        thread.start()
        self._threads.append(thread)

    def end(self, name: str) -> None:
        """Give them back."""
        self._ends[name].set()

    def join(self) -> None:
        """End all."""
        for end in self._ends.values():
            end.set()
        for thread in self._threads:
            thread.join(LIMIT_S)


@pytest.fixture
def threads() -> Iterator[Threads]:
    started = Threads(PixelBudget(100))
    yield started
    started.join()


async def begun(threads: Threads, *names: str) -> None:
    await eventually(lambda: sorted(threads.begun) == sorted(names))


async def test_what_fits_together_runs_together_and_the_rest_waits_until_it_fits(threads: Threads) -> None:
    threads.start("a", 60)
    threads.start("b", 40)
    await begun(threads, "a", "b")
    threads.start("c", 50)
    threads.end("b")
    await eventually(lambda: threads._budget._turn.locked())
    assert threads.begun[2:] == []
    threads.end("a")
    await begun(threads, "a", "b", "c")


async def test_a_picture_above_the_budget_runs_alone_and_is_not_overtaken(threads: Threads) -> None:
    threads.start("small", 1)
    await begun(threads, "small")
    threads.start("giant", 1_000)
    await eventually(lambda: threads._budget._turn.locked())
    threads.start("late", 1)
    threads.end("small")
    await begun(threads, "small", "giant")
    threads.end("giant")
    await begun(threads, "small", "giant", "late")


async def test_work_of_a_caller_that_left_is_not_begun() -> None:
    done: list[int] = []
    hold, reached = threading.Event(), threading.Event()

    def held() -> None:
        reached.set()
        hold.wait(LIMIT_S)

    async with PredictionPool(ServerMetrics(MetricRegistry()), workers=1, queue=8) as pool:
        first = asyncio.create_task(pool.run(held))
        await eventually(reached.is_set)

        def work(number: int) -> Callable[[], None]:
            return lambda: done.append(number)

        waiting = [asyncio.create_task(pool.run(work(number))) for number in range(6)]
        await asyncio.sleep(0)
        for task in waiting[:5]:
            task.cancel()
        await asyncio.wait(waiting[:5])
        hold.set()
        await asyncio.gather(first, waiting[5])
    assert done == [5]


@pytest.mark.parametrize(("pixels", "given_back"), [(LARGE_PIXELS, 1), (LARGE_PIXELS // 2, 0)])
async def test_the_memory_of_a_large_picture_is_given_back_even_where_it_fails(
    monkeypatch: pytest.MonkeyPatch, pixels: int, given_back: int
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(pool_module, "give_memory_back", lambda: calls.append(None))
    data = encoded(Image.new("L", (1000, pixels // 1000)))
    async with PredictionPool(ServerMetrics(MetricRegistry()), workers=1, queue=1) as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.run_on_picture(data, lambda: 1 // 0)
    assert len(calls) == given_back
