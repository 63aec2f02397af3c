"""The reconciler: what went unanswered past its deadline is asked for again (invariant 10).

Asking again is harmless: image ids, variants and training runs follow from what was asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns import campaign as campaigns
from services.labeler_api.campaigns import closing as datasets
from services.labeler_api.campaigns import reviews
from services.labeler_api.ledger import outbox
from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.tables import campaign_table, image_table, inbox_table, slot_table
from services.labeler_api.pictures import images
from services.labeler_api.settings import LabelerSettings
from shared.events import ImageLabeled, Verdict
from shared.message import Message

log = structlog.get_logger(__name__)

BATCH = 500  # rows of one round: the next round takes the rest
INBOX_KEPT_S = 14 * 24 * 3600.0  # seconds: longer than a message stays in any queue


class Reconciler:
    """Looks for overdue work at an interval."""

    def __init__(self, database: Database, settings: LabelerSettings, relay: outbox.Relay) -> None:
        self._database = database
        self._settings = settings
        self._relay = relay

    async def run(self) -> None:
        """Reconcile for ever."""
        while True:
            await self.reconcile()
            await asyncio.sleep(self._settings.reconcile_s)

    async def expect_nothing(self) -> None:
        """Make everything overdue: after a start on the in-process bus, nothing asked before is under way."""

        async def expire(connection: AsyncConnection) -> None:
            for column in (slot_table.c.deadline, image_table.c.augment_due_at, campaign_table.c.model_due_at):
                await connection.execute(sa.update(column.table).where(column.is_not(None)).values({column: 0.0}))

        await self._database.write(expire)

    async def reconcile(self) -> int:
        """One round. Returns how many messages were sent again."""
        sent = 0
        for round_ in (self._requests, self._augmentations, self._trainings):
            while (batch := await self._database.write(round_)) > 0:
                sent += batch
                self._relay.wake()
                if batch < BATCH:
                    break
        await self._database.write(_prune)
        if sent:
            log.info("work_requested_again", messages=sent)
        return sent

    async def _requests(self, connection: AsyncConnection) -> int:
        now = time.time()
        overdue = (
            sa.select(slot_table, campaign_table.c.correlation_id, campaign_table.c.traceparent)
            .join(campaign_table, campaign_table.c.id == slot_table.c.campaign_id)
            .where(slot_table.c.deadline < now)
            .order_by(slot_table.c.deadline)
            .limit(BATCH)
            .with_for_update(of=slot_table, skip_locked=True)
        )
        rows = await rows_of(connection, overdue)
        outbox.enqueue(connection, [campaigns.request_message(row, row) for row in rows])
        later = sa.update(slot_table).where(slot_table.c.id.in_([row["id"] for row in rows]))
        if rows:
            await connection.execute(later.values(deadline=now + self._settings.request_deadline_s))
        return len(rows)

    async def _augmentations(self, connection: AsyncConnection) -> int:
        now = time.time()
        overdue = (
            sa.select(image_table, campaign_table.c.correlation_id, campaign_table.c.traceparent)
            .outerjoin(slot_table, slot_table.c.id == image_table.c.slot_id)
            .outerjoin(campaign_table, campaign_table.c.id == slot_table.c.campaign_id)
            .where(image_table.c.augment_due_at < now)
            .order_by(image_table.c.augment_due_at)
            .limit(BATCH)
            .with_for_update(of=image_table, skip_locked=True)
        )
        rows = await rows_of(connection, overdue)
        outbox.enqueue(connection, [_labeled_again(row) for row in rows])
        if rows:
            later = sa.update(image_table).where(image_table.c.id.in_([row["id"] for row in rows]))
            await connection.execute(later.values(augment_due_at=now + self._settings.augment_deadline_s))
        return len(rows)

    async def _trainings(self, connection: AsyncConnection) -> int:
        now = time.time()
        overdue = sa.select(campaign_table).where(campaign_table.c.model_due_at < now).limit(BATCH)
        rows = await rows_of(connection, overdue.with_for_update(skip_locked=True))
        outbox.enqueue(connection, [await datasets.quota_met_again(connection, row) for row in rows])
        if rows:
            later = sa.update(campaign_table).where(campaign_table.c.id.in_([row["id"] for row in rows]))
            await connection.execute(later.values(model_due_at=now + self._settings.training_deadline_s))
        return len(rows)


def _labeled_again(row: Mapping[str, Any]) -> Message:
    """The ImageLabeled of an accepted image: on its campaign's trace, or on one of its own where it was imported."""
    event = ImageLabeled(
        image_id=row["id"],
        key=row["key"],
        verdict=Verdict.ACCEPTED,
        labels=images.load_labels(row["labels"]),
        complete=row["complete"],
        reviewer=row["reviewer"] or reviews.GATE,
    )
    return outbox.on_trace(event, row) if row["correlation_id"] else Message(event, outbox.SOURCE)


async def _prune(connection: AsyncConnection) -> None:
    await connection.execute(sa.delete(inbox_table).where(inbox_table.c.received_at < time.time() - INBOX_KEPT_S))
