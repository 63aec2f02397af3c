"""The reconciler: what went unanswered past its deadline is asked for again (invariant 10).

Asking again is harmless: image ids, variants and training runs follow from what was asked.
"""

from __future__ import annotations

import asyncio
import time

import sqlalchemy as sa
import structlog

from services.labeler_api.campaigns.campaign import CampaignState, TrainingOverdue
from services.labeler_api.campaigns.closing import apply_to_campaign, publish_again
from services.labeler_api.campaigns.filling import apply_to_slot
from services.labeler_api.campaigns.reviews import end_grace, give_up_variants, image_labeled
from services.labeler_api.campaigns.rows import slot_in
from services.labeler_api.campaigns.slot import RequestDue, RequestOverdue, SlotState
from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.outbox import SOURCE, on_trace
from services.labeler_api.ledger.relay import Relay
from services.labeler_api.ledger.tables import campaign_table, image_table, inbox_table, slot_table
from services.labeler_api.ledger.transaction import Prefetch, Transaction
from services.labeler_api.settings import LabelerSettings
from shared.message import Message

log = structlog.get_logger(__name__)

BATCH = 200  # rows of one transaction, which is how long the event loop is held: the next one takes the rest
INBOX_KEPT_S = 14 * 24 * 3600.0  # seconds: longer than a message stays in any queue


class Reconciler:
    """Looks for overdue work at an interval."""

    def __init__(self, database: Database, settings: LabelerSettings, relay: Relay) -> None:
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

        async def expire(transaction: Transaction) -> None:
            for due in (slot_table.c.deadline, image_table.c.augment_due_at, campaign_table.c.model_due_at):
                await transaction.execute(sa.update(due.table).where(due.is_not(None)).values({due: 0.0}))

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

    async def _requests(self, transaction: Transaction) -> int:
        asks = campaign_table.c.state == CampaignState.RUNNING.value  # not while it is paused
        overdue = await transaction.lock_due(slot_table, slot_table.c.deadline, time.time(), BATCH, only=asks)
        for slot in overdue:
            if slot["state"] == SlotState.REVIEW:  # its image was rejected, and nobody took that back
                await end_grace(transaction, slot, self._settings)
                continue
            # Whose time was set to the very beginning was put off, or its queue is gone with the process that had it.
            if slot["deadline"] == 0.0:
                await apply_to_slot(transaction, slot, RequestDue(), self._settings)
                continue
            before = slot_in(slot)
            await apply_to_slot(transaction, slot, RequestOverdue(self._settings.request_asks), self._settings)
            if not slot_in(slot).is_open_for(before.attempt):
                lost = {"slot_id": str(slot["id"]), "attempt": before.attempt, "asked": before.asks + 1}
                log.warning("attempt_given_up", **lost, campaign_id=str(slot["campaign_id"]))
        return len(overdue)

    async def _augmentations(self, transaction: Transaction) -> int:
        now = time.time()
        overdue = await transaction.lock_due(image_table, image_table.c.augment_due_at, now, BATCH)
        await transaction.prefetch([Prefetch(slot_id=image["slot_id"]) for image in overdue])
        for image in overdue:
            slot = await transaction.slot(image["slot_id"]) if image["slot_id"] else None
            asks = image["augment_asks"] + 1
            if asks > self._settings.augment_asks:
                await give_up_variants(transaction, image, slot, self._settings)
                continue
            due = now + self._settings.augment_deadline_s * 2**asks
            transaction.update(image_table, image, augment_due_at=due, augment_asks=asks)
            # On its campaign's trace, or on one of its own where it was imported.
            event = image_labeled(image)
            transaction.emit(Message(event, SOURCE) if slot is None else on_trace(event, slot))
        return len(overdue)

    async def _trainings(self, transaction: Transaction) -> int:
        overdue = await transaction.lock_due(campaign_table, campaign_table.c.model_due_at, time.time(), BATCH)
        for campaign in overdue:
            if apply_to_campaign(transaction, campaign, TrainingOverdue(), self._settings):
                await publish_again(transaction, campaign)
        return len(overdue)


async def _prune(transaction: Transaction) -> None:
    await transaction.execute(sa.delete(inbox_table).where(inbox_table.c.received_at < time.time() - INBOX_KEPT_S))
