"""Decides the outcome of a delivered message, for both adapters of the bus.

An adapter reads a message with `read`, runs the handler with `attempt`, and carries out the outcome: forget the
message, keep it for later, or put it into the dead-letter queue.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass

import structlog

from shared.bus import RetryLater, Subscription, Undeliverable
from shared.errors import EvenskinError, MalformedEvent
from shared.message import BINARY_PREFIX, GIVEN_ID, Message, Wire, decode, named_headers
from shared.tracing import Span

log = structlog.get_logger(__name__)

_MAX_ERROR_CHARACTERS = 2000  # of an error kept beside its dead letter: a broker's header is no log file
_IDENTITY = (f"{BINARY_PREFIX}source", f"{BINARY_PREFIX}id", GIVEN_ID)  # headers that a message is known by


@dataclass(frozen=True)
class Done:
    """The message is handled, or nobody will ever want it again."""


@dataclass(frozen=True)
class Retry:
    """The message comes again after the subscription's delay. `tries`: those used up by now."""

    tries: int


@dataclass(frozen=True)
class Dead:
    """The message goes to the dead-letter queue, with its error."""

    tries: int
    error: str


Outcome = Done | Retry | Dead


def read(subscription: Subscription, wire: Wire) -> Message:
    """Decode a message for its consumer. Raises MalformedEvent."""
    message = decode(wire)
    if not isinstance(message.event, subscription.event):
        raise MalformedEvent(f"'{message.event.name()}' came to {subscription.queue}, which takes another event.")
    return message


async def attempt(subscription: Subscription, message: Message, tries: int) -> Outcome:
    """Run the handler and turn its error into an outcome. `tries`: those used up before. Raises CancelledError only."""
    with Span(
        f"handle {message.event.name()}",
        kind="consumer",
        parent=message.traceparent,
        correlation_id=message.correlation_id,
        service=subscription.service,
        consumer=subscription.queue,
        event_id=message.id,
    ) as span:
        try:
            await subscription.handler(message)
        except asyncio.CancelledError:
            subscription.on_outcome("given_back")
            raise
        except Exception as error:
            span.fail(type(error).__name__)
            return failed(subscription, error, tries)
    subscription.on_outcome("done")
    return Done()


def failed(subscription: Subscription, error: Exception, tries: int) -> Outcome:
    """Log and count an error, and return its outcome."""
    hopeless = isinstance(error, MalformedEvent | Undeliverable) or subscription.every_replica
    counted = not (isinstance(error, RetryLater) and not error.counted)
    tries += counted
    if hopeless or tries >= subscription.max_tries:
        described = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARACTERS]
        log.error("event_dead", queue=subscription.queue, error=described, tries=tries)
        if subscription.every_replica:
            subscription.on_outcome("dropped")
            return Done()
        subscription.on_outcome("dead")
        return Dead(tries, described)
    expected = isinstance(error, RetryLater | EvenskinError)
    log.warning("event_retried", queue=subscription.queue, error=str(error), tries=tries, exc_info=not expected)
    subscription.on_outcome("retried")
    return Retry(tries)


def letter_id(queue: str, wire: Wire) -> str:
    """Id of a dead letter. The same message given up twice by one consumer is one letter.

    What a body does not say of its identity, as in binary mode, its headers do.
    """
    named = named_headers(wire.headers)
    names = [named.get(name) for name in _IDENTITY]
    identity = json.dumps(names).encode() if any(names) else b""
    return hashlib.sha256(queue.encode() + identity + wire.body).hexdigest()[:16]
