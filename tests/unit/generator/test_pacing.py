"""Turns come evenly and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from services.generator.pacing import FASTER, SLOWER, SLOWEST, TOLERATED, WINDOW, Pacer, PacingStopped
from tests.eventually import LIMIT_S

INTERVAL_S = 0.01


def assert_at_once(turn: Coroutine[Any, Any, None]) -> None:
    """It ends without giving up the event loop."""
    with pytest.raises(StopIteration):
        turn.send(None)


async def test_turns_are_spaced_evenly_in_the_order_they_were_asked_for() -> None:
    pacer = Pacer(60 / INTERVAL_S)
    loop = asyncio.get_running_loop()
    turns: list[tuple[int, float]] = []

    async def take(number: int) -> None:
        await pacer.turn()
        turns.append((number, loop.time()))

    began = loop.time()
    await asyncio.gather(*map(take, range(6)))
    assert [number for number, _ in turns] == list(range(6))
    for index, (_, at) in enumerate(turns):
        assert at - began >= index * INTERVAL_S - 0.001


async def test_the_first_turn_and_one_after_a_pause_do_not_wait() -> None:
    pacer = Pacer(60 / INTERVAL_S)
    for _ in range(2):
        assert_at_once(pacer.turn())
        await asyncio.sleep(2 * INTERVAL_S)


async def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    pacer = Pacer(60 / INTERVAL_S)
    loop = asyncio.get_running_loop()
    await pacer.turn()
    await asyncio.sleep(3 * INTERVAL_S)
    began = loop.time()
    for index in range(4):
        await pacer.turn()
        assert loop.time() - began >= index * INTERVAL_S - 0.001


async def test_no_pace_is_no_wait() -> None:
    pacer = Pacer(None)
    for _ in range(1000):
        assert_at_once(pacer.turn())


async def test_a_pause_is_waited_before_the_turn_and_a_stop_ends_it() -> None:
    pacer = Pacer(None)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await pacer.pause(0.03)
    assert loop.time() - began >= 0.03 - 0.001
    waiting = asyncio.create_task(pacer.pause(10 * LIMIT_S))
    await asyncio.sleep(0)
    pacer.stop()
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(PacingStopped):
            await waiting


async def test_a_stopped_pacer_gives_no_turn_not_even_to_those_who_wait() -> None:
    pacer = Pacer(1)
    await pacer.turn()
    waiting = [asyncio.create_task(pacer.turn()) for _ in range(3)]  # the last one for three minutes
    await asyncio.sleep(0)
    pacer.stop()
    async with asyncio.timeout(LIMIT_S):
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, PacingStopped) for error in ended)
    with pytest.raises(PacingStopped):
        await pacer.turn()


def refuse(pacer: Pacer, times: int) -> None:
    for _ in range(times):
        pacer.answered(refused=True)


def test_too_many_refusals_slow_down_by_a_factor_and_answers_speed_up_by_steps() -> None:
    pacer = Pacer(50)
    refuse(pacer, TOLERATED)
    assert pacer.per_minute == 50
    refuse(pacer, 1)
    assert pacer.per_minute == pytest.approx(50 * SLOWER)
    refuse(pacer, TOLERATED)  # each window slows down once
    assert pacer.per_minute == pytest.approx(50 * SLOWER)
    pacer = Pacer(50)
    refuse(pacer, TOLERATED + 1)
    for _ in range(round(50 * SLOWER)):  # what is answered in a minute
        pacer.answered(refused=False)
    assert pacer.per_minute == pytest.approx(50 * (SLOWER + FASTER), rel=0.02)
    for _ in range(500):
        pacer.answered(refused=False)
    assert pacer.per_minute == 50


def test_the_pace_has_a_floor_and_no_pace_stays_none() -> None:
    pacer, slow, free = Pacer(50), Pacer(0.5), Pacer(None)
    for each in (pacer, slow, free):
        refuse(each, 10 * WINDOW)
    assert (pacer.per_minute, slow.per_minute, free.per_minute) == (SLOWEST, 0.5, None)


async def test_the_turns_follow_the_pace_that_is_now() -> None:
    pacer = Pacer(60 / INTERVAL_S)
    while pacer.per_minute and pacer.per_minute > 60 / (3 * INTERVAL_S):
        refuse(pacer, TOLERATED + 1)
    await pacer.turn()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await pacer.turn()
    assert loop.time() - began >= 3 * INTERVAL_S - 0.001


@pytest.mark.parametrize("seed", range(5))
def test_a_busy_provider_that_refuses_5_percent_slows_nobody_down(seed: int) -> None:
    random, pacer, sum_ = Random(seed), Pacer(50), 0.0
    for _ in range(2000):
        pacer.answered(refused=random.random() < 0.05)
        sum_ += pacer.per_minute or 0
    assert sum_ / 2000 >= 0.95 * 50


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_replicas_come_to_share_one_limit_evenly_and_use_it(replicas: int) -> None:
    """Each begins with the whole limit of 50 a minute; the provider refuses what is above it, of all alike."""
    limit, random = 50.0, Random(replicas)
    pacers = [Pacer(limit) for _ in range(replicas)]
    sent = [0.0] * replicas
    taken = 0.0
    minutes = 120
    for minute in range(minutes):
        rates = [pacer.per_minute or 0.0 for pacer in pacers]
        is_refused = max(0.0, 1 - limit / sum(rates))
        for number, (pacer, rate) in enumerate(zip(pacers, rates, strict=True)):
            for _ in range(round(rate)):
                pacer.answered(refused=random.random() < is_refused)
            if minute >= minutes // 2:
                sent[number] += rate
        if minute >= minutes // 2:
            taken += min(limit, sum(rates))
    assert taken >= 0.95 * limit * (minutes // 2)
    assert sum(sent) <= 1.35 * limit * (minutes // 2)
    assert max(sent) <= 1.5 * min(sent)
