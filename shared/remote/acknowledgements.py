"""Acknowledgements of one channel, sent together.

A frame of its own for each message costs a system call each, which is most of what consuming a small message
takes. Those of one turn of the event loop go out as one: AMQP lets a frame acknowledge everything up to a tag.
"""

from __future__ import annotations

import asyncio

import structlog
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError

from shared.remote.lifetime import Lifetime

log = structlog.get_logger(__name__)


class Acknowledgements:
    """Knows every delivery of a channel that is in hand; `delivered` must be told of all of them, in order."""

    def __init__(self, queue: str, lifetime: Lifetime) -> None:
        self._queue = queue
        self._lifetime = lifetime
        self._in_hand: dict[int, DeliveredMessage] = {}  # by tag, oldest first
        self._finished: set[int] = set()
        self._sending: asyncio.Task[None] | None = None

    def delivered(self, delivery: DeliveredMessage) -> None:
        """A message came."""
        self._in_hand[_tag(delivery)] = delivery

    def acknowledge(self, delivery: DeliveredMessage) -> None:
        """The message is handled: tell the broker with the next frame."""
        self._finished.add(_tag(delivery))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name=f"acknowledge {self._queue}")

    async def give_back(self, delivery: DeliveredMessage) -> None:
        """The message is not handled: let the broker deliver it again. A lost channel has done so already."""
        if self._in_hand.pop(_tag(delivery), None) is not None and not delivery.channel.is_closed:
            await self._lifetime.within(delivery.channel.basic_nack(_tag(delivery), requeue=True))

    async def flush(self) -> None:
        """Return once everything acknowledged so far is on its way."""
        while self._sending is not None:
            await asyncio.wait([self._sending])

    async def _send(self) -> None:
        try:
            while self._finished:
                tag, up_to = self._next()
                delivery = self._in_hand.pop(tag)
                await self._lifetime.within(delivery.channel.basic_ack(tag, multiple=up_to, wait=False))
        except (ChannelInvalidStateError, ConnectionError, TimeoutError):
            # The channel is gone and its messages come again; handlers are idempotent.
            log.info("acknowledgement_lost", queue=self._queue, messages=len(self._finished) + 1)
            self._finished.clear()
        finally:
            self._sending = None

    def _next(self) -> tuple[int, bool]:
        """The tag to acknowledge now, and whether everything older goes with it."""
        done: list[int] = []
        for tag in self._in_hand:
            if tag not in self._finished:
                break
            done.append(tag)
        if not done:
            return self._finished.pop(), False
        self._finished.difference_update(done)
        for tag in done[:-1]:
            del self._in_hand[tag]
        return done[-1], True


def _tag(delivery: DeliveredMessage) -> int:
    """What the channel knows the delivery by."""
    assert delivery.delivery_tag is not None
    return delivery.delivery_tag
