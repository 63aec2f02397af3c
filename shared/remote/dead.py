"""Dead letters on the broker: read without losing them, and sent back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, HeadersType
from aio_pika.exceptions import ChannelNotFoundEntity

from shared.bus import DeadLetter
from shared.message import GIVEN_ID, likeness_of
from shared.outcomes import letter_id
from shared.remote.consumer import DIED_AT, ERROR, TRIES, copy_of, wire_of
from shared.remote.publisher import Publisher
from shared.remote.topology import dead_name


@asynccontextmanager
async def _channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """A channel for one purpose; what it holds unacknowledged returns to its queue when it closes."""
    channel = connection.channel(publisher_confirms=False)
    await channel.initialize()
    try:
        yield channel
    finally:
        if not channel.is_closed:
            await channel.close()


async def depth(connection: AbstractConnection, queue: str) -> int:
    """Messages ready in a queue; 0 if there is no such queue."""
    async with _channel(connection) as channel:
        try:
            declared = await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            return 0
        return declared.declaration_result.message_count or 0


async def letters(connection: AbstractConnection, queue: str) -> list[DeadLetter]:
    """The dead letters of one consumer queue; they stay there."""
    async with _channel(connection) as channel:
        messages = await _all(channel, queue)
        if messages:
            await messages[-1].nack(multiple=True)  # back before we answer: whoever looks next sees them
    return [_letter(queue, message) for message in messages]


async def replay(connection: AbstractConnection, publisher: Publisher, queue: str) -> int:
    """Send the dead letters of one consumer queue back to it, as new. Returns how many."""
    async with _channel(connection) as channel:
        messages = await _all(channel, queue)  # first all, so that one which dies again at once is not sent for ever
        for message in messages:
            # What the broker buried itself had been delivered before, to whoever went away with it in hand.
            given: HeadersType = {}
            if GIVEN_ID not in message.headers and not message.message_id:
                given[GIVEN_ID] = likeness_of(message.body)
            await publisher.send(copy_of(message, given), queue)  # confirmed, and only then removed here
            await message.ack()
    return len(messages)


async def _all(channel: AbstractChannel, queue: str) -> list[AbstractIncomingMessage]:
    """Everything in a dead-letter queue, held until the channel closes. A count from the broker would lag behind."""
    dead = await channel.get_queue(dead_name(queue), ensure=False)
    found: list[AbstractIncomingMessage] = []
    try:
        while (message := await dead.get(fail=False)) is not None:
            found.append(message)
    except ChannelNotFoundEntity:
        return []
    return found


def _letter(queue: str, message: AbstractIncomingMessage) -> DeadLetter:
    headers = message.headers
    tries = headers.get(TRIES, 0)
    died_at = _time(headers.get(DIED_AT)) or _died_by_broker(headers.get("x-death")) or datetime.now(UTC)
    error = headers.get(ERROR)
    event = queue.rpartition(".")[2]
    return DeadLetter(
        id=letter_id(queue, wire_of(message, event)),
        queue=queue,
        event=event,
        error=str(error) if error else "The consumer went away again and again with this message in hand.",
        tries=max(tries if isinstance(tries, int) else 0, 1),
        died_at=died_at,
        body=message.body.decode(errors="replace"),
    )


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        return None


def _died_by_broker(deaths: object) -> datetime | None:
    """When the broker buried a message itself, past the delivery limit."""
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        time = deaths[0].get("time")
        if isinstance(time, datetime):
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None
