"""Publishing with confirms, mandatory, over a lost and regained connection.

Goes below aio-pika's message and exchange objects to the channel under them, which spares a third of the
time per message: nothing here needs what those objects add, and a confirm makes waiting for the socket pointless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import aiormq
import structlog
from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import PublishError
from pamqp.common import FieldValue

from shared.errors import BusUnavailable, UnroutableEvent
from shared.remote.lifetime import Lifetime
from shared.remote.link import BROKER_ERRORS, Link
from shared.remote.topology import EXCHANGE, declare_exchange

log = structlog.get_logger(__name__)

PUBLISH_S = 15.0  # for one message, waiting for the broker included
_PAUSE_S = 0.2  # before a message that the broker did not take is tried again

Headers = Mapping[str, FieldValue]


@dataclass(frozen=True)
class Outgoing:
    """A message to be published, persistent. `expiration_s`: seconds it stays in a queue."""

    body: bytes
    content_type: str | None = None
    headers: Headers | None = None
    correlation_id: str | None = None
    type: str | None = None
    expiration_s: float | None = None

    def properties(self) -> aiormq.spec.Basic.Properties:
        """As AMQP has them. The message id is the client's, who tells returned messages by it: it must be unique."""
        return aiormq.spec.Basic.Properties(
            content_type=self.content_type,
            headers=dict(self.headers) if self.headers else None,
            delivery_mode=DeliveryMode.PERSISTENT,
            correlation_id=self.correlation_id,
            expiration=None if self.expiration_s is None else str(round(self.expiration_s * 1000)),
            message_type=self.type,
        )


class Publisher:
    """One channel with confirms, opened when first needed and after every loss."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = asyncio.Lock()
        self._owner: AbstractChannel | None = None
        self._channel: aiormq.Channel | None = None
        self._lifetime: Lifetime | None = None

    async def publish(self, message: Outgoing, routing_key: str) -> None:
        """Publish to the exchange. Returns once confirmed; raises UnroutableEvent, BusUnavailable."""
        await self._publish(message, EXCHANGE, routing_key)

    async def send(self, message: Outgoing, queue: str) -> None:
        """Publish to one queue by its name. Returns once confirmed; raises UnroutableEvent, BusUnavailable."""
        await self._publish(message, "", queue)

    async def _publish(self, message: Outgoing, exchange: str, routing_key: str) -> None:
        try:
            async with asyncio.timeout(PUBLISH_S):
                while True:
                    if await self._try(message, exchange, routing_key):
                        return
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            raise BusUnavailable(
                f"The broker did not confirm {routing_key} within {PUBLISH_S:.0f} s.",
                advice="It is tried again once the broker answers.",
            ) from None

    async def _try(self, message: Outgoing, exchange: str, routing_key: str) -> bool:
        try:
            channel, lifetime = await self._ready()
            publishing = channel.basic_publish(
                message.body,
                exchange=exchange,
                routing_key=routing_key,
                properties=message.properties(),
                mandatory=True,
                wait=False,  # for the socket: the confirm says more
            )
            await lifetime.within(publishing)
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

    async def _ready(self) -> tuple[aiormq.Channel, Lifetime]:
        async with self._lock:
            if self._channel is None or self._lifetime is None or self._channel.is_closed:
                connection = await self._link.connection()
                opened = await Lifetime(connection).within(self._open(connection))
                self._channel, self._lifetime = opened
                return opened
            return self._channel, self._lifetime

    async def _open(self, connection: AbstractConnection) -> tuple[aiormq.Channel, Lifetime]:
        channel = connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.initialize()
        lifetime = Lifetime(channel)
        await declare_exchange(channel)
        self._owner = channel  # a channel without a reference is closed
        return cast(aiormq.Channel, await channel.get_underlay_channel()), lifetime
