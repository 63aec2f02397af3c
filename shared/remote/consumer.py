"""One consumer: its channel, its messages in hand, and what becomes of them.

A handler runs in a task of its own that outlives the channel its message came on. If the channel drops, the
broker delivers the message again while the work still runs; that delivery joins the work instead of
starting it twice, and is acknowledged in place of the lost one.

A quorum queue can lose its leader for good: a broker that is killed within seconds after the queue was declared leaves
it so (RabbitMQ 3.10 and 4.0 were seen to), as does one that lost most of a cluster. Declaring it succeeds; consuming it
is not answered, and after 65 s the broker closes the connection. So such a queue is asked for on a connection apart,
where no other consumer suffers from it, until somebody has deleted it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue, HeadersType
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed, ConnectionClosed

from shared.backoff import Backoff
from shared.bus import Subscription
from shared.errors import BusUnavailable, ConfigurationError, EvenskinError, QueueWithoutLeader
from shared.message import GIVEN_ID, Message, Wire, identified
from shared.outcomes import Dead, Done, Outcome, Retry, attempt, failed, read
from shared.remote.lifetime import Lifetime
from shared.remote.link import BROKER_ERRORS, Link
from shared.remote.publisher import Publisher
from shared.remote.topology import dead_name, declare_for, retry_name

log = structlog.get_logger(__name__)

ANSWER_S = 20.0  # for declaring and consuming a queue; a broker under load takes a second or two
CLOSE_S = 5.0  # for closing a channel: one on which a call is not answered is not closed either
HEADER_PREFIX = "x-evenskin-"
TRIES, ERROR, DIED_AT, QUEUE = (HEADER_PREFIX + name for name in ("tries", "error", "died-at", "queue"))
_BROKER_HEADERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


@dataclass(eq=False)
class _Delivery:
    """A message as it came, and the lifetime of its channel. Answered once: the broker closes a channel for more."""

    message: AbstractIncomingMessage
    lifetime: Lifetime
    is_answered: bool = False

    async def acknowledge(self) -> None:
        """The message is handled."""
        await self._answer(self.message.ack())

    async def give_back(self) -> None:
        """The message is not handled: let the broker deliver it again."""
        if not self.is_answered:
            await self._answer(self.message.nack(requeue=True))

    async def _answer(self, answering: Coroutine[Any, Any, None]) -> None:
        self.is_answered = True
        try:
            await self.lifetime.within(answering)
        except Exception as error:  # of a channel that we close meanwhile it may be any
            # The channel is gone and its messages come again; handlers are idempotent.
            log.info("answer_lost", routing_key=self.message.routing_key, error=f"{type(error).__name__}: {error}")


@dataclass(eq=False)
class _Work:
    """A handler at work, and the deliveries that wait for it: the first, and those that joined it.

    `given_id`: what the message is known by, if its sender gave it no id; its copies carry it.
    """

    deliveries: list[_Delivery]
    given_id: str | None = None


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
        self._apart: AbstractConnection | None = None
        self._goes_apart = False
        self._problem: QueueWithoutLeader | None = None
        self._draining = False
        self._by_id: dict[tuple[str, str], _Work] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Return once messages may come. Raises ConfigurationError if a queue with other arguments is there."""
        self._keeper = asyncio.create_task(self._keep(), name=f"consume {self._subscription.queue}")
        await asyncio.shield(self._started)

    def check(self) -> None:
        """Raise QueueWithoutLeader while the broker answers but for this queue."""
        if self._problem is not None:
            raise self._problem

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
                self._goes_apart, self._problem = False, None
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
        if self._goes_apart:
            connection = self._apart = await self._link.apart()
        else:
            connection = await self._link.connection()
        self._channel = connection.channel(publisher_confirms=False)
        await Lifetime(connection).within(self._channel.initialize())
        lifetime = Lifetime(self._channel)
        await self._channel.set_qos(self._subscription.prefetch)  # per consumer: quorum queues refuse a global one
        self._gone = gone = asyncio.Event()
        self._channel.close_callbacks.add(lambda *_: gone.set())
        # Of a consumer that the broker ends, aio-pika tells only what lies below it: somebody deleted the queue.
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: gone.set())

        async def received(message: AbstractIncomingMessage) -> None:
            await self._received(_Delivery(message, lifetime))

        limit = asyncio.timeout(ANSWER_S)
        try:
            async with limit:
                self._queue = await declare_for(self._channel, self._subscription)
                self._tag = await self._queue.consume(received)
        except BROKER_ERRORS as error:
            self._note_unanswered(error, is_late=limit.expired())
            raise

    def _note_unanswered(self, error: BaseException, *, is_late: bool) -> None:
        """Take up what speaks for a queue without a leader.

        What closes the connection that all consumers share may be another one's queue: that is seen apart.
        """
        # 404 is what declaring a queue that is there but does not answer ends in, on some versions.
        is_own = is_late or isinstance(error, ChannelNotFoundEntity)
        is_internal = isinstance(error, ConnectionClosed) and "INTERNAL_ERROR" in str(error)
        if is_own or (is_internal and self._apart is not None):
            self._report_no_leader()
        self._goes_apart = is_own or is_internal

    def _report_no_leader(self) -> None:
        if self._problem is None:
            queue = self._subscription.queue
            self._problem = QueueWithoutLeader(
                f"The broker does not answer for the queue {queue}: it has no leader.",
                advice=f"Where no node of the broker is down, delete it: rabbitmqctl delete_queue {queue}. It is"
                " declared anew within a minute; what was in it is asked for again, but an operator's events are not.",
            )
            log.error("queue_without_leader", queue=queue, advice=self._problem.advice)

    async def _close_channel(self) -> None:
        """Close the channel, and a connection apart; the broker takes back what was not acknowledged."""
        channel, self._channel, self._queue, self._tag = self._channel, None, None, None
        apart, self._apart = self._apart, None
        with contextlib.suppress(*BROKER_ERRORS):
            async with asyncio.timeout(CLOSE_S):
                if channel is not None and channel.is_initialized and not channel.is_closed:
                    await channel.close()
        if apart is not None:
            with contextlib.suppress(*BROKER_ERRORS):
                async with asyncio.timeout(CLOSE_S):
                    await apart.close()

    async def _received(self, delivery: _Delivery) -> None:
        if self._draining:
            await delivery.give_back()
            return
        tries = _tries(delivery.message.headers)
        wire = identified(wire_of(delivery.message, self._subscription.event.name()))
        given_id = wire.headers.get(GIVEN_ID)
        try:
            message = read(self._subscription, wire)
        except Exception as error:  # no message, whatever is in it, may end without an outcome
            self._spawn(self._carry_out(_Work([delivery], given_id), failed(self._subscription, error, tries)))
            return
        work = self._by_id.get((message.source, message.id))
        if work is not None:
            log.info("delivery_joined", queue=self._subscription.queue, event_id=message.id)
            work.deliveries.append(delivery)
            return
        work = _Work([delivery], given_id)
        self._by_id.update(dict.fromkeys(_names(message), work))
        self._spawn(self._work(message, work, tries))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"handle {self._subscription.queue}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, message: Message, work: _Work, tries: int) -> None:
        try:
            outcome = await attempt(self._subscription, message, tries)
            if not isinstance(outcome, Done):
                # Its copy may come back before this delivery is settled, and must not be acknowledged with it.
                self._forget(message, work)
            await self._carry_out(work, outcome)
        except asyncio.CancelledError:
            for delivery in work.deliveries:
                await delivery.give_back()
            raise
        finally:
            # Nothing is awaited between the last acknowledgement and this: whoever comes later must not join.
            self._forget(message, work)

    def _forget(self, message: Message, work: _Work) -> None:
        """Let no more deliveries join a message's work."""
        for name in _names(message):
            if self._by_id.get(name) is work:
                del self._by_id[name]

    async def _carry_out(self, work: _Work, outcome: Outcome) -> None:
        """Carry out an outcome for all deliveries of a message: the copy first, confirmed, then the acknowledgement."""
        try:
            await self._keep_copy(work, outcome)
        except Exception as error:  # whatever it is, the message must not stay in hand for ever
            expected = isinstance(error, EvenskinError)
            log.warning("settling_failed", queue=self._subscription.queue, error=str(error), exc_info=not expected)
            # A new channel takes all back, after a pause, and declares anew what may be missing.
            self._gone.set()
            return
        for delivery in work.deliveries:  # those that join meanwhile too
            await delivery.acknowledge()

    async def _keep_copy(self, work: _Work, outcome: Outcome) -> None:
        queue, message = self._subscription.queue, work.deliveries[0].message
        given: HeadersType = {} if work.given_id is None else {GIVEN_ID: work.given_id}
        match outcome:
            case Done():
                pass
            case Retry(tries):
                copy = copy_of(message, {**given, TRIES: tries}, expiration_s=self._subscription.retry_delay_s)
                await self._publisher.send(copy, retry_name(queue))
            case Dead(tries, error):
                headers: HeadersType = {
                    **given,
                    TRIES: tries,
                    ERROR: error,
                    DIED_AT: datetime.now(UTC).isoformat(),
                    QUEUE: queue,
                }
                await self._publisher.send(copy_of(message, headers), dead_name(queue))


def _names(message: Message) -> set[tuple[str, str]]:
    """What a delivery that comes while the message is at work may be known by."""
    return {(message.source, id_) for id_ in (message.id, message.likeness) if id_ is not None}


def wire_of(message: AbstractIncomingMessage, event: str) -> Wire:
    """A message as both adapters know it. By way of the retry queue the routing key is a queue: `event` is given."""
    headers = {key: _text(value) for key, value in message.headers.items()}
    return Wire(
        event, message.content_type or "", headers, message.body, message.message_id, message.redelivered or False
    )


def copy_of(
    message: AbstractIncomingMessage, headers: HeadersType, *, expiration_s: float | None = None
) -> aio_pika.Message:
    """The message again, as it came but for our headers and the broker's; in a queue for so many seconds at most."""
    ours = (*_BROKER_HEADERS, HEADER_PREFIX)
    # As text: some of what clients can send cannot be sent again, and a message must never get stuck for a header.
    kept = {key: _text(value) for key, value in message.headers.items() if not key.startswith(ours)}
    return aio_pika.Message(
        message.body,
        content_type=message.content_type,
        headers={**kept, **headers},
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        correlation_id=message.correlation_id,
        message_id=message.message_id,
        type=message.type,
        expiration=expiration_s,
    )


def _tries(headers: HeadersType) -> int:
    value = headers.get(TRIES, 0)
    return value if isinstance(value, int) and value >= 0 else 0


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)
