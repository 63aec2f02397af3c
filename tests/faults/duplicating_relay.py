"""Takes the exchange's place: every message reaches its queues twice, each time up to LATEST_S late."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random
from urllib.parse import unquote, urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from shared.remote.topology import EXCHANGE
from shared.schemas import known_queues
from tests.servers.rabbitmq import Management

LATEST_S = 3.0  # of a copy
QUEUE = "tests.everything"


class DuplicatingRelay:
    """Takes every message that is published, and sends copies to its queues. `copied` and `overtaken` count them."""

    def __init__(self, channel: AbstractChannel, routes: dict[str, list[str]], random: Random) -> None:
        self._channel = channel
        self._routes = routes
        self._random = random
        self._pending: set[asyncio.Task[None]] = set()
        self._taken = self._newest = 0
        self.copied = 0
        self.overtaken = 0  # copies that came after one of a later message

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Take a published message, and send its copies later."""
        self._taken += 1
        for queue in self._routes.get(message.routing_key or "", ()):
            # Others cannot unbind a queue that is a replica's own: it has the first copy already.
            for _ in range(2 if queue in known_queues() else 1):
                copy = self._copy(message, queue, self._taken, self._random.uniform(0, LATEST_S))
                task = asyncio.create_task(copy)
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)
        await message.ack()

    async def is_idle(self) -> bool:
        """Whether no copy is under way, nor any message to be copied."""
        declared = await self._channel.declare_queue(QUEUE, passive=True)
        return not declared.declaration_result.message_count and not self._pending

    async def _copy(self, message: AbstractIncomingMessage, queue: str, number: int, late_s: float) -> None:
        await asyncio.sleep(late_s)
        copy = aio_pika.Message(
            message.body,
            headers=message.headers,
            content_type=message.content_type,
            correlation_id=message.correlation_id,
            type=message.type,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        self.copied += 1
        self.overtaken += number < self._newest
        self._newest = max(self._newest, number)
        await self._channel.default_exchange.publish(copy, queue)


@contextlib.asynccontextmanager
async def relayed(amqp_url: str, management: Management, random: Random) -> AsyncIterator[DuplicatingRelay]:
    """A relay between the exchange and the queues that are bound to it now."""
    vhost = unquote(urlsplit(amqp_url).path[1:])
    bindings = await asyncio.to_thread(management.call, "GET", f"exchanges/{vhost}/{EXCHANGE}/bindings/source")
    routes: dict[str, list[str]] = {}
    for binding in bindings:
        routes.setdefault(binding["routing_key"], []).append(binding["destination"])
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        exchange = await channel.get_exchange(EXCHANGE)
        everything = await channel.declare_queue(QUEUE, durable=True)
        await everything.bind(exchange, "#")
        for event, queues in routes.items():
            for name in queues:
                if name in known_queues():
                    await (await channel.get_queue(name)).unbind(exchange, event)
        relay = DuplicatingRelay(channel, routes, random)
        await everything.consume(relay.take)
        yield relay
