"""Outbox, relay and inbox: a handler's change and the events it causes are one transaction (invariant 2)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.ledger import deferred
from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.statements import among, each, per_dialect
from services.labeler_api.ledger.tables import inbox_table, outbox_table
from services.labeler_api.ledger.wakeable import Wakeable
from shared.bus import Bus
from shared.errors import EvenskinError
from shared.events import EVENTS, Event
from shared.message import Message, new_id
from shared.tracing import continued, new_traceparent, valid_traceparent

log = structlog.get_logger(__name__)

SOURCE = "labeler-api"
BATCH = 200  # messages published at a time: enough to hide the confirms' latency
GATHER_S = 0.05  # seconds that wakes are gathered for: messages of several transactions go out together
POLL_S = 0.5  # seconds between looks for what another replica's transaction left
RETRY_S = 2.0  # seconds before a message that was not taken is published again
INBOX_ID_CHARACTERS = 256
TRACE_CHARACTERS = 128  # of a correlation id or trace parent, which come from outside

T = TypeVar("T", str, str | None)

_NOTE = per_dialect(
    lambda insert: (
        insert(inbox_table)
        .from_select(
            ["message_id", "received_at"],
            # SQLite takes the ON of a conflict for a join's unless there is a WHERE before it.
            sa.select(each("ids", inbox_table.c.message_id.type), sa.bindparam("now", type_=sa.Double)).where(
                sa.true()
            ),
        )
        .on_conflict_do_nothing()
        .returning(inbox_table.c.message_id)
    )
)
_DUE = (
    sa.select(outbox_table)
    .where(outbox_table.c.due_at <= sa.bindparam("now"))
    .order_by(outbox_table.c.due_at, outbox_table.c.sequence)
    .limit(BATCH)
    .with_for_update(skip_locked=True)
)
_FORGET = sa.delete(outbox_table).where(among(outbox_table.c.sequence, "which"))
_DELAY = sa.update(outbox_table).where(among(outbox_table.c.sequence, "which")).values(due_at=sa.bindparam("later"))


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


def enqueue(connection: AsyncConnection, messages: Sequence[Message]) -> None:
    """Write events into the outbox, at the end of the transaction that causes them."""
    now = time.time()
    rows = [
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
    deferred.insert(connection, outbox_table, rows)


async def first_times(connection: AsyncConnection, messages: Sequence[Message]) -> list[bool]:
    """Note messages in the inbox; False for each that was handled before, or stands before in the sequence."""
    now = time.time()
    ids = [_inbox_id(message) for message in messages]
    # In the order of ids: so no two transactions that note the same messages can deadlock on them.
    noted = {"ids": sorted(set(ids)), "now": now}
    new = set((await connection.execute(_NOTE[connection.dialect.name], noted)).scalars())
    first = []
    for id_ in ids:
        first.append(id_ in new)
        new.discard(id_)
    return first


def _inbox_id(message: Message) -> str:
    identity = f"{message.event.name()}/{message.id}"
    if len(identity) <= INBOX_ID_CHARACTERS and "\0" not in identity:
        return identity
    return hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()  # somebody else's idea of an id


class Relay:
    """Publishes the outbox with confirms, oldest first; a message leaves it only once the broker has it."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._loop = Wakeable(gather_s=GATHER_S, poll_s=POLL_S)

    def wake(self) -> None:
        """There is something new: look at once."""
        self._loop.wake()

    async def run(self) -> None:
        """Publish for ever."""
        await self._loop.run(self._publish_all)

    async def _publish_all(self) -> None:
        while await self._database.write(self._publish_batch):
            pass

    async def _publish_batch(self, connection: AsyncConnection) -> bool:
        """Publish what is due. Returns whether there may be more.

        The rows stay locked meanwhile, so that replicas share the work; a crash publishes them again.
        """
        rows = (await connection.execute(_DUE, {"now": time.time()})).mappings().all()
        if not rows:
            return False
        results = await asyncio.gather(*(self._publish(row) for row in rows), return_exceptions=True)
        sent, failed = [], []
        for row, result in zip(rows, results, strict=True):
            if result is None:
                sent.append(row["sequence"])
            elif isinstance(result, EvenskinError):
                failed.append(row["sequence"])
                log.warning(
                    "event_not_taken",
                    type=row["event"],
                    error=result.message,
                    correlation_id=row["correlation_id"],
                )
            else:
                raise result
        if sent:
            await connection.execute(_FORGET, {"which": sent})
        if failed:
            await connection.execute(_DELAY, {"which": failed, "later": time.time() + RETRY_S})
        return len(rows) == BATCH and not failed

    async def _publish(self, row: sa.RowMapping) -> None:
        event = EVENTS[row["event"]].model_validate(row["body"])
        await self._bus.publish(on_trace(event, row, id=row["message_id"]))
