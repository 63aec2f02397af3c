"""Generators of one store share one pace: no turn is two generators', whatever their clocks say."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from services.generator.pacing import SLOWER, TOLERATED, Pacer
from services.generator.shared_pace import FORGOTTEN_S, FURTHEST_S, REPLICAS, SharedPace
from shared.errors import StoreUnavailable
from tests.fakes.blobs import FlakyBlobs, MemoryBlobs

KEY = "pace/openai.json"
MOST = 50.0
INTERVAL_S = 60 / MOST
REFUSALS = TOLERATED + 1  # that slow down


class Clock:
    """Seconds since 1970, by a clock that is so much ahead of the others."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.now = 1_800_000_000.0 + ahead_s

    def __call__(self) -> float:
        return self.now


def unchanged(pace: float) -> float:
    return pace


async def starts_of(pace: SharedPace, wanted: int = 1) -> tuple[float, ...]:
    return (await pace.take(wanted, MOST, unchanged)).starts


async def test_turns_of_all_follow_each_other_at_the_pace() -> None:
    blobs, clock = MemoryBlobs(), Clock()
    paces = [SharedPace(blobs, "openai", clock=clock) for _ in range(3)]
    taken = await asyncio.gather(*(starts_of(paces[turn % 3], 1 + turn % 4) for turn in range(24)))
    starts = sorted(start for each in taken for start in each)
    assert len(starts) == 60
    assert starts[0] == clock.now
    assert all(after - before == pytest.approx(INTERVAL_S) for before, after in pairwise(starts))


async def test_a_turn_that_nobody_took_is_not_made_up_for() -> None:
    clock = Clock()
    pace = SharedPace(MemoryBlobs(), "openai", clock=clock)
    await starts_of(pace)
    clock.now += 10 * INTERVAL_S
    assert await starts_of(pace, 2) == pytest.approx((clock.now, clock.now + INTERVAL_S))


@pytest.mark.parametrize("seed", range(3))
async def test_clocks_that_differ_keep_the_pace_and_use_it(seed: int) -> None:
    """Each takes its next turn once it has had the last one; ten minutes of them, on clocks up to 90 s apart."""
    random, blobs = Random(seed), MemoryBlobs()
    clocks = [Clock(ahead) for ahead in (0.0, 90.0, random.uniform(0, 90))]
    paces = [SharedPace(blobs, "openai", clock=clock) for clock in clocks]
    began = clocks[0].now
    ready = [0.0] * 3  # when each is ready for its next turn, in seconds of the first clock since the beginning
    had: list[float] = []
    while (now := min(ready)) < 600:
        number = ready.index(now)
        offset = clocks[number].now
        clocks[number].now += now
        for start in await starts_of(paces[number], 2):
            ready[number] = max(now, start - offset)
            had.append(ready[number])
        clocks[number].now = offset
    assert clocks[0].now == began
    had = sorted(start for start in had if start < 600)
    for minutes in range(1, 10):
        assert sum(start < 60 * minutes for start in had) <= MOST * minutes + 1 + 2 * len(clocks)
    assert len(had) >= 0.95 * 10 * MOST


async def test_providers_have_a_pace_each() -> None:
    blobs, clock = MemoryBlobs(), Clock()
    assert await starts_of(SharedPace(blobs, "openai", clock=clock)) == (clock.now,)
    assert await starts_of(SharedPace(blobs, "folder", clock=clock)) == (clock.now,)


@pytest.mark.parametrize("document", [b"", b"{}", b'{"next_at": 1800000000, "per_minute": 0}'])
async def test_a_document_that_cannot_be_is_replaced(document: bytes) -> None:
    blobs, clock = MemoryBlobs(), Clock()
    await blobs.put(KEY, document)
    pace = SharedPace(blobs, "openai", clock=clock)
    assert await starts_of(pace, 2) == pytest.approx((clock.now, clock.now + INTERVAL_S))


async def test_a_turn_is_ahead_no_further_than_clocks_differ() -> None:
    blobs, clock = MemoryBlobs(), Clock()
    furthest = FURTHEST_S + REPLICAS * INTERVAL_S
    for ahead, waits in ((furthest - 2, True), (furthest + 2, False)):
        await starts_of(SharedPace(blobs, "openai", clock=Clock(ahead)))
        (start,) = await starts_of(SharedPace(blobs, "openai", clock=clock))
        assert (start > clock.now) is waits
        await blobs.delete(KEY)


async def test_a_wrong_clock_does_not_undo_that_all_have_slowed_down() -> None:
    blobs, clock = MemoryBlobs(), Clock()
    await blobs.put(KEY, b'{"next_at": 1e300, "per_minute": 2}')
    assert await starts_of(SharedPace(blobs, "openai", clock=clock), 2) == pytest.approx((clock.now, clock.now + 30))


@pytest.mark.parametrize("per_minute", [1.0, 0.1])
async def test_a_slow_pace_is_kept_by_many_replicas(per_minute: float) -> None:
    blobs, clock = MemoryBlobs(), Clock()
    paces = [SharedPace(blobs, "openai", clock=clock) for _ in range(12)]
    starts = [(await pace.take(1, per_minute, unchanged)).starts[0] for pace in paces]
    assert starts == pytest.approx([clock.now + turn * 60 / per_minute for turn in range(12)])


async def test_a_pace_that_is_long_past_is_forgotten() -> None:
    clock = Clock()
    pace = SharedPace(MemoryBlobs(), "openai", clock=clock)
    slow = await pace.take(1, MOST, lambda _: 10.0)
    assert (slow.before, slow.per_minute) == (None, 10.0)
    clock.now += FORGOTTEN_S
    known = await pace.take(1, MOST, unchanged)
    assert (known.before, known.per_minute) == (10.0, 10.0)
    clock.now += FORGOTTEN_S + 60 / 10.0 + 1
    anew = await pace.take(1, MOST, unchanged)
    assert (anew.before, anew.per_minute) == (None, MOST)


def refuse(pacer: Pacer) -> None:
    for _ in range(REFUSALS):
        pacer.answered(refused=True)


async def test_where_one_slows_down_all_do_and_once() -> None:
    blobs, most = MemoryBlobs(), 60_000.0
    one, other = (Pacer(most, SharedPace(blobs, "openai")) for _ in range(2))
    for pacer in (one, other):
        await pacer.turn()
    for _ in range(TOLERATED):  # the same refusals as slow the other one down
        other.answered(refused=True)
    refuse(one)
    await one.turn()
    assert one.per_minute == pytest.approx(SLOWER * most)
    await other.turn()
    assert other.per_minute == one.per_minute
    other.answered(refused=True)
    await other.turn()
    assert other.per_minute == one.per_minute
    refuse(other)
    await other.turn()
    await one.turn()
    assert one.per_minute == pytest.approx(SLOWER**2 * most)


async def test_answers_of_any_speed_all_up_and_no_further_than_each_may() -> None:
    blobs, most = MemoryBlobs(), 60_000.0
    one, other = (Pacer(most, SharedPace(blobs, "openai")) for _ in range(2))
    refuse(one)
    await one.turn()
    assert one.per_minute == pytest.approx(SLOWER * most)
    for _ in range(1000):
        other.answered(refused=False)
    await other.turn()
    await one.turn()
    assert SLOWER * most < (one.per_minute or 0) < most
    lower = Pacer(most / 3, SharedPace(blobs, "openai"))
    await lower.turn()
    await one.turn()
    assert one.per_minute == pytest.approx(most / 3)


async def test_replicas_begin_no_more_than_the_pace_and_in_the_order_they_were_asked() -> None:
    blobs, interval_s = MemoryBlobs(), 0.01
    pacers = [Pacer(60 / interval_s, SharedPace(blobs, "openai")) for _ in range(2)]
    loop = asyncio.get_running_loop()
    turns: list[tuple[float, int, int]] = []

    async def take(replica: int, number: int) -> None:
        await pacers[replica].turn()
        turns.append((loop.time(), replica, number))

    began = loop.time()
    await asyncio.gather(*(take(number % 2, number) for number in range(20)))
    for index, (at, _, _) in enumerate(sorted(turns)):
        assert at - began >= index * interval_s - 0.005
    for replica in range(2):
        own = [number for _, each, number in turns if each == replica]
        assert own == sorted(own)


async def test_a_store_that_does_not_answer_gives_no_turn_and_the_next_one_is_as_ever(tmp_path: Path) -> None:
    blobs = FlakyBlobs(tmp_path)
    pacer = Pacer(60_000.0, SharedPace(blobs, "openai"))
    blobs.down = True
    with pytest.raises(StoreUnavailable):
        await pacer.turn()
    blobs.down = False
    await pacer.turn()
