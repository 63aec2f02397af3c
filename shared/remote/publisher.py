"""Publishing with confirms, mandatory, over a lost and regained connection."""

from __future__ import annotations

import asyncio

import structlog
from aio_pika import Message as AmqpMessage
from aio_pika.abc import AbstractChannel, AbstractExchange
from aio_pika.exceptions import PublishError

from shared.errors import BusUnavailable, UnroutableEvent
from shared.remote.link import BROKER_ERRORS, Link
from shared.remote.topology import declare_exchange

log = structlog.get_logger(__name__)

PUBLISH_S = 15.0  # for one message, waiting for the broker included
_PAUSE_S = 0.2  # before a message that the broker did not take is tried again


class Publisher:
    """One channel with confirms, opened when first needed and after every loss."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = asyncio.Lock()
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None

    async def publish(self, message: AmqpMessage, routing_key: str) -> None:
        """Publish to the exchange. Returns once confirmed; raises UnroutableEvent, BusUnavailable."""
        await self._publish(message, routing_key, direct=False)

    async def send(self, message: AmqpMessage, queue: str) -> None:
        """Publish to one queue by its name. Returns once confirmed; raises UnroutableEvent, BusUnavailable."""
        await self._publish(message, queue, direct=True)

    async def _publish(self, message: AmqpMessage, routing_key: str, *, direct: bool) -> None:
        try:
            async with asyncio.timeout(PUBLISH_S):
                while True:
                    if await self._try(message, routing_key, direct):
                        return
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            raise BusUnavailable(
                f"The broker did not confirm {routing_key} within {PUBLISH_S:.0f} s.",
                advice="It is tried again once the broker answers.",
            ) from None

    async def _try(self, message: AmqpMessage, routing_key: str, direct: bool) -> bool:
        try:
            channel, exchange = await self._ready()
            await (channel.default_exchange if direct else exchange).publish(message, routing_key, mandatory=True)
        except PublishError:
            raise UnroutableEvent(
                f"No queue takes {routing_key}.", advice="Start the service that handles it."
            ) from None
        except BROKER_ERRORS as error:
            log.info("publish_retried", routing_key=routing_key, error=f"{type(error).__name__}: {error}")
            return False
        except asyncio.CancelledError:
            # A connection that dies cancels what waits for its confirms; a caller's cancellation is another matter.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return False
        return True

    async def _ready(self) -> tuple[AbstractChannel, AbstractExchange]:
        channel, exchange = self._channel, self._exchange
        if channel is not None and exchange is not None and not channel.is_closed:
            return channel, exchange
        async with self._lock:
            if self._channel is None or self._exchange is None or self._channel.is_closed:
                connection = await self._link.connection()
                channel = connection.channel(publisher_confirms=True, on_return_raises=True)
                await channel.initialize()
                self._exchange = await declare_exchange(channel)
                self._channel = channel
            return self._channel, self._exchange
