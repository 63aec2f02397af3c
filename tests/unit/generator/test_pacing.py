"""Turns come evenly and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from services.generator.pacing import Pacer, PacingStopped
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
