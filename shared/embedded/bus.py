"""The bus port inside one process: queues of encoded messages, the same rules as on RabbitMQ.

Messages do not outlive the process; the ledger's reconciler asks again for what was lost. Dead letters
do: they are kept as files, if a directory is given.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import structlog

from shared.bus import DeadLetter, RetryLater, Subscription, Undeliverable
from shared.errors import BusUnavailable, EvenskinError, MalformedEvent, UnroutableEvent
from shared.events import EVENTS
from shared.message import Message, Wire, decode, encode

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Delivery:
    wire: Wire
    tries: int = 0


@dataclass(eq=False)
class _Queue:
    subscriptions: list[Subscription] = field(default_factory=list)
    waiting: deque[_Delivery] = field(default_factory=deque)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)


class InProcessBus:
    """An in-process topic exchange with competing consumers, delayed retries and dead letters."""

    def __init__(self, dead_letter_directory: Path | None = None) -> None:
        self._queues: dict[str, _Queue] = {}
        self._consumers: set[asyncio.Task[None]] = set()
        self._at_work: set[asyncio.Task[None]] = set()
        self._delayed: set[asyncio.Task[None]] = set()
        self._dead: dict[str, tuple[DeadLetter, Wire]] = {}
        self._directory = dead_letter_directory
        self._open = False

    async def start(self) -> None:
        """Read the dead letters of earlier processes."""
        if self._directory is not None:
            for path in sorted(self._directory.glob("*.json")):
                stored = json.loads(path.read_text())
                letter = DeadLetter(
                    **{**stored["letter"], "died_at": datetime.fromisoformat(stored["letter"]["died_at"])}
                )
                wire = Wire(letter.event, stored["content_type"], stored["headers"], letter.body.encode())
                self._dead[letter.id] = (letter, wire)
        self._open = True

    async def publish(self, message: Message) -> None:
        """Put the encoded message on every queue bound to its event."""
        await self.publish_wire(encode(message))

    async def publish_wire(self, wire: Wire) -> None:
        """Publish bytes as any AMQP client might. Raises UnroutableEvent, BusUnavailable."""
        if not self._open:
            raise BusUnavailable("The bus is closed.")
        bound = [q for q in self._queues.values() if any(s.event.name() == wire.routing_key for s in q.subscriptions)]
        model = EVENTS.get(wire.routing_key)
        if not bound and not (model is not None and model.announcement):
            raise UnroutableEvent(f"No queue takes {wire.routing_key}.", advice="Start the service that handles it.")
        for queue in bound:
            await self._put(queue, _Delivery(wire))

    async def _put(self, queue: _Queue, delivery: _Delivery) -> None:
        async with queue.arrived:
            queue.waiting.append(delivery)
            queue.arrived.notify()

    async def subscribe(self, subscription: Subscription) -> None:
        """Start consuming; every_replica subscriptions get a queue of their own."""
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
            async with queue.arrived:
                await queue.arrived.wait_for(lambda: bool(queue.waiting))
                delivery = queue.waiting.popleft()
            task = asyncio.create_task(self._handle(queue, subscription, delivery), name=f"handle {subscription.queue}")
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
            task.add_done_callback(lambda _: slots.release())

    async def _handle(self, queue: _Queue, subscription: Subscription, delivery: _Delivery) -> None:
        try:
            message = decode(delivery.wire)
            with structlog.contextvars.bound_contextvars(
                correlation_id=message.correlation_id, event_id=message.id, consumer=subscription.queue
            ):
                await subscription.handler(message)
        except asyncio.CancelledError:
            queue.waiting.appendleft(delivery)  # unacknowledged: it comes again
            raise
        except (MalformedEvent, Undeliverable) as error:
            self._bury(subscription, delivery, error)
        except Exception as error:
            counted = not (isinstance(error, RetryLater) and not error.counted)
            tried = replace(delivery, tries=delivery.tries + counted)
            if tried.tries >= subscription.max_tries or subscription.every_replica:
                self._bury(subscription, tried, error)
                return
            expected = isinstance(error, RetryLater | EvenskinError)
            log.warning("event_retried", queue=subscription.queue, error=str(error), exc_info=not expected)
            task = asyncio.create_task(self._put_later(queue, tried, subscription.retry_delay_s), name="retry")
            self._delayed.add(task)
            task.add_done_callback(self._delayed.discard)

    async def _put_later(self, queue: _Queue, delivery: _Delivery, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await self._put(queue, delivery)

    def _bury(self, subscription: Subscription, delivery: _Delivery, error: BaseException) -> None:
        described = f"{type(error).__name__}: {error}"
        log.error("event_dead", queue=subscription.queue, error=described)
        if subscription.every_replica:
            return
        body = delivery.wire.body
        letter = DeadLetter(
            id=hashlib.sha256(subscription.queue.encode() + body).hexdigest()[:16],
            queue=subscription.queue,
            event=delivery.wire.routing_key,
            error=described,
            tries=max(delivery.tries, 1),
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
            self._directory.mkdir(parents=True, exist_ok=True)
            (self._directory / f"{letter.id}.json").write_text(json.dumps(stored, default=str))

    async def drain(self, timeout_s: float) -> None:
        """Stop consuming; wait for handlers at work, then cancel what is left."""
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
            await self._put(self._queues[letter.queue], _Delivery(wire))
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
