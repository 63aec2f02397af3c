"""A call on a channel ends with the channel, whatever it waits for."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.tools import CallbackCollection

from shared.remote.lifetime import Lifetime


class FakeChannel:
    """What a lifetime needs of a channel."""

    def __init__(self) -> None:
        self.close_callbacks: CallbackCollection[FakeChannel, [BaseException | None]] = CallbackCollection(self)


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def lifetime(channel: FakeChannel) -> Lifetime:
    return Lifetime(cast(AbstractChannel, channel))


async def for_ever() -> None:
    await asyncio.Event().wait()


async def one() -> int:
    await asyncio.sleep(0)
    return 1


async def test_what_waits_ends_when_the_channel_does(channel: FakeChannel, lifetime: Lifetime) -> None:
    calls = [asyncio.create_task(lifetime.within(for_ever())) for _ in range(3)]
    await asyncio.sleep(0)
    await channel.close_callbacks(None)
    assert [type(result) for result in await asyncio.gather(*calls, return_exceptions=True)] == [TimeoutError] * 3


async def test_what_comes_later_does_not_wait(channel: FakeChannel, lifetime: Lifetime) -> None:
    await channel.close_callbacks(None)
    with pytest.raises(TimeoutError):
        await lifetime.within(for_ever())


async def test_a_call_returns_what_it_returns(channel: FakeChannel, lifetime: Lifetime) -> None:
    assert await lifetime.within(one()) == 1
    await channel.close_callbacks(None)  # nobody waits any more


async def test_the_news_of_a_loss_is_no_cancellation_of_the_caller(lifetime: Lifetime) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    call = asyncio.create_task(lifetime.within(answer))
    await asyncio.sleep(0)
    answer.set_exception(asyncio.CancelledError())  # as the client does
    with pytest.raises(TimeoutError):
        await call


async def test_a_cancelled_call_is_cancelled(lifetime: Lifetime) -> None:
    call = asyncio.create_task(lifetime.within(for_ever()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
