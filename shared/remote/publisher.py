"""Publishing with confirms, mandatory, over a lost and regained connection."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import PublishError

from shared.errors import BusUnavailable, UnroutableEvent
from shared.remote.lifetime import Lifetime
from shared.remote.link import BROKER_ERRORS, Link
from shared.remote.topology import declare_exchange

log = structlog.get_logger(__name__)

PUBLISH_S = 15.0  # for one message, waiting for the broker included
_PAUSE_S = 0.2  # before a message that the broker did not take is tried again


class _Open(NamedTuple):
    """A channel with confirms, and where it publishes to."""

    channel: AbstractChannel  # its exchanges do not keep it from being closed as unused
    lifetime: Lifetime
    events: AbstractExchange
    queues: AbstractExchange  # by name


class Publisher:
    """One channel with confirms, opened when first needed and after every loss."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = asyncio.Lock()
        self._open: _Open | None = None

    async def publish(self, message: Message, routing_key: str) -> None:
        """Publish to the exchange. Returns once confirmed; raises UnroutableEvent, BusUnavailable."""
        await self._publish(message, routing_key, to_queue=False)

    async def send(self, message: Message, queue: str) -> None:
        """Publish to one queue by its name. Returns once confirmed; raises UnroutableEvent, BusUnavailable."""
        await self._publish(message, queue, to_queue=True)

    async def _publish(self, message: Message, routing_key: str, *, to_queue: bool) -> None:
        try:
            async with asyncio.timeout(PUBLISH_S):
                while True:
                    if await self._try(message, routing_key, to_queue=to_queue):
                        return
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            raise BusUnavailable(
                f"The broker did not confirm {routing_key} within {PUBLISH_S:.0f} s.",
                advice="It is tried again once the broker answers.",
            ) from None

    async def _try(self, message: Message, routing_key: str, *, to_queue: bool) -> bool:
        try:
            ready = await self._ready()
            exchange = ready.queues if to_queue else ready.events
            await ready.lifetime.within(exchange.publish(message, routing_key, mandatory=True))
        except PublishError:
            raise UnroutableEvent(
                f"No queue takes {routing_key}.", advice="Start the service that handles it."
            ) from None
        except BROKER_ERRORS as error:
            log.info("publish_retried", routing_key=routing_key, error=f"{type(error).__name__}: {error}")
            return False
        return True

    async def _ready(self) -> _Open:
        if self._open is not None and not self._open.channel.is_closed:
            return self._open
        async with self._lock:
            if self._open is None or self._open.channel.is_closed:
                connection = await self._link.connection()
                self._open = await Lifetime(connection).within(_opened(connection))
            return self._open


async def _opened(connection: AbstractConnection) -> _Open:
    channel = connection.channel(publisher_confirms=True, on_return_raises=True)
    await channel.initialize()
    return _Open(channel, Lifetime(channel), await declare_exchange(channel), channel.default_exchange)
