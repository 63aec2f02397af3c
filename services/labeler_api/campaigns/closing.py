"""Closing a campaign: the dataset's manifest is written, and QuotaMet says so.

A manifest's version is a hash of its bytes: the same images give the same version, and writing it twice
changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns import campaign as campaigns
from services.labeler_api.ledger import outbox
from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.tables import campaign_table, dataset_table, image_table, variant_table
from services.labeler_api.ledger.wakeable import Wakeable
from services.labeler_api.pictures import images
from services.labeler_api.pictures.images import Status
from services.labeler_api.settings import LabelerSettings
from shared.blobs import Blobs
from shared.errors import PreconditionFailed
from shared.events import QuotaMet
from shared.manifest import ManifestImage, ManifestVariant, dump_manifest
from shared.message import Message
from shared.taxonomy import Condition, Fold
from shared.tracing import Span, valid_traceparent

log = structlog.get_logger(__name__)

GATHER_S = 0.2  # seconds that wakes are gathered for: one look answers them all
POLL_S = 1.0  # seconds between looks at campaigns that nobody woke us for


class Closer:
    """Ends campaigns whose slots are all settled."""

    def __init__(self, database: Database, blobs: Blobs, settings: LabelerSettings, relay: outbox.Relay) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._relay = relay
        self._loop = Wakeable(gather_s=GATHER_S, poll_s=POLL_S)

    def wake(self) -> None:
        """A slot was settled, or a campaign began."""
        self._loop.wake()

    async def run(self) -> None:
        """Close campaigns for ever."""
        await self._loop.run(self.close_settled)

    async def close_settled(self) -> None:
        """One round over the campaigns that run or are closing."""
        unended = (
            sa.select(campaign_table)
            .where(campaign_table.c.state.in_([campaigns.RUNNING, campaigns.CLOSING]))
            .order_by(campaign_table.c.sequence)
        )
        async with self._database.reading() as connection:
            rows = [row for row in await rows_of(connection, unended) if await _is_over(connection, row)]
        for row in rows:
            if row["state"] == campaigns.CLOSING or await self._settle(row):
                with _span("close campaign", row):
                    await self._close(row["id"])

    async def _settle(self, row: dict[str, Any]) -> bool:
        """Move a campaign whose slots are all settled to its next state; True if that is closing."""

        async def settle(connection: AsyncConnection) -> bool:
            # Looked at again under the lock: a review may have reopened a slot meanwhile.
            campaign = await campaigns.campaign_row(connection, row["id"], lock=True)
            counted, failed = await campaigns.ended(connection, row["id"])
            if campaign["state"] != campaigns.RUNNING or counted + failed < campaign["total"]:
                return False
            state = campaigns.EXHAUSTED if failed else campaigns.CLOSING
            reason = f"{failed} of {campaign['total']} slots used up their attempts or the budget" if failed else None
            update = sa.update(campaign_table).where(campaign_table.c.id == row["id"])
            await connection.execute(update.values(state=state, reason=reason))
            log.info("campaign_settled", campaign_id=str(row["id"]), state=state)
            return state == campaigns.CLOSING

        with _span("settle campaign", row):
            return await self._database.write(settle)

    async def _close(self, campaign_id: UUID) -> None:
        async with self._database.reading() as connection:
            entries = await _entries(connection)
        data = dump_manifest(entries)
        version = f"ds-{hashlib.sha256(data).hexdigest()[:16]}"
        key = f"datasets/{version}/manifest.jsonl"
        with contextlib.suppress(PreconditionFailed):  # an earlier, interrupted round wrote the same bytes
            await self._blobs.put(key, data, content_type="application/jsonl", if_absent=True)
        counts = {c: sum(c in entry.labels for entry in entries) for c in Condition}
        event = QuotaMet(
            campaign_id=campaign_id,
            dataset_version=version,
            manifest_key=key,
            counts=counts,
            images=len(entries),
            variants=sum(len(entry.variants) for entry in entries),
        )
        folds = Counter(entry.fold for entry in entries)

        async def meet(connection: AsyncConnection) -> None:
            campaign = await campaigns.campaign_row(connection, campaign_id, lock=True)
            if campaign["state"] != campaigns.CLOSING:
                return  # another replica was quicker
            now = time.time()
            insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            await connection.execute(
                insert(dataset_table)
                .values(
                    version=version,
                    manifest_key=key,
                    counts={c.value: n for c, n in counts.items()},
                    folds={fold.value: folds[fold] for fold in Fold},
                    images=event.images,
                    variants=event.variants,
                    created_at=now,
                )
                .on_conflict_do_nothing()
            )
            await connection.execute(
                sa.update(campaign_table)
                .where(campaign_table.c.id == campaign_id)
                .values(
                    state=campaigns.MET,
                    met_at=now,
                    dataset_version=version,
                    model_due_at=now + self._settings.training_deadline_s,
                )
            )
            outbox.enqueue(connection, [quota_met_message(campaign, event)])
            log.info("quota_met", campaign_id=str(campaign_id), dataset_version=version, images=event.images)

        await self._database.write(meet)
        self._relay.wake()


async def _is_over(connection: AsyncConnection, campaign: dict[str, Any]) -> bool:
    counted, failed = await campaigns.ended(connection, campaign["id"])
    total: int = campaign["total"]
    return campaign["state"] == campaigns.CLOSING or counted + failed >= total


def _span(name: str, campaign: dict[str, Any]) -> Span:
    """Work on a campaign, on the trace of its request."""
    return Span(name, parent=valid_traceparent(campaign["traceparent"]), correlation_id=campaign["correlation_id"])


def quota_met_message(campaign: dict[str, Any], event: QuotaMet) -> Message:
    """QuotaMet on its campaign's trace."""
    return outbox.on_trace(event, campaign)


async def quota_met_again(connection: AsyncConnection, campaign: dict[str, Any]) -> Message:
    """The QuotaMet of a met campaign, to be sent again."""
    query = sa.select(dataset_table).where(dataset_table.c.version == campaign["dataset_version"])
    (row,) = await rows_of(connection, query)
    event = QuotaMet(
        campaign_id=campaign["id"],
        dataset_version=row["version"],
        manifest_key=row["manifest_key"],
        counts={Condition(name): n for name, n in row["counts"].items()},
        images=row["images"],
        variants=row["variants"],
    )
    return quota_met_message(campaign, event)


async def _entries(connection: AsyncConnection) -> list[ManifestImage]:
    by_image: dict[UUID, list[ManifestVariant]] = {}
    for row in await rows_of(connection, sa.select(variant_table).order_by(variant_table.c.operation)):
        variant = ManifestVariant(operation=row["operation"], key=row["key"], sha256=row["sha256"])
        by_image.setdefault(row["image_id"], []).append(variant)
    accepted = sa.select(image_table).where(image_table.c.status == Status.ACCEPTED.value)
    return [
        ManifestImage(
            image_id=row["id"],
            root_id=row["root_id"],
            key=row["key"],
            sha256=row["sha256"],
            fold=Fold(row["fold"]),
            labels=images.load_labels(row["labels"]),
            complete=row["complete"],
            skin_tone=row["skin_tone"],
            provider=row["provider"],
            variants=tuple(by_image.get(row["id"], ())),
        )
        for row in await rows_of(connection, accepted)
    ]
