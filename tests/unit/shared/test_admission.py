"""Admission by pixels: what is decoded at a time, and who waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from PIL import Image

from shared.admission import PixelAdmission
from shared.imaging import pixels_of
from tests.eventually import eventually
from tests.fakes.pictures import encoded

BUDGET = 100 * 300


def picture(width: int) -> bytes:
    """A picture 100 pixels high."""
    return encoded(Image.new("L", (width, 100)))


class Work:
    """Work that begins when it is let, and ends when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._ends: dict[str, threading.Event] = {}

    def on(self, name: str) -> Callable[[], str]:
        """Work of this name."""
        self._ends[name] = threading.Event()

        def work() -> str:
            self.begun.append(name)
            assert self._ends[name].wait(30)
            return name

        return work

    def end(self, *names: str) -> None:
        """Let it end."""
        for name in names:
            self._ends[name].set()


@pytest.fixture
def admission() -> PixelAdmission:
    return PixelAdmission(BUDGET)


async def start(
    admission: PixelAdmission, work: Work, name: str, width: int, *, begins: bool = True
) -> asyncio.Task[str]:
    """Ask for work on a picture; wait until it has begun, or until it stands in line."""
    task = asyncio.create_task(admission.run(picture(width), work.on(name)))
    if begins:
        await eventually(lambda: name in work.begun)
    else:
        waiting = len(admission._waiting)
        await eventually(lambda: len(admission._waiting) > waiting)
    return task


async def test_what_fits_together_runs_together(admission: PixelAdmission) -> None:
    work = Work()
    tasks = [await start(admission, work, name, 100) for name in "abc"]
    assert work.begun == ["a", "b", "c"]
    work.end(*"abc")
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]


async def test_what_does_not_fit_waits_in_order(admission: PixelAdmission) -> None:
    work = Work()
    tasks = [await start(admission, work, "a", 200)]
    tasks.append(await start(admission, work, "b", 200, begins=False))
    tasks.append(await start(admission, work, "c", 100, begins=False))  # would fit, and does not overtake
    assert work.begun == ["a"]
    work.end("a")
    await eventually(lambda: len(work.begun) == 3)
    work.end("b", "c")
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]


async def test_what_is_larger_than_the_budget_runs_alone(admission: PixelAdmission) -> None:
    work = Work()
    tasks = [await start(admission, work, "a", 100)]
    tasks.append(await start(admission, work, "large", 1000, begins=False))
    tasks.append(await start(admission, work, "b", 100, begins=False))
    work.end("a")
    await eventually(lambda: "large" in work.begun)
    assert work.begun == ["a", "large"]
    work.end("large")
    await eventually(lambda: "b" in work.begun)
    work.end("b")
    assert await asyncio.gather(*tasks) == ["a", "large", "b"]


async def test_an_error_gives_its_pixels_back(admission: PixelAdmission) -> None:
    def fail() -> None:
        raise ValueError("broken")

    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            await admission.run(picture(300), fail)
    assert await admission.run(picture(300), lambda: 1) == 1


async def test_who_is_cancelled_leaves_the_line_and_lets_the_next_one_in(admission: PixelAdmission) -> None:
    work = Work()
    first = await start(admission, work, "a", 200)
    large = await start(admission, work, "large", 300, begins=False)
    last = await start(admission, work, "b", 100, begins=False)
    large.cancel()
    await eventually(lambda: "b" in work.begun)
    work.end("a", "b")
    assert (await first, await last) == ("a", "b")
    assert await admission.run(picture(300), lambda: 1) == 1


async def test_a_thread_holds_its_pixels_until_it_is_done_whoever_is_cancelled(admission: PixelAdmission) -> None:
    work = Work()
    first = await start(admission, work, "a", 300)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = await start(admission, work, "b", 300, begins=False)
    assert work.begun == ["a"]
    work.end("a", "b")
    assert await second == "b"


async def test_a_turn_that_comes_to_somebody_cancelled_meanwhile_goes_to_the_next(
    admission: PixelAdmission, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work()
    first = await start(admission, work, "a", 300)
    second = await start(admission, work, "b", 300, begins=False)
    third = await start(admission, work, "c", 300, begins=False)
    admit = admission._admit

    def admit_and_cancel() -> None:  # as late as can be: the turn was given, and not yet taken
        admit()
        second.cancel()

    monkeypatch.setattr(admission, "_admit", admit_and_cancel)
    work.end("a")
    await eventually(lambda: "c" in work.begun)
    work.end("c")
    assert (await first, await third) == ("a", "c")
    assert second.cancelled()
    assert work.begun == ["a", "c"]


def test_pixels_are_read_from_the_header() -> None:
    assert pixels_of(picture(120)) == 12_000
    assert pixels_of(picture(120)[:60]) == 12_000  # the data is not looked at
    assert pixels_of(b"no picture") == 0
    assert pixels_of(encoded(Image.new("L", (10_000, 5_001)))) == 0  # more than is decoded
