"""The relay: publishes the outbox with confirms, oldest first; a message leaves it only once the broker has it."""

from __future__ import annotations

import asyncio
import time

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

log = structlog.get_logger(__name__)

BATCH = 200  # messages published at a time: enough to hide the confirms' latency
GATHER_S = 0.05  # seconds that wakes are gathered for: messages of several transactions go out together
POLL_S = 0.5  # seconds between looks for what another replica's transaction left
RETRY_S = 2.0  # seconds before a message that was not taken is published again

_DUE_MESSAGES = (
    sa.select(outbox_table)
    .where(outbox_table.c.due_at <= sa.bindparam("now"))
    .order_by(outbox_table.c.due_at, outbox_table.c.sequence)
    .limit(BATCH)
    .with_for_update(skip_locked=True)
)
_DELETE_MESSAGES = sa.delete(outbox_table).where(among(outbox_table.c.sequence, "sequences"))
_DELAY_MESSAGES = (
    sa.update(outbox_table).where(among(outbox_table.c.sequence, "sequences")).values(due_at=sa.bindparam("later"))
)


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

    async def _publish_batch(self, transaction: Transaction) -> bool:
        """Publish what is due. Returns whether there may be more.

        The rows stay locked meanwhile, so that replicas share the work; a crash publishes them again.
        """
        rows = (await transaction.execute(_DUE_MESSAGES, {"now": time.time()})).mappings().all()
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
            await transaction.execute(_DELETE_MESSAGES, {"sequences": sent})
        if failed:
            await transaction.execute(_DELAY_MESSAGES, {"sequences": failed, "later": time.time() + RETRY_S})
        return len(rows) == BATCH and not failed

    async def _publish(self, row: sa.RowMapping) -> None:
        event = EVENTS[row["event"]].model_validate(row["body"])
        await self._bus.publish(on_trace(event, row, id=row["message_id"]))
