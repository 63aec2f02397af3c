"""Closing a campaign: the dataset's manifest is written, and QuotaMet says so.

It waits for variants that are still to come, but not for ever. Writing a manifest twice changes nothing: the same
images give the same version.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns.campaign import (
    ACTIVE,
    CampaignState,
    DatasetWritten,
    Happening,
    SlotsEnded,
    decide,
)
from services.labeler_api.campaigns.dataset import read_dataset
from services.labeler_api.campaigns.rows import campaign_in
from services.labeler_api.campaigns.slot import SlotState
from services.labeler_api.ledger import counters
from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.dialects import per_dialect
from services.labeler_api.ledger.outbox import on_trace
from services.labeler_api.ledger.relay import Relay
from services.labeler_api.ledger.tables import campaign_table, dataset_table, image_table, slot_table
from services.labeler_api.ledger.transaction import Row, Transaction
from services.labeler_api.ledger.wakeable import Wakeable
from services.labeler_api.settings import LabelerSettings
from services.labeler_api.webhooks import telling
from shared.blobs import Blobs
from shared.errors import PreconditionFailed
from shared.events import QuotaMet
from shared.taxonomy import Condition
from shared.tracing import Span, valid_traceparent

log = structlog.get_logger(__name__)

GATHER_S = 0.2  # seconds that wakes are gathered for: one look answers them all
POLL_S = 1.0  # seconds between looks at campaigns that nobody woke us for

_ACTIVE_CAMPAIGNS = (
    sa.select(campaign_table)
    .where(campaign_table.c.state.in_([state.value for state in ACTIVE]))
    .order_by(campaign_table.c.sequence)
)
# Not those accepted since: while another campaign is filled, there are always some.
_AN_AWAITED_IMAGE = (
    sa.select(image_table.c.id)
    .where(image_table.c.augment_due_at.is_not(None), image_table.c.labeled_at <= sa.bindparam("since"))
    .limit(1)
)
_A_FAILED_SLOT = (
    sa.select(slot_table.c.rejections)
    .where(
        slot_table.c.campaign_id == sa.bindparam("campaign_id", type_=sa.Uuid),
        slot_table.c.state == SlotState.FAILED.value,
    )
    .limit(1)
)
_INSERT_DATASET_IF_NEW = per_dialect(lambda insert: insert(dataset_table).on_conflict_do_nothing())


class Closer:
    """Ends campaigns whose slots have all ended."""

    def __init__(self, database: Database, blobs: Blobs, settings: LabelerSettings, relay: Relay) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._relay = relay
        self._loop = Wakeable(gather_s=GATHER_S, poll_s=POLL_S)

    def wake(self) -> None:
        """A slot ended, or a campaign began."""
        self._loop.wake()

    async def run(self) -> None:
        """Close campaigns for ever."""
        await self._loop.run(self.close_ended)

    async def close_ended(self) -> None:
        """One round over the campaigns that have not ended yet."""
        async with self._database.reading() as connection:
            campaigns = await rows_of(connection, _ACTIVE_CAMPAIGNS)
            over = [row for row in campaigns if await _is_over(connection, row)]
        for row in over:
            if row["state"] != CampaignState.CLOSING and not await self._begin_closing(row):
                continue
            if await self._waits_for_variants(row):
                continue
            with _span("close campaign", row):
                await self._publish_dataset(row["id"])

    async def _waits_for_variants(self, campaign: Row) -> bool:
        """Whether a closing campaign's dataset waits for variants that are still to come, as it does for some time."""
        since = campaign["closing_at"] or (
            campaign["created_at"] if campaign["state"] == CampaignState.CLOSING else time.time()
        )
        async with self._database.reading() as connection:
            if (await connection.execute(_AN_AWAITED_IMAGE, {"since": since})).first() is None:
                return False
        campaign_id, wait_s = str(campaign["id"]), self._settings.augment_wait_s
        if time.time() < since + wait_s:
            log.debug("dataset_waits_for_variants", campaign_id=campaign_id)
            return True
        log.warning("dataset_without_variants", campaign_id=campaign_id, waited_s=wait_s)
        return False

    async def _begin_closing(self, row: Row) -> bool:
        """Tell a campaign that its slots have ended; True if it is closing now."""

        async def tell(transaction: Transaction) -> bool:
            campaign = await transaction.campaign(row["id"])
            # Counted again under the lock: a review may have reopened a slot meanwhile.
            ended = slots_ended(await transaction.totals(f"campaign/{row['id']}/"))
            if ended.failed:
                ended = replace(ended, why=await _why_one_failed(transaction, row["id"]))
            if campaign is None or not apply_to_campaign(transaction, campaign, ended, self._settings):
                return False
            log.info("campaign_settled", campaign_id=str(row["id"]), state=campaign["state"])
            return bool(campaign["state"] == CampaignState.CLOSING)

        with _span("settle campaign", row):
            return await self._database.write(tell)

    async def _publish_dataset(self, campaign_id: UUID) -> None:
        dataset = await read_dataset(self._database)
        row = dataset.row
        with contextlib.suppress(PreconditionFailed):  # an earlier, interrupted round wrote the same bytes
            await self._blobs.put(
                row["manifest_key"], dataset.manifest, content_type="application/jsonl", if_absent=True
            )

        async def publish(transaction: Transaction) -> None:
            campaign = await transaction.campaign(campaign_id)
            if campaign is None or not apply_to_campaign(transaction, campaign, DatasetWritten(), self._settings):
                return  # another replica was quicker
            await transaction.execute(_INSERT_DATASET_IF_NEW[transaction.dialect], row)
            transaction.update(campaign_table, campaign, met_at=time.time(), dataset_version=row["version"])
            event = quota_met(campaign, row)
            transaction.emit(on_trace(event, campaign))
            telling.tell(transaction, event, self._settings)
            told = {name: row[name] for name in ("images", "variants", "without_variants")}
            log.info("quota_met", campaign_id=str(campaign_id), dataset_version=row["version"], **told)

        await self._database.write(publish)
        self._relay.wake()


def apply_to_campaign(transaction: Transaction, row: Row, happening: Happening, settings: LabelerSettings) -> bool:
    """Apply what happened to a campaign in hand, and write what follows. Returns whether anything did."""
    before = campaign_in(row)
    after, effects = decide(before, happening)
    changes: dict[str, object] = {}
    if (after.state, after.reason) != (before.state, before.reason):
        changes |= {"state": after.state.value, "reason": after.reason}
    if after.state is CampaignState.CLOSING is not before.state:
        changes["closing_at"] = time.time()
    if effects.await_model:
        changes["model_due_at"] = time.time() + settings.training_deadline_s
    elif before.awaits_model and not after.awaits_model:
        changes["model_due_at"] = None
    if changes:
        transaction.update(campaign_table, row, **changes)
    if after.state is CampaignState.PAUSED is not before.state:
        telling.tell_paused(transaction, row["id"], after.reason, settings)
    return bool(changes)


def quota_met(campaign: Row, dataset: Row) -> QuotaMet:
    """The QuotaMet of a campaign and the dataset that it brought about, by their rows."""
    return QuotaMet(
        campaign_id=campaign["id"],
        dataset_version=dataset["version"],
        manifest_key=dataset["manifest_key"],
        counts={Condition(name): n for name, n in dataset["counts"].items()},
        images=dataset["images"],
        variants=dataset["variants"],
        without_variants=dataset["without_variants"],
    )


async def publish_again(transaction: Transaction, campaign: Row) -> None:
    """Publish the QuotaMet of a met campaign once more."""
    query = sa.select(dataset_table).where(dataset_table.c.version == campaign["dataset_version"])
    (dataset,) = await rows_of(transaction, query)
    transaction.emit(on_trace(quota_met(campaign, dataset), campaign))


def slots_ended(totals: dict[str, int]) -> SlotsEnded:
    """How many slots of one campaign are counted, and how many failed. `totals`: of its counters."""
    ended: Counter[str] = Counter()
    for name, total in totals.items():
        ended[name.split("/")[2]] += total
    return SlotsEnded(counted=ended[SlotState.COUNTED], failed=ended[SlotState.FAILED])


async def _why_one_failed(transaction: Transaction, campaign_id: UUID) -> str | None:
    """What the last attempt at one of a campaign's failed slots ended with, in its provider's words or the gate's."""
    found = (await transaction.execute(_A_FAILED_SLOT, {"campaign_id": campaign_id})).first()
    return found.rejections[-1] if found is not None and found.rejections else None


async def _is_over(connection: AsyncConnection, campaign: Row) -> bool:
    ended = slots_ended(await counters.totals(connection, f"campaign/{campaign['id']}/"))
    total: int = campaign["total"]
    return campaign["state"] == CampaignState.CLOSING or ended.counted + ended.failed >= total


def _span(name: str, campaign: Row) -> Span:
    """Work on a campaign, on the trace of its request."""
    return Span(name, parent=valid_traceparent(campaign["traceparent"]), correlation_id=campaign["correlation_id"])
