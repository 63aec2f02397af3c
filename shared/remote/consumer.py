"""One consumer: its channel, its messages in hand, and what becomes of them.

A handler runs in a task of its own that outlives the channel its message came on. If the channel drops, the
broker delivers the message again while the work still runs; that delivery joins the work instead of
starting it twice, and is acknowledged in place of the lost one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import structlog
from aio_pika.abc import AbstractChannel, AbstractQueue
from aio_pika.exceptions import ChannelPreconditionFailed
from aiormq.abc import DeliveredMessage

from shared.backoff import Backoff
from shared.bus import Subscription
from shared.errors import BusUnavailable, ConfigurationError, EvenskinError
from shared.message import Message, Wire
from shared.outcomes import Dead, Done, Outcome, Retry, attempt, failed, read
from shared.remote.acknowledgements import Acknowledgements
from shared.remote.lifetime import Lifetime
from shared.remote.link import BROKER_ERRORS, Link
from shared.remote.publisher import Headers, Outgoing, Publisher
from shared.remote.topology import dead_name, declare_for, retry_name

log = structlog.get_logger(__name__)

HEADER_PREFIX = "x-evenskin-"
TRIES, ERROR, DIED_AT, QUEUE = (HEADER_PREFIX + name for name in ("tries", "error", "died-at", "queue"))
_BROKER_HEADERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


class _Delivery(NamedTuple):
    """A message as it came, and what acknowledges it on its channel."""

    message: DeliveredMessage
    acknowledgements: Acknowledgements


@dataclass(eq=False)
class _Work:
    """A handler at work, and the deliveries that wait for it: the first, and those that joined it."""

    deliveries: list[_Delivery]


class Consumer:
    """Consumes one subscription's queue, again after every loss of channel or connection."""

    def __init__(self, subscription: Subscription, link: Link, publisher: Publisher) -> None:
        self._subscription = subscription
        self._link = link
        self._publisher = publisher
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper: asyncio.Task[None] | None = None
        self._channel: AbstractChannel | None = None
        self._queue: AbstractQueue | None = None
        self._tag: str | None = None
        self._gone = asyncio.Event()
        self._acknowledgements: Acknowledgements | None = None
        self._draining = False
        self._by_id: dict[tuple[str, str], _Work] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Return once messages may come. Raises ConfigurationError if a queue with other arguments is there."""
        self._keeper = asyncio.create_task(self._keep(), name=f"consume {self._subscription.queue}")
        await asyncio.shield(self._started)

    async def drain(self, timeout_s: float) -> None:
        """Take no new messages, wait for the handlers at work, cancel and return what is left."""
        self._draining = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if not self._started.done():
            self._started.set_exception(BusUnavailable("The bus was closed before the queue was declared."))
            self._started.exception()  # seen, whether or not somebody still waits
        if self._queue is not None and self._tag is not None and self._channel is not None:
            with contextlib.suppress(*BROKER_ERRORS):
                await self._queue.cancel(self._tag, timeout=5.0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_channel()

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._consume()
                backoff.reset()
                if not self._started.done():
                    self._started.set_result(None)
                await self._gone.wait()
                log.warning("consumer_lost", queue=self._subscription.queue)
            except ChannelPreconditionFailed as error:
                self._report(error)
            except BROKER_ERRORS as error:
                log.warning(
                    "consumer_retried", queue=self._subscription.queue, error=f"{type(error).__name__}: {error}"
                )
            await self._close_channel()
            await asyncio.sleep(backoff.pause_s())

    def _report(self, error: ChannelPreconditionFailed) -> None:
        problem = ConfigurationError(
            f"The broker has a queue of {self._subscription.queue} with other arguments: {error}.",
            advice="Empty and delete that queue; it is declared anew.",
        )
        log.error("topology_differs", queue=self._subscription.queue, error=str(error))
        if not self._started.done():
            self._started.set_exception(problem)

    async def _consume(self) -> None:
        """Open a channel and consume; `_gone` is set when the channel or the consumer is gone."""
        connection = await self._link.connection()
        self._channel = connection.channel(publisher_confirms=False)
        await self._channel.initialize()
        lifetime = Lifetime(self._channel)
        await self._channel.set_qos(self._subscription.prefetch)  # per consumer: quorum queues refuse a global one
        self._gone = gone = asyncio.Event()
        self._channel.close_callbacks.add(lambda *_: gone.set())
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: gone.set())  # somebody deleted the queue
        self._queue = await declare_for(self._channel, self._subscription)
        self._acknowledgements = Acknowledgements(self._subscription.queue, lifetime)
        received = partial(self._received, self._acknowledgements)
        # Below aio-pika's message object, as in publisher.py, for the time it takes.
        self._tag = (await underlay.basic_consume(self._queue.name, received)).consumer_tag

    async def _close_channel(self) -> None:
        """Close the channel; the broker takes back what was not acknowledged."""
        if self._acknowledgements is not None:
            await self._acknowledgements.flush()
        channel, self._channel, self._queue, self._tag = self._channel, None, None, None
        if channel is not None and channel.is_initialized and not channel.is_closed:
            with contextlib.suppress(*BROKER_ERRORS):
                await channel.close()

    async def _received(self, acknowledgements: Acknowledgements, delivered: DeliveredMessage) -> None:
        acknowledgements.delivered(delivered)
        delivery = _Delivery(delivered, acknowledgements)
        if self._draining:
            await acknowledgements.give_back(delivered)
            return
        tries = _tries(headers_of(delivered))
        try:
            message = read(self._subscription, wire_of(delivered, self._subscription.event.name()))
        except Exception as error:  # no message, whatever is in it, may end without an outcome
            self._spawn(self._settle(_Work([delivery]), failed(self._subscription, error, tries)))
            return
        key = (message.source, message.id)
        work = self._by_id.get(key)
        if work is not None:
            log.info("delivery_joined", queue=self._subscription.queue, event_id=message.id)
            work.deliveries.append(delivery)
            return
        work = self._by_id[key] = _Work([delivery])
        self._spawn(self._work(message, work, tries))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"handle {self._subscription.queue}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, message: Message, work: _Work, tries: int) -> None:
        try:
            outcome = await attempt(self._subscription, message, tries)
            await self._settle(work, outcome)
        except asyncio.CancelledError:
            for delivery in work.deliveries:
                with contextlib.suppress(*BROKER_ERRORS):
                    await delivery.acknowledgements.give_back(delivery.message)
            raise
        finally:
            # Nothing is awaited between the last acknowledgement and this: whoever comes later must not join.
            del self._by_id[message.source, message.id]

    async def _settle(self, work: _Work, outcome: Outcome) -> None:
        """Carry out an outcome for all deliveries of a message: the copy first, confirmed, then the acknowledgement."""
        try:
            await self._keep_copy(work.deliveries[0].message, outcome)
        except Exception as error:  # whatever it is, the message must not stay in hand for ever
            expected = isinstance(error, EvenskinError)
            log.warning("settling_failed", queue=self._subscription.queue, error=str(error), exc_info=not expected)
            # A new channel takes all back, after a pause, and declares anew what may be missing.
            self._gone.set()
            return
        for delivery in work.deliveries:
            delivery.acknowledgements.acknowledge(delivery.message)

    async def _keep_copy(self, delivery: DeliveredMessage, outcome: Outcome) -> None:
        queue = self._subscription.queue
        match outcome:
            case Done():
                pass
            case Retry(tries):
                copy = copy_of(delivery, {TRIES: tries}, expiration_s=self._subscription.retry_delay_s)
                await self._publisher.send(copy, retry_name(queue))
            case Dead(tries, error):
                headers: Headers = {
                    TRIES: tries,
                    ERROR: error,
                    DIED_AT: datetime.now(UTC).isoformat(),
                    QUEUE: queue,
                }
                await self._publisher.send(copy_of(delivery, headers), dead_name(queue))


def headers_of(delivery: DeliveredMessage) -> Headers:
    """The message's headers, if it has any."""
    return delivery.header.properties.headers or {}


def wire_of(delivery: DeliveredMessage, event: str) -> Wire:
    """A delivery as both adapters know it. By way of the retry queue the routing key is a queue: `event` is given."""
    headers = {key: _text(value) for key, value in headers_of(delivery).items()}
    return Wire(event, delivery.header.properties.content_type or "", headers, delivery.body)


def copy_of(delivery: DeliveredMessage, headers: Headers, *, expiration_s: float | None = None) -> Outgoing:
    """The message again, as it came but for our headers and the broker's."""
    ours = (*_BROKER_HEADERS, HEADER_PREFIX)
    # As text: some of what clients can send cannot be sent again, and a message must never get stuck for a header.
    kept = {key: _text(value) for key, value in headers_of(delivery).items() if not key.startswith(ours)}
    properties = delivery.header.properties
    return Outgoing(
        delivery.body,
        content_type=properties.content_type,
        headers={**kept, **headers},
        correlation_id=properties.correlation_id,
        type=properties.message_type,
        expiration_s=expiration_s,
    )


def _tries(headers: Headers) -> int:
    value = headers.get(TRIES, 0)
    return value if isinstance(value, int) and value >= 0 else 0


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)
