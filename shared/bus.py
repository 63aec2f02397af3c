"""The bus port: events between services, at least once, with bounded tries and a dead-letter queue.

Adapters: `shared.embedded.bus.InProcessBus`, `shared.remote.bus.RabbitBus`. Both pass
`tests/contract/test_bus.py`. A handler speaks in outcomes: returning is done; raising RetryLater, or any
error that is not an Undeliverable, is tried again after a delay and ends in the dead-letter queue after
`max_tries`; raising Undeliverable or MalformedEvent goes there at once. A cancelled handler leaves its
message unacknowledged: it comes again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.events import Event
from shared.message import Message

Handler = Callable[[Message], Awaitable[None]]
Outcomes = Callable[[str], None]
"""Told how a delivery ended: done, retried, dead, dropped or given_back."""
Published = Callable[[Message], None]
"""Told of a message once the broker has it."""


def _unheard(_: str) -> None:
    """Nobody counts outcomes."""


class RetryLater(Exception):
    """A handler cannot do its work now: the message comes again after the retry delay.

    `counted=False`: waiting for something that is down, which does not use up a try.
    """

    def __init__(self, reason: str, *, counted: bool = True) -> None:
        super().__init__(reason)
        self.counted = counted


class Undeliverable(Exception):
    """A handler will never be able to do this: the message goes to the dead-letter queue at once."""


@dataclass(frozen=True)
class Subscription:
    """One consumer of one event.

    `prefetch`: messages in hand at a time. `retry_delay_s`: seconds between tries. `every_replica`: each
    replica hears every event from now on (exclusive queue, no retry, no dead letters), else replicas
    compete on the queue `<service>.<Event>`. `on_outcome` is told how each delivery ended.
    """

    service: str
    event: type[Event]
    handler: Handler
    prefetch: int = 50
    max_tries: int = 5
    retry_delay_s: float = 5.0
    every_replica: bool = False
    on_outcome: Outcomes = _unheard

    @property
    def queue(self) -> str:
        """Name of the queue that replicas compete on."""
        return f"{self.service}.{self.event.name()}"


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up, with its error. `body` is the wire's body, as text."""

    id: str
    queue: str
    event: str
    error: str
    tries: int
    died_at: datetime
    body: str


class Bus(Protocol):
    """Publish and subscribe. `start` before anything else; `close` drains."""

    async def start(self) -> None:
        """Connect, waiting with back-off until the broker answers."""
        ...

    async def publish(self, message: Message) -> None:
        """Return once the broker has taken responsibility for the message.

        Raises UnroutableEvent where no queue takes it, BusUnavailable where the broker does not confirm.
        """
        ...

    def on_published(self, tell: Published) -> None:
        """Tell of every message that is published from now on."""
        ...

    async def subscribe(self, subscription: Subscription) -> None:
        """Declare the queue, with its retry and dead-letter queues, and start consuming."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Take no new messages, and wait for the handlers at work; what is left after is returned."""
        ...

    async def depth(self, queue: str) -> int:
        """Messages waiting in a queue, those in hand not counted."""
        ...

    async def dead_letters(self, queue: str | None = None) -> list[DeadLetter]:
        """What was given up, of one consumer queue or all, oldest first; it stays there."""
        ...

    async def replay(self, queue: str | None = None) -> int:
        """Send dead letters back to their queues with a fresh number of tries. Returns how many."""
        ...

    async def check(self) -> None:
        """Raise BusUnavailable unless messages can be published now."""
        ...

    async def close(self) -> None:
        """Drain nothing further, and disconnect."""
        ...
