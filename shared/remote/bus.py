"""The bus port on RabbitMQ.

Publishing and consuming use a connection each, because a broker that is short of memory stops reading from
connections that publish, and acknowledgements must still get through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aio_pika
from aio_pika.abc import AbstractConnection

from shared.bus import DeadLetter, Published, Subscription
from shared.errors import BusUnavailable, UnroutableEvent
from shared.events import EVENTS
from shared.message import Message, Wire, encode, sending
from shared.remote import dead
from shared.remote.consumer import Consumer
from shared.remote.link import Link
from shared.remote.publisher import PUBLISH_S, Publisher
from shared.schemas import known_queues


class RabbitBus:
    """Quorum queues, confirms, delayed retries and dead letters, over any loss of the connection."""

    def __init__(self, url: str, *, connection_name: str) -> None:
        """Raises ConfigurationError if the URL is not a broker's."""
        self._publishing = Link(url, f"{connection_name} publish")
        self._consuming = Link(url, f"{connection_name} consume")
        self._publisher = Publisher(self._publishing)
        self._consumers: list[Consumer] = []
        self._queues: list[str] = []
        self._published: list[Published] = []
        self._dead_letters = asyncio.Lock()  # whoever reads them holds them: nobody else sees them meanwhile
        self._is_open = False

    async def start(self) -> None:
        """Connect, waiting with back-off until the broker answers. Raises ConfigurationError if it refuses us."""
        await self._publishing.open()
        await self._consuming.open()
        self._is_open = True

    async def publish(self, message: Message) -> None:
        """Publish persistently and return once the broker has confirmed. Raises UnroutableEvent, BusUnavailable."""
        with sending(message) as sent:
            await self.publish_wire(encode(sent), correlation_id=sent.correlation_id)
        for tell in self._published:
            tell(message)

    def on_published(self, tell: Published) -> None:
        """Tell of every message that is published from now on."""
        self._published.append(tell)

    async def publish_wire(self, wire: Wire, *, correlation_id: str | None = None) -> None:
        """Publish bytes as any AMQP client might. Raises UnroutableEvent, BusUnavailable."""
        self._demand_open()
        message = aio_pika.Message(
            wire.body,
            content_type=wire.content_type,
            headers=dict(wire.headers),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=correlation_id,
            type=wire.routing_key,
        )
        try:
            await self._publisher.publish(message, wire.routing_key)
        except UnroutableEvent:
            model = EVENTS.get(wire.routing_key)
            if model is None or not model.announcement:
                raise

    async def subscribe(self, subscription: Subscription) -> None:
        """Declare the queue with its retry and dead-letter queues, and consume. Raises ConfigurationError."""
        self._demand_open()
        consumer = Consumer(subscription, self._consuming, self._publisher)
        self._consumers.append(consumer)
        if not subscription.every_replica:
            self._queues.append(subscription.queue)
        await consumer.start()

    async def drain(self, timeout_s: float) -> None:
        """Take no new messages and wait for the handlers at work; the broker gets back what is left."""
        await asyncio.gather(*(consumer.drain(timeout_s) for consumer in self._consumers))

    async def depth(self, queue: str) -> int:
        """Messages ready in a queue; 0 if there is no such queue."""
        return await dead.depth(await self._connection(), queue)

    async def dead_letters(self, queue: str | None = None) -> list[DeadLetter]:
        """Dead letters, oldest first. Those that another process reads at this moment are not seen."""
        connection = await self._connection()
        async with self._dead_letters:
            found = [letter for name in self._named(queue) for letter in await dead.letters(connection, name)]
        return sorted(found, key=lambda letter: letter.died_at)

    async def replay(self, queue: str | None = None) -> int:
        """Send dead letters back to their queues with a fresh number of tries. Returns how many."""
        connection = await self._connection()
        async with self._dead_letters:
            return sum([await dead.replay(connection, self._publisher, name) for name in self._named(queue)])

    async def check(self) -> None:
        """Raise BusUnavailable unless messages can be published now, QueueWithoutLeader where one of ours has none."""
        self._demand_open()
        await self._publishing.check()
        for consumer in self._consumers:
            consumer.check()

    async def close(self) -> None:
        """Return what is in hand to the broker, and disconnect."""
        self._is_open = False
        await self.drain(0)
        await asyncio.gather(self._consuming.close(), self._publishing.close())

    def _named(self, queue: str | None) -> Iterable[str]:
        return [queue] if queue is not None else dict.fromkeys([*self._queues, *known_queues()])

    def _demand_open(self) -> None:
        if not self._is_open:
            raise BusUnavailable("The bus is closed.")

    async def _connection(self) -> AbstractConnection:
        self._demand_open()
        try:
            return await asyncio.wait_for(self._consuming.connection(), PUBLISH_S)
        except TimeoutError:
            raise BusUnavailable("There is no connection to the broker.") from None
