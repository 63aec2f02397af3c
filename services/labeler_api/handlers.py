"""What labeler-api does with each event: one verb-named coroutine per event, and their table at the end."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns import campaign as campaigns
from services.labeler_api.campaigns import reviews
from services.labeler_api.campaigns.ahead import NOTHING, Needs
from services.labeler_api.campaigns.closing import Closer
from services.labeler_api.campaigns.plan import MICRO
from services.labeler_api.ledger import counters, outbox
from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.group_commit import GroupCommit, Work
from services.labeler_api.ledger.tables import campaign_table, epoch_table, model_table
from services.labeler_api.pictures import gate, images
from services.labeler_api.pictures.images import NewImage, Status
from services.labeler_api.settings import LabelerSettings
from shared.blobs import Blobs
from shared.bus import RetryLater, Undeliverable
from shared.errors import BlobNotFound, DatabaseUnavailable, InvalidRequest, NotFound, OverBudget, StoreUnavailable
from shared.events import (
    Event,
    ImageAugmented,
    ImageFailed,
    ImageGenerated,
    ModelTrained,
    RebalanceRejected,
    RebalanceRequested,
    ReviewPolicy,
    TrainingProgressed,
)
from shared.message import Message
from shared.taxonomy import Condition, Severity, generated_image_id

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Ledger:
    """What the handlers and the HTTP API work on."""

    database: Database
    blobs: Blobs
    settings: LabelerSettings
    relay: outbox.Relay
    closer: Closer
    group: GroupCommit

    async def change(self, work: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Run a transaction, then wake whoever publishes and closes what follows from it."""
        await self.database.write(work)
        self._wake()

    async def change_once(self, message: Message, work: Work, needs: Needs = NOTHING) -> None:
        """Run a message's work, in a transaction with others', unless it ran before (invariant 1).

        An unreachable database or store is waited for; that does not use up the message's tries.
        """
        try:
            await self.group.run_once(message, work, needs)
        except (DatabaseUnavailable, StoreUnavailable) as error:
            raise RetryLater(error.message, counted=False) from error
        self._wake()

    def _wake(self) -> None:
        self.relay.wake()
        self.closer.wake()


async def start_campaign(ledger: Ledger, message: Message) -> None:
    """RebalanceRequested: start the campaign, or say why not."""
    request = message.event
    assert isinstance(request, RebalanceRequested)

    async def start(connection: AsyncConnection) -> None:
        try:
            await campaigns.start(connection, request, message, ledger.settings)
        except (InvalidRequest, OverBudget) as error:
            reason = f"{error.message} {error.advice}".strip()
            log.info("rebalance_rejected", campaign_id=str(request.campaign_id), code=error.code, reason=reason)
            await campaigns.reject(connection, request, message, reason)
            rejected = RebalanceRejected(campaign_id=request.campaign_id, code=error.code, reason=reason)
            outbox.enqueue(connection, [message.caused(rejected, source=outbox.SOURCE)])

    await ledger.change_once(message, start)


async def review_generated(ledger: Ledger, message: Message) -> None:
    """ImageGenerated: record the image; the gate accepts or rejects it, or it waits for a person."""
    event = message.event
    assert isinstance(event, ImageGenerated)
    try:
        data = (await ledger.blobs.get(event.key)).data
    except BlobNotFound as error:
        raise RetryLater(error.message) from error
    except StoreUnavailable as error:
        raise RetryLater(error.message, counted=False) from error
    report, sha256 = await asyncio.to_thread(lambda: (gate.examine(data), hashlib.sha256(data).hexdigest()))
    found = list(report.reasons)
    if sha256 != event.sha256:
        found.append("unreadable: the stored bytes are not those that were generated")

    cost = round(event.cost_usd * MICRO)

    async def record(connection: AsyncConnection) -> None:
        slot = await campaigns.locked_slot(connection, event.slot_id)
        if slot is None:
            raise Undeliverable(f"there is no slot {event.slot_id}")
        reasons = list(found)  # anew each time: a transaction may be run again
        if report.hash is not None:
            twin = await images.near_duplicate(connection, report.hash, of_other_than=event.image_id)
            if twin is not None:
                reasons.append(f"near_duplicate: looks the same as {twin}")
        image = NewImage(
            id=event.image_id,
            key=event.key,
            sha256=event.sha256,
            media_type=event.media_type,
            width=report.width or event.width,
            height=report.height or event.height,
            labels={Condition(slot["condition"]): Severity(slot["severity"])},
            skin_tone=slot["subject"]["skin_tone"],
            provider=event.provider,
            provider_model=event.model,
            provider_request_id=event.provider_request_id,
            prompt=outbox.storable(event.prompt),
            cost_micro_usd=cost,
            quality={**event.quality, **report.quality},
            hash=report.hash,
            slot_id=event.slot_id,
            attempt=event.attempt,
        )
        current = slot["state"] == campaigns.OPEN and slot["attempt"] == event.attempt
        if not current:
            reasons.append("superseded: another attempt answers its slot")
        if not reasons and slot["review"] == ReviewPolicy.MANUAL:
            status, settled = Status.PENDING, {}
        else:
            status = Status.REJECTED if reasons else Status.ACCEPTED
            settled = {"reviewer": reviews.GATE, "reason": "; ".join(reasons) or None, "labeled_at": time.time()}
        if status is Status.ACCEPTED:
            settled["augment_due_at"] = time.time() + ledger.settings.augment_deadline_s
        # An image that was recorded moved its slot, which is locked, to another state or attempt.
        is_new = current and event.image_id == generated_image_id(event.slot_id, event.attempt)
        row = await images.record(connection, image, status, is_new=is_new, **settled)
        if row is None:
            return
        await campaigns.pay(connection, slot, cost, expected=current)
        if status is not Status.PENDING:
            counters.add(connection, {f"reviews/{status}/{reviews.GATE}": 1})
        held = {**slot, "image_id": event.image_id} if current else slot
        await reviews.follow(connection, row, held, status, ledger.settings, message=message)

    needs = Needs(slot_id=event.slot_id, hash=report.hash)
    await ledger.change_once(message, record, needs)


async def reopen_failed(ledger: Ledger, message: Message) -> None:
    """ImageFailed: ask for the slot's next attempt."""
    event = message.event
    assert isinstance(event, ImageFailed)

    async def reopen(connection: AsyncConnection) -> None:
        slot = await campaigns.locked_slot(connection, event.slot_id)
        if slot is None:
            raise Undeliverable(f"there is no slot {event.slot_id}")
        current = slot["state"] == campaigns.OPEN and slot["attempt"] == event.attempt
        await campaigns.pay(connection, slot, round(event.cost_usd * MICRO), expected=current)
        if current:
            await campaigns.reopen(connection, slot, f"{event.reason.value}: {event.detail}", ledger.settings)

    await ledger.change_once(message, reopen, Needs(slot_id=event.slot_id))


async def count_augmented(ledger: Ledger, message: Message) -> None:
    """ImageAugmented: list the variants and count the image's slot."""
    event = message.event
    assert isinstance(event, ImageAugmented)

    async def count(connection: AsyncConnection) -> None:
        try:
            slot_id = await images.augment(connection, event.image_id, [v.model_dump() for v in event.variants])
        except NotFound as error:
            raise Undeliverable(error.message) from error
        if slot_id is not None:
            await campaigns.count(connection, slot_id, event.image_id)

    await ledger.change_once(message, count, Needs(augments=event.image_id))


async def note_progress(ledger: Ledger, message: Message) -> None:
    """TrainingProgressed: keep the epoch for the progress page; the training has news, so it is not overdue."""
    event = message.event
    assert isinstance(event, TrainingProgressed)

    async def note(connection: AsyncConnection) -> None:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        values = event.model_dump(mode="json") | {"campaign_id": event.campaign_id}
        key = ("campaign_id", "epoch")
        statement = insert(epoch_table).values(values)
        changed = {name: statement.excluded[name] for name in values if name not in key}
        await connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed))
        await connection.execute(
            sa.update(campaign_table)
            .where(campaign_table.c.id == event.campaign_id, campaign_table.c.model_due_at.is_not(None))
            .values(model_due_at=time.time() + ledger.settings.training_deadline_s)
        )

    await ledger.change_once(message, note)


async def note_model(ledger: Ledger, message: Message) -> None:
    """ModelTrained: keep the model's record; its campaign waits for nothing more."""
    event = message.event
    assert isinstance(event, ModelTrained)

    async def note(connection: AsyncConnection) -> None:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        values = event.model_dump(mode="json") | {"campaign_id": event.campaign_id, "created_at": time.time()}
        await connection.execute(insert(model_table).values(values).on_conflict_do_nothing())
        await connection.execute(
            sa.update(campaign_table)
            .where(campaign_table.c.id == event.campaign_id)
            .values(model_version=event.version, model_due_at=None)
        )

    await ledger.change_once(message, note)


HANDLERS: dict[type[Event], Callable[[Ledger, Message], Awaitable[None]]] = {
    RebalanceRequested: start_campaign,
    ImageGenerated: review_generated,
    ImageFailed: reopen_failed,
    ImageAugmented: count_augmented,
    TrainingProgressed: note_progress,
    ModelTrained: note_model,
}
