"""The outbox: events that a transaction causes are rows of it, which the relay publishes (invariant 2)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from shared.events import Event
from shared.message import Message, new_id
from shared.tracing import continued, new_traceparent, valid_traceparent

SOURCE = "labeler-api"
TRACE_CHARACTERS = 128  # of a correlation id or trace parent, which come from outside

T = TypeVar("T", str, str | None)


def storable(text: T, characters: int | None = None) -> T:
    """Text from outside as a database takes it: no NUL, which PostgreSQL refuses, and no more than this long."""
    return text if text is None else text.replace("\0", "\ufffd")[:characters]


def on_trace(event: Event, row: Mapping[str, Any] | sa.RowMapping, *, id: str | None = None) -> Message:
    """An event with the correlation id and on the trace that a campaign's or an outbox's row keeps."""
    return Message(
        event,
        SOURCE,
        id or new_id(),
        correlation_id=row["correlation_id"],
        traceparent=continued(valid_traceparent(row["traceparent"]) or new_traceparent()),
    )


def outbox_rows(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as rows of the outbox, due at once."""
    now = time.time()
    return [
        {
            "message_id": message.id,
            "event": message.event.name(),
            "body": message.event.model_dump(mode="json"),
            "correlation_id": storable(message.correlation_id, TRACE_CHARACTERS),
            "traceparent": storable(message.traceparent, TRACE_CHARACTERS),
            "created_at": now,
            "due_at": now,
        }
        for message in messages
    ]
