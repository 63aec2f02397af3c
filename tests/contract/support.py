"""Where the adapters under test come from, and waiting for what they do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aio_pika

from shared.bus import Bus, DeadLetter, Subscription
from shared.embedded.bus import InProcessBus
from shared.events import ImageAugmented
from shared.message import Message, Wire
from shared.remote.bus import RabbitBus
from tests.eventually import LIMIT_S, eventually


class BusSetup(Protocol):
    """Where buses of one adapter come from."""

    async def replica(self) -> Bus:
        """A started bus of one more process."""
        ...

    async def reopened(self) -> Bus:
        """Close all, and open one again on what they left."""
        ...

    async def unopened(self) -> Bus:
        """A bus that was not started."""
        ...

    async def send(
        self,
        routing_key: str,
        body: bytes,
        *,
        content_type: str = "",
        headers: Mapping[str, object] | None = None,
        message_id: str | None = None,
    ) -> None:
        """Publish as somebody else's client would."""
        ...

    async def close(self) -> None:
        """Close all buses."""
        ...


class EmbeddedSetup:
    """One bus, which is all processes there are."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bus: InProcessBus | None = None

    async def replica(self) -> Bus:
        if self._bus is None:
            self._bus = InProcessBus(self._directory)
            await self._bus.start()
        return self._bus

    async def reopened(self) -> Bus:
        await self.close()
        return await self.replica()

    async def unopened(self) -> Bus:
        return InProcessBus(self._directory)

    async def send(
        self,
        routing_key: str,
        body: bytes,
        *,
        content_type: str = "",
        headers: Mapping[str, object] | None = None,
        message_id: str | None = None,
    ) -> None:
        assert self._bus is not None
        texts = {key: str(value) for key, value in (headers or {}).items()}
        await self._bus.publish_wire(Wire(routing_key, content_type, texts, body, message_id))

    async def close(self) -> None:
        if self._bus is not None:
            await self._bus.close()
            self._bus = None


class RemoteSetup:
    """A virtual host of a real RabbitMQ."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._buses: list[RabbitBus] = []

    async def replica(self) -> Bus:
        bus = RabbitBus(self._url, connection_name="tests")
        await bus.start()
        self._buses.append(bus)
        return bus

    async def reopened(self) -> Bus:
        await self.close()
        return await self.replica()

    async def unopened(self) -> Bus:
        return RabbitBus(self._url, connection_name="tests")

    async def send(
        self,
        routing_key: str,
        body: bytes,
        *,
        content_type: str = "",
        headers: Mapping[str, object] | None = None,
        message_id: str | None = None,
    ) -> None:
        async with await aio_pika.connect(self._url) as connection, connection.channel() as channel:
            exchange = await channel.get_exchange("evenskin")
            message = aio_pika.Message(
                body,
                content_type=content_type or None,
                headers=dict(headers or {}),  # type: ignore[arg-type]
                message_id=message_id,
            )
            await exchange.publish(message, routing_key)

    async def close(self) -> None:
        await asyncio.gather(*(bus.close() for bus in self._buses))
        self._buses.clear()


async def never(condition: Callable[[], object], *, for_s: float = 0.3) -> None:
    """Fail if a condition comes to hold within some time."""
    with contextlib.suppress(AssertionError):
        await eventually(condition, within_s=for_s)
    assert not condition()


QUEUE = "tests.ImageAugmented"


def an_event() -> Message:
    return Message(ImageAugmented(image_id=uuid4(), variants=()), source="tests")


def subscription(handler: Callable[[Message], Awaitable[None]], **changes: Any) -> Subscription:
    chosen = Subscription("tests", ImageAugmented, handler, retry_delay_s=0.1, max_tries=3)
    return replace(chosen, **changes)


class Recorder:
    """A handler that keeps what it got, and does what it is told with each."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.messages: list[Message] = []
        self._outcomes = list(outcomes)

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if outcome is not None:
            raise outcome

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.messages]

    async def got(self, count: int) -> None:
        await eventually(lambda: len(self.messages) >= count)


class Always(Recorder):
    """A handler that always raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)
        raise self._error


async def dead_letters(bus: Bus, count: int, queue: str | None = QUEUE) -> list[DeadLetter]:
    """Dead letters, once there are so many."""

    async def there() -> list[DeadLetter] | None:
        found = await bus.dead_letters(queue)
        return found if len(found) >= count else None

    found: list[DeadLetter] = await eventually(there, f"Dead letter {count}", every_s=0.02)
    assert len(found) == count
    return found


async def nothing_comes_again(bus: Bus) -> None:
    """Drain the bus: the queue is empty, and nothing waits for another try."""
    await bus.drain(LIMIT_S)
    assert [await bus.depth(name) for name in (QUEUE, f"{QUEUE}.retry")] == [0, 0]


async def ignore(message: Message) -> None:
    """Be done at once."""


async def next_of(queue: aio_pika.abc.AbstractQueue) -> aio_pika.abc.AbstractIncomingMessage:
    """The next message of a queue, once there is one."""
    message: aio_pika.abc.AbstractIncomingMessage = await eventually(
        lambda: queue.get(fail=False), f"A message in {queue.name}"
    )
    return message


def through(url: str, port: int) -> str:
    """The broker's URL with another port of this machine."""
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"{user}@127.0.0.1:{port}", parts.path, parts.query, ""))
