"""The bus port: events between services, at least once, with bounded tries and a dead-letter queue.

Adapters: `shared.embedded.bus.InProcessBus`, `shared.remote.bus.RabbitBus`. Both pass
`tests/contract/test_bus.py`. A handler decides what becomes of its message: if it returns, the message is done.
If it raises RetryLater or any other error, the message comes again after a delay, and goes to the dead-letter queue
after `max_tries`. If it raises Undeliverable or MalformedEvent, the message goes there at once. If it is cancelled,
the message is not acknowledged and comes again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.events import Event
from shared.message import Message

Handler = Callable[[Message], Awaitable[None]]
OnOutcome = Callable[[str], None]
"""Called with how a delivery ended: done, retried, dead, dropped or given_back."""
Published = Callable[[Message], None]
"""Called with a message once the broker has confirmed it."""


def _ignore_outcome(_: str) -> None:
    """Count no outcomes."""


class RetryLater(Exception):
    """A handler cannot do its work now: the message comes again after the retry delay.

    `counted=False`: the handler waits for something that is down, and uses up no try.
    """

    def __init__(self, reason: str, *, counted: bool = True) -> None:
        super().__init__(reason)
        self.counted = counted


class Undeliverable(Exception):
    """A handler can never do its work on this message: it goes to the dead-letter queue at once."""


@dataclass(frozen=True)
class Subscription:
    """One consumer of one event.

    `prefetch`: messages in hand at a time. `retry_delay_s`: seconds between tries. `every_replica`: each
    replica gets every event from now on (exclusive queue, no retry, no dead letters); else replicas
    compete on the queue `<service>.<Event>`. `on_outcome` is called with how each delivery ended.
    """

    service: str
    event: type[Event]
    handler: Handler
    prefetch: int = 50
    max_tries: int = 5
    retry_delay_s: float = 5.0
    every_replica: bool = False
    on_outcome: OnOutcome = _ignore_outcome

    @property
    def queue(self) -> str:
        """Name of the queue that replicas compete on."""
        return f"{self.service}.{self.event.name()}"


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up, with its error. `body` is its body on the wire, as text."""

    id: str
    queue: str
    event: str
    error: str
    tries: int
    died_at: datetime
    body: str


class Bus(Protocol):
    """Publish and subscribe. Call `start` before anything else, and `drain` before `close`."""

    async def start(self) -> None:
        """Connect, waiting with back-off until the broker answers."""
        ...

    async def publish(self, message: Message) -> None:
        """Return once the broker has taken responsibility for the message.

        Raises UnroutableEvent where no queue takes it, BusUnavailable where the broker does not confirm.
        """
        ...

    def on_published(self, tell: Published) -> None:
        """Call `tell` with every message that is published from now on."""
        ...

    async def subscribe(self, subscription: Subscription) -> None:
        """Declare the queue, with its retry and dead-letter queues, and start consuming."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Take no new messages, give handlers at work `timeout_s`, then cancel them: their messages come again."""
        ...

    async def depth(self, queue: str) -> int:
        """The number of messages that wait in a queue, without those in hand."""
        ...

    async def dead_letters(self, queue: str | None = None) -> list[DeadLetter]:
        """The dead letters of one consumer queue or all, oldest first. They stay there."""
        ...

    async def replay(self, queue: str | None = None) -> int:
        """Send dead letters back to their queues with a fresh number of tries. Returns how many."""
        ...

    async def check(self) -> None:
        """Raise BusUnavailable unless messages can be published now."""
        ...

    async def close(self) -> None:
        """Disconnect at once."""
        ...
