"""The bus port inside one process: queues of encoded messages, with the same rules as on RabbitMQ.

Messages end with the process; the ledger's reconciler requests again what was lost. Dead letters outlive it as
files, if a directory is given.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import structlog

from shared.bus import DeadLetter, Published, Subscription
from shared.errors import BusUnavailable, UnroutableEvent
from shared.events import EVENTS
from shared.message import Message, Wire, encode, identified, sending
from shared.outcomes import Dead, Done, Retry, attempt, failed, letter_id, read

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Delivery:
    wire: Wire
    tries: int = 0


@dataclass(eq=False)
class _Queue:
    subscriptions: list[Subscription] = field(default_factory=list)
    waiting: deque[_Delivery] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, delivery: _Delivery, *, first: bool = False) -> None:
        """Append a delivery, or return it to the head, and wake the consumers."""
        self.waiting.insert(0 if first else len(self.waiting), delivery)
        self.arrived.set()

    async def take(self) -> _Delivery:
        """The next delivery; waits for one."""
        while not self.waiting:
            self.arrived.clear()
            await self.arrived.wait()
        return self.waiting.popleft()


class InProcessBus:
    """An in-process topic exchange with competing consumers, delayed retries and dead letters."""

    def __init__(self, dead_letter_directory: Path | None = None) -> None:
        self._queues: dict[str, _Queue] = {}
        self._consumers: set[asyncio.Task[None]] = set()
        self._at_work: set[asyncio.Task[None]] = set()
        self._delayed: set[asyncio.Task[None]] = set()
        self._dead: dict[str, tuple[DeadLetter, Wire]] = {}
        self._directory = dead_letter_directory
        self._published: list[Published] = []
        self._open = False

    async def start(self) -> None:
        """Read the dead letters of earlier processes."""
        if self._directory is not None:
            for path in sorted(self._directory.glob("*.json")):
                try:
                    letter, wire = _read_letter(path)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    log.warning("dead_letter_unreadable", path=str(path), error=str(error))
                    continue
                self._dead[letter.id] = (letter, wire)
        self._open = True

    async def publish(self, message: Message) -> None:
        """Put the encoded message on every queue bound to its event."""
        with sending(message) as sent:
            await self.publish_wire(encode(sent))
        for tell in self._published:
            tell(message)

    def on_published(self, tell: Published) -> None:
        """Call `tell` with every message that is published from now on."""
        self._published.append(tell)

    async def publish_wire(self, wire: Wire) -> None:
        """Publish bytes as any AMQP client might. Raises UnroutableEvent, BusUnavailable."""
        if not self._open:
            raise BusUnavailable("The bus is closed.")
        bound = [q for q in self._queues.values() if any(s.event.name() == wire.routing_key for s in q.subscriptions)]
        model = EVENTS.get(wire.routing_key)
        if not bound and not (model is not None and model.announcement):
            raise UnroutableEvent(f"No queue takes {wire.routing_key}.", advice="Start the service that handles it.")
        delivery = _Delivery(identified(wire))
        for queue in bound:
            queue.put(delivery)

    async def subscribe(self, subscription: Subscription) -> None:
        """Start consuming. An `every_replica` subscription gets a queue of its own."""
        name = subscription.queue if not subscription.every_replica else f"{subscription.queue}.{uuid4()}"
        queue = self._queues.setdefault(name, _Queue())
        queue.subscriptions.append(subscription)
        task = asyncio.create_task(self._consume(queue, subscription), name=f"consume {name}")
        self._consumers.add(task)
        task.add_done_callback(self._consumers.discard)

    async def _consume(self, queue: _Queue, subscription: Subscription) -> None:
        slots = asyncio.Semaphore(subscription.prefetch)
        while True:
            await slots.acquire()
            delivery = await queue.take()
            task = asyncio.create_task(self._handle(queue, subscription, delivery), name=f"handle {subscription.queue}")
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
            task.add_done_callback(lambda _: slots.release())

    async def _handle(self, queue: _Queue, subscription: Subscription, delivery: _Delivery) -> None:
        try:
            outcome = await attempt(subscription, read(subscription, delivery.wire), delivery.tries)
        except asyncio.CancelledError:
            queue.put(delivery, first=True)  # unacknowledged: it comes again
            raise
        except Exception as error:  # no message, whatever is in it, may end without an outcome
            outcome = failed(subscription, error, delivery.tries)
        match outcome:
            case Done():
                pass
            case Retry(tries):
                later = self._put_later(queue, replace(delivery, tries=tries), subscription.retry_delay_s)
                task = asyncio.create_task(later, name=f"retry {subscription.queue}")
                self._delayed.add(task)
                task.add_done_callback(self._delayed.discard)
            case Dead():
                self._bury(subscription, delivery, outcome)

    async def _put_later(self, queue: _Queue, delivery: _Delivery, delay_s: float) -> None:
        try:
            await asyncio.sleep(delay_s)
        finally:
            queue.put(delivery)  # a drain ends the delay, not the message

    def _bury(self, subscription: Subscription, delivery: _Delivery, outcome: Dead) -> None:
        body = delivery.wire.body
        letter = DeadLetter(
            id=letter_id(subscription.queue, delivery.wire),
            queue=subscription.queue,
            event=delivery.wire.routing_key,
            error=outcome.error,
            tries=max(outcome.tries, 1),
            died_at=datetime.now(UTC),
            body=body.decode(errors="replace"),
        )
        self._dead[letter.id] = (letter, delivery.wire)
        if self._directory is not None:
            stored = {
                "letter": asdict(letter),
                "content_type": delivery.wire.content_type,
                "headers": dict(delivery.wire.headers),
            }
            try:
                _write(self._directory / f"{letter.id}.json", json.dumps(stored, default=str))
            except OSError as error:  # a full disk must not take the consumer down; the letter stays in memory
                log.error("dead_letter_not_written", queue=subscription.queue, error=str(error))

    async def drain(self, timeout_s: float) -> None:
        """Stop consuming, wait for handlers at work, then cancel those that are left."""
        for task in [*self._consumers, *self._delayed]:
            task.cancel()
        await asyncio.gather(*self._consumers, *self._delayed, return_exceptions=True)
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=timeout_s)
        for task in list(self._at_work):
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    async def depth(self, queue: str) -> int:
        """Messages waiting in the queue."""
        return len(self._queues[queue].waiting) if queue in self._queues else 0

    async def dead_letters(self, queue: str | None = None) -> list[DeadLetter]:
        """Dead letters, oldest first."""
        return sorted((letter for letter, _ in self._matching(queue)), key=lambda letter: letter.died_at)

    def _matching(self, queue: str | None) -> Iterator[tuple[DeadLetter, Wire]]:
        return (entry for entry in self._dead.values() if queue in (None, entry[0].queue))

    async def replay(self, queue: str | None = None) -> int:
        """Put dead letters back on their queues."""
        replayed = 0
        for letter, wire in list(self._matching(queue)):
            if letter.queue not in self._queues:
                continue
            del self._dead[letter.id]
            if self._directory is not None:
                (self._directory / f"{letter.id}.json").unlink(missing_ok=True)
            self._queues[letter.queue].put(_Delivery(wire))
            replayed += 1
        return replayed

    async def check(self) -> None:
        """Raise BusUnavailable if closed."""
        if not self._open:
            raise BusUnavailable("The bus is closed.")

    async def close(self) -> None:
        """Cancel consumers and handlers."""
        self._open = False
        await self.drain(0)


def _read_letter(path: Path) -> tuple[DeadLetter, Wire]:
    stored = json.loads(path.read_text())
    letter = DeadLetter(**{**stored["letter"], "died_at": datetime.fromisoformat(stored["letter"]["died_at"])})
    return letter, Wire(letter.event, stored["content_type"], stored["headers"], letter.body.encode())


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
