"""An event on its way: the CloudEvents attributes around it, and how it becomes bytes and back.

Uses the CloudEvents SDK's RabbitMQ binding, so that both adapters of the bus carry the same bytes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_rabbitmq_event, to_structured_event
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.v1.event import CloudEvent
from pydantic import ValidationError

from shared.errors import EvenskinError, MalformedEvent
from shared.events import EVENTS, Event
from shared.tracing import (
    Span,
    continued,
    current_correlation_id,
    current_traceparent,
    is_recording,
    valid_correlation_id,
    valid_traceparent,
)

MAX_BODY_BYTES = 1024 * 1024  # an event carries keys, never a picture
STRUCTURED_CONTENT_TYPE = "application/cloudevents+json"


@dataclass(frozen=True)
class Message:
    """One event with its envelope.

    `id` is the CloudEvents id: the same id is the same happening, however often it is delivered.
    `correlation_id` ties everything that one request caused together, `traceparent` is the W3C trace context it
    is sent in. Both are those of the work under way unless others are given.
    """

    event: Event
    source: str
    id: str = field(default_factory=lambda: str(uuid4()))
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    correlation_id: str = field(default_factory=current_correlation_id)
    traceparent: str = field(default_factory=current_traceparent)

    def caused(self, event: Event, *, source: str, id: str | None = None) -> Message:
        """The message of an event that this one caused: same correlation and trace."""
        caused = Message(event, source, correlation_id=self.correlation_id, traceparent=continued(self.traceparent))
        return replace(caused, id=id) if id else caused


@contextlib.contextmanager
def sending(message: Message) -> Iterator[Message]:
    """A message as it goes out, while it does: where spans are recorded, its sending is one, and carries on from it."""
    if not is_recording():
        yield message
        return
    name = message.event.name()
    with Span(f"send {name}", kind="producer", parent=message.traceparent, correlation_id=message.correlation_id):
        yield replace(message, traceparent=current_traceparent())


@dataclass(frozen=True)
class Wire:
    """A message as a broker carries it."""

    routing_key: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes


def encode(message: Message) -> Wire:
    """Message → structured-mode CloudEvent."""
    attributes = {
        "specversion": "1.0",
        "type": message.event.name(),
        "source": f"/evenskin/{message.source}",
        "id": message.id,
        "time": message.time,
        "datacontenttype": "application/json",
        "correlationid": message.correlation_id,
        "traceparent": message.traceparent,
    }
    wire = to_structured_event(CloudEvent(attributes, message.event.model_dump(mode="json")))
    return Wire(message.event.name(), wire.content_type or STRUCTURED_CONTENT_TYPE, wire.headers, wire.body)


def decode(wire: Wire) -> Message:
    """Structured, binary or (for what an operator may send) bare JSON → Message.

    Raises MalformedEvent, with the reason in one sentence.
    """
    if len(wire.body) > MAX_BODY_BYTES:
        raise MalformedEvent(f"The message has {len(wire.body)} bytes; at most {MAX_BODY_BYTES} are read.")
    headers = {str(key): str(value) for key, value in wire.headers.items()}
    is_structured = wire.content_type.lower().startswith("application/cloudevents")
    is_binary = any(key.lower() == "ce-type" for key in headers)
    if not is_structured and not is_binary:
        return _from_bare(wire)
    try:
        cloud_event = from_rabbitmq_event(RabbitMQMessage(headers, wire.content_type or "application/json", wire.body))
    except (BaseCloudEventException, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedEvent(f"The message is not a CloudEvent: {error}.") from error
    data: object = cloud_event.get_data()
    if isinstance(data, str | bytes):
        data = _json(data)
    event = _event(cloud_event.get_type(), data)
    time = cloud_event.get_time()
    return Message(
        event=event,
        source=cloud_event.get_source().removeprefix("/evenskin/"),
        id=cloud_event.get_id(),
        time=time if time is not None else datetime.now(UTC),
        correlation_id=valid_correlation_id(cloud_event.get_extension("correlationid")) or current_correlation_id(),
        traceparent=valid_traceparent(cloud_event.get_extension("traceparent")) or current_traceparent(),
    )


def _from_bare(wire: Wire) -> Message:
    model = EVENTS.get(wire.routing_key)
    if model is None or not model.from_operator:
        raise MalformedEvent(f"The message is no CloudEvent, and '{wire.routing_key}' is not an operator's event.")
    data = _json(wire.body)
    if isinstance(data, dict) and "specversion" in data and "type" in data:  # structured, sent as plain JSON
        return decode(Wire(wire.routing_key, STRUCTURED_CONTENT_TYPE, wire.headers, wire.body))
    return Message(_event(wire.routing_key, data), source="operator")


def _json(body: str | bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent(f"The message's body is not JSON: {error}.") from error


def _event(name: str, data: object) -> Event:
    model = EVENTS.get(name)
    if model is None:
        raise MalformedEvent(f"'{name[:80]}' is not an event of evenskin.")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise MalformedEvent(f"{name}: {first_problem(error)}.") from error
    except EvenskinError as error:  # unknown condition or severity
        raise MalformedEvent(f"{name}: {error.message}") from error


def first_problem(error: ValidationError) -> str:
    """The first thing a validation found wrong: where, and what."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
