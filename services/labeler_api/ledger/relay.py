"""The relay: publishes the outbox with confirms, oldest first; a message leaves it only once the broker has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
import structlog

from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.dialects import among
from services.labeler_api.ledger.outbox import on_trace
from services.labeler_api.ledger.tables import outbox_table
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.ledger.wakeable import Wakeable
from shared.bus import Bus
from shared.errors import EvenskinError
from shared.events import EVENTS
from shared.message import Message

log = structlog.get_logger(__name__)

BATCH = 200  # messages published at a time: enough to hide the confirms' latency
GATHER_S = 0.05  # seconds that wakes are gathered for: messages of several transactions go out together
POLL_S = 0.5  # seconds between looks for what another replica's transaction left
RETRY_S = 2.0  # seconds before a message that was not taken is published again

_DUE_MESSAGES = (
    sa.select(outbox_table)
    .where(outbox_table.c.due_at <= sa.bindparam("now"), outbox_table.c.parked_at.is_(None))
    .order_by(outbox_table.c.due_at, outbox_table.c.sequence)
    .limit(BATCH)
    .with_for_update(skip_locked=True)
)
_DELETE_MESSAGES = sa.delete(outbox_table).where(among(outbox_table.c.sequence, "sequences"))
_DELAY_MESSAGES = (
    sa.update(outbox_table).where(among(outbox_table.c.sequence, "sequences")).values(due_at=sa.bindparam("later"))
)
_PARK_MESSAGE = (
    sa.update(outbox_table)
    .where(outbox_table.c.sequence == sa.bindparam("which"))
    .values(parked_at=sa.bindparam("now"), error=sa.bindparam("why"))
)
_UNPARK_MESSAGES = sa.update(outbox_table).where(outbox_table.c.parked_at.is_not(None)).values(parked_at=None)


@dataclass
class _Round:
    """What became of the messages of one round, by their sequence numbers. `parked`: with the error."""

    sent: list[int] = field(default_factory=list)
    delayed: list[int] = field(default_factory=list)
    parked: dict[int, str] = field(default_factory=dict)

    async def record(self, transaction: Transaction) -> None:
        """Delete what was sent, delay what was not taken, park what cannot be published."""
        now = time.time()
        if self.sent:
            await transaction.execute(_DELETE_MESSAGES, {"sequences": self.sent})
        if self.delayed:
            await transaction.execute(_DELAY_MESSAGES, {"sequences": self.delayed, "later": now + RETRY_S})
        for sequence, why in self.parked.items():
            await transaction.execute(_PARK_MESSAGE, {"which": sequence, "now": now, "why": why})


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

    async def unpark(self, transaction: Transaction) -> None:
        """Try again what was parked: at a start, for a newer version may know what an older one did not."""
        await transaction.execute(_UNPARK_MESSAGES)

    async def _publish_all(self) -> None:
        publish = self._publish_read if self._database.is_sqlite else self._publish_locked
        while await publish():
            pass

    async def _publish_locked(self) -> bool:
        """Publish what is due, locked meanwhile, so that replicas share the work. Returns whether there may be more.

        A crash publishes it again.
        """

        async def publish(transaction: Transaction) -> bool:
            rows = (await transaction.execute(_DUE_MESSAGES, {"now": time.time()})).mappings().all()
            done = await self._publish_rows(rows)
            await done.record(transaction)
            return len(rows) == BATCH and not done.delayed

        return await self._database.write(publish)

    async def _publish_read(self) -> bool:
        """The same on SQLite, which has one relay and one writer: a stalled broker must not hold up the writer."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_DUE_MESSAGES, {"now": time.time()})).mappings().all()
        if not rows:
            return False
        done = await self._publish_rows(rows)
        await self._database.write(done.record)
        return len(rows) == BATCH and not done.delayed

    async def _publish_rows(self, rows: Sequence[sa.RowMapping]) -> _Round:
        done = _Round()
        messages: dict[int, Message] = {}
        for row in rows:
            try:
                event = EVENTS[row["event"]].model_validate(row["body"])
                messages[row["sequence"]] = on_trace(event, row, id=row["message_id"])
            except Exception as error:  # whatever is in one row, its neighbours are published
                done.parked[row["sequence"]] = _parked(row["event"], row["correlation_id"], error)
        results = await asyncio.gather(*map(self._bus.publish, messages.values()), return_exceptions=True)
        for (sequence, message), result in zip(messages.items(), results, strict=True):
            if result is None:
                done.sent.append(sequence)
            elif isinstance(result, EvenskinError):
                done.delayed.append(sequence)
                log.warning(
                    "event_not_taken",
                    type=message.event.name(),
                    error=result.message,
                    correlation_id=message.correlation_id,
                )
            elif isinstance(result, Exception):  # of this one message: its neighbours must not go out again for it
                done.parked[sequence] = _parked(message.event.name(), message.correlation_id, result)
            else:
                raise result
        return done


def _parked(event: str, correlation_id: str, error: Exception) -> str:
    """Tell that an event cannot be published. Returns why."""
    why = f"{type(error).__name__}: {error}"
    log.error("event_parked", type=event, error=why, correlation_id=correlation_id)
    return why
