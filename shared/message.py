"""An event on its way: the CloudEvents attributes around it, and how it becomes bytes and back.

Both adapters of the bus carry the same bytes. Structured mode is sent; structured and binary mode are read, by one
set of rules. Tests hold both modes to the CloudEvents SDK, which is not used here: it takes at least twice the time,
and its packages would be in every image.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import ValidationError
from pydantic_core import from_json

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
BINARY_PREFIX = "ce-"  # of headers, as most clients send them
# The AMQP binding's own; the second is for clients that take no colon. RabbitMQ passes on what it is sent.
_BINDING_PREFIXES = ("cloudevents:", "cloudevents_")  # https://github.com/cloudevents/spec, bindings/amqp, 3.1.3.1
SPECVERSION = "1.0"  # of CloudEvents
SOURCE_PREFIX = "/evenskin/"
GIVEN_ID = "evenskin-id"  # header: the id that we gave a message whose sender gave it none
_NAMED = {f"{BINARY_PREFIX}id", GIVEN_ID}


def named_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in small letters, with CloudEvents' attributes under one prefix, however they came."""
    found = {}
    for key, value in headers.items():
        name = str(key).lower()
        prefix = next((prefix for prefix in _BINDING_PREFIXES if name.startswith(prefix)), "")
        found[BINARY_PREFIX + name.removeprefix(prefix) if prefix else name] = str(value)
    return found


def new_id() -> str:
    """An id of a new happening."""
    return str(uuid4())


@dataclass(frozen=True)
class Message:
    """One event with its envelope.

    `source` and `id` are CloudEvents': the same two are the same happening, however often it is delivered.
    `likeness`: of a message that its sender gave no id, a hash of what it says; of any other None.
    `correlation_id` ties everything that one request caused together, `traceparent` is the W3C trace context it
    is sent in. Both are those of the work under way unless others are given.
    """

    event: Event
    source: str
    id: str = field(default_factory=new_id)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    correlation_id: str = field(default_factory=current_correlation_id)
    traceparent: str = field(default_factory=current_traceparent)
    likeness: str | None = None

    def caused(self, event: Event, *, source: str, id: str | None = None) -> Message:
        """The message of an event that this one caused: same correlation and trace."""
        identity = id or new_id()
        return Message(
            event, source, identity, correlation_id=self.correlation_id, traceparent=continued(self.traceparent)
        )


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
    """A message as a broker carries it.

    `message_id`: what AMQP's property of this name says. `is_redelivered`: it came before, and nobody acknowledged it.
    """

    routing_key: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes
    message_id: str | None = None
    is_redelivered: bool = False


def encode(message: Message) -> Wire:
    """Message → structured-mode CloudEvent."""
    name = message.event.name()
    attributes = {
        "specversion": SPECVERSION,
        "type": name,
        "source": SOURCE_PREFIX + message.source,
        "id": message.id,
        "time": message.time.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "correlationid": message.correlation_id,
        "traceparent": message.traceparent,
    }
    # One document of two halves: what Python's JSON writer would take for the data, pydantic does in a quarter.
    body = f'{json.dumps(attributes)[:-1]}, "data": {message.event.model_dump_json()}}}'
    return Wire(name, STRUCTURED_CONTENT_TYPE, {}, body.encode())


def decode(wire: Wire) -> Message:
    """Structured, binary or (for what an operator may send) bare JSON → Message.

    Bare JSON, and binary mode without an id, is known by its AMQP `message_id` and what it says. Without one, every
    delivery is another message, but for those that the broker marks as redelivered: they are known by what they say.

    Raises MalformedEvent, with the reason in one sentence.
    """
    if len(wire.body) > MAX_BODY_BYTES:
        raise MalformedEvent(f"The message has {len(wire.body)} bytes; at most {MAX_BODY_BYTES} are read.")
    if wire.content_type.lower().startswith("application/cloudevents"):
        return _from_document(_json(wire.body))
    headers = named_headers(wire.headers)
    if f"{BINARY_PREFIX}type" in headers:
        return _from_binary(headers, wire)
    return _from_bare(wire)


def identified(wire: Wire) -> Wire:
    """The wire with its id in a header, if its sender gave it none: so it is the same however often it is read."""
    is_structured = wire.content_type.lower().startswith("application/cloudevents")
    if is_structured or not named_headers(wire.headers).keys().isdisjoint(_NAMED):
        return wire
    return replace(wire, headers={**wire.headers, GIVEN_ID: _identity(wire)[0]})


def likeness_of(body: bytes) -> str:
    """The id of a message that its sender gave none, and that the broker delivers again: a hash of what it says."""
    return hashlib.sha256(body).hexdigest()


def _identity(wire: Wire) -> tuple[str, str | None]:
    """Id and likeness of a message whose sender gave it no id of CloudEvents."""
    likeness = likeness_of(wire.body)
    if given := wire.headers.get(GIVEN_ID):
        return given, likeness
    if wire.message_id:  # with what it says: two tools that number from 1 are told apart
        return hashlib.sha256(f"{wire.message_id}\n{likeness}".encode(errors="surrogatepass")).hexdigest(), None
    return likeness if wire.is_redelivered else new_id(), likeness


def _from_binary(headers: Mapping[str, str], wire: Wire) -> Message:
    """Binary mode: its headers are the members of a structured document. Id and version may be left out."""
    members = {
        name.removeprefix(BINARY_PREFIX): value for name, value in headers.items() if name.startswith(BINARY_PREFIX)
    }
    if "id" in members:
        return _from_document({"specversion": SPECVERSION, **members, "data": wire.body})
    id_, likeness = _identity(wire)
    return _from_document({"specversion": SPECVERSION, "id": id_, **members, "data": wire.body}, likeness)


def _from_document(document: object, likeness: str | None = None) -> Message:
    if not isinstance(document, dict):
        raise MalformedEvent("The message is not a CloudEvent: it is no JSON object.")
    if document.get("specversion") != SPECVERSION:
        raise MalformedEvent(f"The message is not a CloudEvent of version {SPECVERSION}.")
    for name in ("id", "source", "type"):
        if not isinstance(document.get(name), str) or not document[name]:
            raise MalformedEvent(f"The message is not a CloudEvent: its {name} is missing or no text.")
    data = document.get("data")
    if data is None and "data_base64" in document:
        try:
            data = b64decode(document["data_base64"])
        except (ValueError, TypeError) as error:
            raise MalformedEvent(f"The message's data_base64 cannot be read: {error}.") from error
    if isinstance(data, str | bytes):
        data = _json(data)
    return Message(
        event=_event(document["type"], data),
        source=document["source"].removeprefix(SOURCE_PREFIX),
        id=document["id"],
        time=_time(document.get("time")),
        correlation_id=valid_correlation_id(document.get("correlationid")) or current_correlation_id(),
        traceparent=valid_traceparent(document.get("traceparent")) or current_traceparent(),
        likeness=likeness,
    )


def _time(value: object) -> datetime:
    """When it happened: now, where the sender does not say."""
    if value is None:
        return datetime.now(UTC)
    try:
        time = datetime.fromisoformat(str(value).upper())  # RFC 3339 lets a sender write t and z
    except ValueError as error:
        raise MalformedEvent(f"The message's time cannot be read: {error}.") from error
    if time.tzinfo is None:
        raise MalformedEvent("The message's time has no offset from UTC.")
    return time


def _from_bare(wire: Wire) -> Message:
    model = EVENTS.get(wire.routing_key)
    if model is None or not model.from_operator:
        raise MalformedEvent(f"The message is no CloudEvent, and '{wire.routing_key}' is not an operator's event.")
    data = _json(wire.body)
    if isinstance(data, dict) and "specversion" in data and "type" in data:  # structured, sent as plain JSON
        return _from_document(data)
    id_, likeness = _identity(wire)
    return Message(_event(wire.routing_key, data), source="operator", id=id_, likeness=likeness)


def _json(body: str | bytes) -> object:
    """A body as JSON; the byte order mark that some editors and PowerShell begin a text with is passed over."""
    try:
        return from_json(body.removeprefix(codecs.BOM_UTF8) if isinstance(body, bytes) else body)
    except ValueError as error:
        raise MalformedEvent(f"The message's body is not JSON: {error}.") from error


def _event(name: str, data: object) -> Event:
    model = EVENTS.get(name)
    if model is None:
        raise MalformedEvent(f"'{name[:80]}' is not an event of evenskin.")
    try:
        return model.model_validate(model.understood(data))
    except ValidationError as error:
        problem = f"{name}: {first_problem(error)}."
        answerable = model.unreadable(data, problem)
        if answerable is not None:
            return answerable
        raise MalformedEvent(problem) from error
    except EvenskinError as error:  # unknown condition or severity
        raise MalformedEvent(f"{name}: {error.message}") from error


def first_problem(error: ValidationError) -> str:
    """The first thing a validation found wrong: where, and what."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
