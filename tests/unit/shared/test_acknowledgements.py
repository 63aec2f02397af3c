"""Acknowledgements go out together, and never for a message that is still in hand."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.tools import CallbackCollection
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError

from shared.remote.acknowledgements import Acknowledgements
from shared.remote.lifetime import Lifetime


class FakeChannel:
    """What acknowledgements need of a channel; keeps the frames."""

    def __init__(self) -> None:
        self.is_closed = False
        self.close_callbacks: CallbackCollection[FakeChannel, [BaseException | None]] = CallbackCollection(self)
        self.frames: list[tuple[str, int, bool]] = []

    async def basic_ack(self, tag: int, multiple: bool = False, wait: bool = True) -> None:
        if self.is_closed:
            raise ChannelInvalidStateError("closed")
        self.frames.append(("ack", tag, multiple))

    async def basic_nack(self, tag: int, multiple: bool = False, requeue: bool = True, wait: bool = True) -> None:
        assert requeue
        self.frames.append(("nack", tag, multiple))


class FakeDelivery:
    """A delivery with a tag."""

    def __init__(self, channel: FakeChannel, tag: int) -> None:
        self.channel = channel
        self.delivery_tag = tag


class Hand:
    """A channel with so many messages in hand."""

    def __init__(self, count: int) -> None:
        self.channel = FakeChannel()
        self.acknowledgements = Acknowledgements("tests.Event", Lifetime(cast(AbstractChannel, self.channel)))
        self.deliveries = {
            tag: cast(DeliveredMessage, cast(Any, FakeDelivery(self.channel, tag))) for tag in range(1, count + 1)
        }
        for delivery in self.deliveries.values():
            self.acknowledgements.delivered(delivery)

    async def finish(self, *tags: int) -> list[tuple[str, int, bool]]:
        """Acknowledge these in one turn of the loop; returns the frames that were sent."""
        for tag in tags:
            self.acknowledgements.acknowledge(self.deliveries[tag])
        await self.acknowledgements.flush()
        frames, self.channel.frames = self.channel.frames, []
        return frames


async def test_what_is_finished_in_one_turn_goes_in_one_frame() -> None:
    assert await Hand(5).finish(2, 1, 3) == [("ack", 3, True)]


async def test_a_message_in_hand_is_not_acknowledged_by_a_later_one() -> None:
    hand = Hand(5)
    frames = await hand.finish(2, 4)
    assert sorted(frames) == [("ack", 2, False), ("ack", 4, False)]
    assert await hand.finish(1) == [("ack", 1, True)]
    assert await hand.finish(5) == [("ack", 5, False)]  # 3 is still in hand
    assert await hand.finish(3) == [("ack", 3, True)]


async def test_what_was_given_back_holds_up_nothing() -> None:
    hand = Hand(3)
    await hand.acknowledgements.give_back(hand.deliveries[1])
    assert await hand.finish(2, 3) == [("nack", 1, False), ("ack", 3, True)]


async def test_a_lost_channel_is_passed_over() -> None:
    hand = Hand(3)
    hand.channel.is_closed = True
    assert await hand.finish(1, 3) == []
    await hand.acknowledgements.give_back(hand.deliveries[2])
    assert hand.channel.frames == []


@pytest.mark.parametrize("seed", range(20))
async def test_in_whatever_order_each_is_acknowledged_once(seed: int) -> None:
    order = list(range(1, 31))
    random.Random(seed).shuffle(order)
    hand = Hand(30)
    done: set[int] = set()
    acknowledged: list[int] = []
    while order:
        batch, order = order[: seed % 5 + 1], order[seed % 5 + 1 :]
        done |= set(batch)
        for _, tag, up_to in await hand.finish(*batch):
            covered = [other for other in range(1, tag + 1) if other not in acknowledged] if up_to else [tag]
            assert set(covered) <= done
            acknowledged += covered
        await asyncio.sleep(0)
    assert sorted(acknowledged) == list(range(1, 31))
