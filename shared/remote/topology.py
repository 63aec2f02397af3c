"""The broker's topology as values: one exchange, and three quorum queues for every consumer.

`<service>.<Event>` is what replicas compete on. `<queue>.retry` keeps a failed message for its delay and
then hands it back; `<queue>.dead` keeps what was given up. All arguments are constants, so that a changed
setting never clashes with a queue that is there; they are understood by RabbitMQ 3.10 and by 4.x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue

from shared.bus import Subscription

EXCHANGE = "evenskin"

# Deliveries of one message whose consumer went away (a crash, a lost connection) before the broker buries it.
# Bounds a message that kills its process; far above what restarts of a healthy system use up.
DELIVERY_LIMIT = 50
# Reading dead letters returns them to their queue, which the broker counts; 4.x has a limit of 20 by default,
# and the value that means "none" there is refused by 3.10.
NO_DELIVERY_LIMIT = 1_000_000_000
MAX_RETRY_DELAY_MS = 3_600_000  # longest stay in a retry queue; each copy carries its own, shorter one

Argument = str | int


@dataclass(frozen=True)
class QueueSpec:
    """A durable quorum queue and its arguments."""

    name: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)

    async def declare(self, channel: AbstractChannel) -> AbstractQueue:
        """Declare it. Raises ChannelPreconditionFailed if one with other arguments is there."""
        return await channel.declare_queue(
            self.name, durable=True, arguments={"x-queue-type": "quorum", **self.arguments}
        )


def _dead_lettered_to(queue: str) -> dict[str, Argument]:
    """Hand expired or rejected messages to a queue, each kept until that queue has confirmed it."""
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # what at-least-once asks for
    }


def retry_name(queue: str) -> str:
    """Queue in which failed messages of a consumer queue wait."""
    return f"{queue}.retry"


def dead_name(queue: str) -> str:
    """Queue of a consumer queue's dead letters."""
    return f"{queue}.dead"


def queues_of(queue: str) -> tuple[QueueSpec, QueueSpec, QueueSpec]:
    """A consumer queue with its dead-letter and retry queues, in the order of declaration."""
    return (
        QueueSpec(dead_name(queue), {"x-delivery-limit": NO_DELIVERY_LIMIT}),
        QueueSpec(retry_name(queue), {"x-message-ttl": MAX_RETRY_DELAY_MS, **_dead_lettered_to(queue)}),
        QueueSpec(queue, {"x-delivery-limit": DELIVERY_LIMIT, **_dead_lettered_to(dead_name(queue))}),
    )


async def declare_exchange(channel: AbstractChannel) -> AbstractExchange:
    """Declare the one exchange."""
    return await channel.declare_exchange(EXCHANGE, "topic", durable=True)


async def declare_for(channel: AbstractChannel, subscription: Subscription) -> AbstractQueue:
    """Declare what a subscription needs, bind it, and return the queue to consume."""
    exchange = await declare_exchange(channel)
    if subscription.every_replica:
        # Named by the broker and gone with the connection; a reconnected replica gets a new one.
        queue = await channel.declare_queue(exclusive=True, auto_delete=True)
    else:
        for spec in queues_of(subscription.queue):
            queue = await spec.declare(channel)
    await queue.bind(exchange, subscription.event.name())
    return queue
