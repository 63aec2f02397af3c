"""Reviews: a verdict on an image moves it, its slot and the counters; the last one can be undone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns import campaign as campaigns
from services.labeler_api.ledger import counters, outbox
from services.labeler_api.ledger.database import row_of
from services.labeler_api.ledger.tables import review_table
from services.labeler_api.pictures import images
from services.labeler_api.pictures.images import Status
from services.labeler_api.settings import LabelerSettings
from shared.errors import Conflict, NotFound
from shared.events import ImageLabeled, Labels, Verdict
from shared.message import Message
from shared.taxonomy import Severity

GATE = "gate"
IMPORT = "import"
NO_NUL = r"^[^\x00]*$"  # which PostgreSQL refuses in text


class Review(BaseModel):
    """What a reviewer says of an image. `labels` replaces the image's labels; confidence is 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    labels: Labels | None = None
    reason: Annotated[str, Field(max_length=2000, pattern=NO_NUL)] | None = None
    reviewer: Annotated[str, Field(min_length=1, max_length=128, pattern=NO_NUL)]
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None


async def review(
    connection: AsyncConnection, image_id: UUID, said: Review, message: Message | None, settings: LabelerSettings
) -> None:
    """Apply a review. `message`: what caused it, if an event did. Raises NotFound."""
    row = await images.locked(connection, image_id)
    if row is None:
        raise NotFound(f"There is no image {image_id}.")
    labels = row["labels"] if said.labels is None else images.dump_labels(said.labels)
    await connection.execute(
        sa.insert(review_table).values(
            image_id=image_id,
            verdict=said.verdict.value,
            labels=labels,
            reason=said.reason,
            reviewer=said.reviewer,
            confidence=said.confidence,
            before={key: row[key] for key in ("status", "labels", "reviewer", "reason")},
            created_at=time.time(),
        )
    )
    counters.add(connection, {f"reviews/{said.verdict.value}/person": 1})
    await settle(
        connection,
        row,
        await campaigns.slot_of(connection, row),
        Status(said.verdict.value),
        labels,
        settings,
        reviewer=said.reviewer,
        reason=said.reason,
        message=message,
    )


async def undo(connection: AsyncConnection, reviewer: str, settings: LabelerSettings) -> UUID:
    """Take back the reviewer's last review. Raises Conflict if there is none, or another came after it."""
    mine = sa.select(review_table).where(review_table.c.reviewer == reviewer, review_table.c.undone_at.is_(None))
    last = await row_of(connection, mine.order_by(review_table.c.sequence.desc()).limit(1))
    if last is None:
        raise Conflict(f"'{reviewer}' has no review to undo.")
    later = sa.select(review_table.c.sequence).where(
        review_table.c.image_id == last["image_id"],
        review_table.c.sequence > last["sequence"],
        review_table.c.undone_at.is_(None),
    )
    if (await connection.execute(later)).first() is not None:
        raise Conflict("Somebody reviewed this image after you.", advice="Review it again instead.")
    row = await images.locked(connection, last["image_id"])
    if row is None:
        raise NotFound(f"There is no image {last['image_id']}.")
    await connection.execute(
        sa.update(review_table).where(review_table.c.sequence == last["sequence"]).values(undone_at=time.time())
    )
    before = last["before"]
    await settle(
        connection,
        row,
        await campaigns.slot_of(connection, row),
        Status(before["status"]),
        before["labels"],
        settings,
        reviewer=before["reviewer"],
        reason=before["reason"],
        message=None,
    )
    undone: UUID = last["image_id"]
    return undone


async def settle(
    connection: AsyncConnection,
    row: dict[str, Any],
    slot: Mapping[str, Any] | None,
    status: Status,
    labels: dict[str, int | None],
    settings: LabelerSettings,
    *,
    reviewer: str | None,
    reason: str | None,
    message: Message | None,
) -> None:
    """Bring an image to a status and labels, its slot with it, and tell the augmenter. Both must be locked."""
    augmented = row["augmented_at"] is not None
    accepted = status is Status.ACCEPTED
    due = time.time() + settings.augment_deadline_s if accepted and not augmented else None
    await images.relabel(connection, row, status, labels, reviewer=reviewer, reason=reason, augment_due_at=due)
    settled = {**row, "labels": labels, "reviewer": reviewer, "reason": reason}
    await follow(connection, settled, slot, status, settings, message=message)


async def follow(
    connection: AsyncConnection,
    row: Mapping[str, Any],
    slot: Mapping[str, Any] | None,
    status: Status,
    settings: LabelerSettings,
    *,
    message: Message | None,
) -> None:
    """What an image's status means for its slot, which must be locked, and what the augmenter is told."""
    labels, reason, augmented = row["labels"], row["reason"], row["augmented_at"] is not None
    if slot is not None:
        await _settle_slot(connection, slot, row["id"], status, labels, augmented, reason, settings)
    if status is not Status.PENDING:
        event = ImageLabeled(
            image_id=row["id"],
            key=row["key"],
            verdict=Verdict(status.value),
            labels=images.load_labels(labels),
            complete=row["complete"],
            reviewer=row["reviewer"] or GATE,
            reason=reason,
        )
        cause = message or await _cause(connection, slot)
        caused = cause.caused(event, source=outbox.SOURCE) if cause else Message(event, outbox.SOURCE)
        outbox.enqueue(connection, [caused])


async def _cause(connection: AsyncConnection, slot: Mapping[str, Any] | None) -> Message | None:
    """What a person's review of a slot's image belongs to: the campaign's request."""
    if slot is None:
        return None
    campaign = await campaigns.campaign_row(connection, slot["campaign_id"])
    return campaigns.request_message(campaign, slot)


async def _settle_slot(
    connection: AsyncConnection,
    slot: Mapping[str, Any],
    image_id: UUID,
    status: Status,
    labels: Mapping[str, int | None],
    augmented: bool,
    reason: str | None,
    settings: LabelerSettings,
) -> None:
    if slot["state"] in (campaigns.COUNTED, campaigns.FAILED):
        campaign = await campaigns.campaign_row(connection, slot["campaign_id"], lock=True)
        if campaign["state"] != campaigns.RUNNING:
            return  # it has ended: what changes now is part of the next one
    holds = slot["image_id"] == image_id
    if status is Status.ACCEPTED and labels.get(slot["condition"]) == slot["severity"]:
        # An earlier attempt that is accepted after all, as by an undo, is what the slot was still waiting for.
        if holds or slot["state"] in (campaigns.OPEN, campaigns.REVIEW, campaigns.FAILED):
            state = campaigns.COUNTED if augmented else campaigns.AUGMENTING
            await campaigns.move(connection, slot, state, image_id)
    elif not holds:
        return
    elif status is Status.PENDING:
        await campaigns.move(connection, slot, campaigns.REVIEW, image_id)
    elif status is Status.REJECTED:
        await campaigns.reopen(connection, slot, reason or "rejected", settings)
    else:  # a good image of something else: it stays in the dataset, and the slot still lacks its own
        await campaigns.reopen(connection, slot, f"showed {_shown(labels)} instead", settings)


def _shown(labels: Mapping[str, int | None]) -> str:
    named = (f"{Severity(value).label} {name}" if value else name for name, value in labels.items())
    return ", ".join(named) or "clear skin"
