"""What labeler-api does with each event: one verb-named coroutine per event, and their table at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from services.labeler_api.campaigns import reviews, starting
from services.labeler_api.campaigns.campaign import ModelMade, PauseAsked, TrainingAdvanced, TrainingGivenUp
from services.labeler_api.campaigns.changing import change
from services.labeler_api.campaigns.closing import apply_to_campaign
from services.labeler_api.campaigns.filling import apply_to_slot
from services.labeler_api.campaigns.prices import micro_usd
from services.labeler_api.campaigns.rows import asked_of, slot_in
from services.labeler_api.campaigns.slot import AttemptFailed, AttemptPaid, AttemptPostponed, SlotState, VariantsListed
from services.labeler_api.ledger.dialects import per_dialect
from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.ledger.outbox import SOURCE, storable
from services.labeler_api.ledger.tables import campaign_table, epoch_table, model_table
from services.labeler_api.ledger.transaction import Prefetch, Row, Transaction
from services.labeler_api.pictures import gate, images
from services.labeler_api.pictures.images import NewImage, Status
from services.labeler_api.pictures.lineage import lineage_of
from services.labeler_api.pictures.perceptual_hash import IMPORT_BITS, NEAR_DUPLICATE_BITS, look_ups
from services.labeler_api.settings import LabelerSettings
from services.labeler_api.webhooks import telling
from shared.bus import RetryLater, Undeliverable
from shared.errors import BlobNotFound, Conflict, InvalidRequest, NotFound, OverBudget, StoreUnavailable
from shared.events import (
    ACCOUNT_FAILURES,
    Event,
    ImageAugmented,
    ImageFailed,
    ImageGenerated,
    ModelPromoted,
    ModelTrained,
    RebalanceChangeRequested,
    RebalanceRejected,
    RebalanceRequested,
    ReviewPolicy,
    TrainingFailed,
    TrainingProgressed,
)
from shared.live_model import read_live
from shared.message import Message
from shared.model_card import LiveModel
from shared.taxonomy import CLEAR, generated_image_id

log = structlog.get_logger(__name__)


def _inserting_epoch(insert: Any) -> Any:
    statement = insert(epoch_table)
    key = ("campaign_id", "epoch")
    changed = {column.name: statement.excluded[column.name] for column in epoch_table.c if column.name not in key}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changed)


_UPSERT_EPOCH = per_dialect(_inserting_epoch)
_INSERT_MODEL_IF_NEW = per_dialect(lambda insert: insert(model_table).on_conflict_do_nothing())


async def start_campaign(ledger: Ledger, message: Message) -> None:
    """RebalanceRequested: start the campaign, or say why not."""
    request = message.event
    assert isinstance(request, RebalanceRequested)

    async def start(transaction: Transaction) -> None:
        try:
            await starting.start(transaction, request, message, ledger.settings)
        except (InvalidRequest, OverBudget) as error:
            reason = f"{error.message} {error.advice}".strip()
            log.info("rebalance_rejected", campaign_id=str(request.campaign_id), code=error.code, reason=reason)
            starting.reject(transaction, request, message, reason)
            rejected = RebalanceRejected(campaign_id=request.campaign_id, code=error.code, reason=reason)
            transaction.emit(message.caused(rejected, source=SOURCE))

    await ledger.change_once(message, start)


async def change_campaign(ledger: Ledger, message: Message) -> None:
    """RebalanceChangeRequested: pause, resume or cancel the campaign."""
    event = message.event
    assert isinstance(event, RebalanceChangeRequested)

    async def apply(transaction: Transaction) -> None:
        try:
            await change(transaction, event.campaign_id, event.change, event.reason, ledger.settings)
        except NotFound as error:
            raise Undeliverable(error.message) from error
        except Conflict as error:  # it has ended meanwhile: there is nothing to be done
            log.info("campaign_not_changed", campaign_id=str(event.campaign_id), reason=error.message)

    await ledger.change_once(message, apply)


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

    def examine() -> tuple[gate.GateReport, str]:
        return gate.examine(data, ledger.detector, ledger.settings.gate_limits), hashlib.sha256(data).hexdigest()

    report, sha256 = await ledger.admission.run(data, examine, min_side=gate.LOOKED_AT_SIDE)
    found = list(report.reasons)
    if sha256 != event.sha256:
        found.append("unreadable: the stored bytes are not those that were generated")
    image = _new_image(event, report)

    async def record(transaction: Transaction) -> None:
        row = await transaction.slot(event.slot_id)
        if row is None:
            raise Undeliverable(f"there is no slot {event.slot_id}")
        slot = slot_in(row)
        reasons = list(found)  # anew each time: a transaction may be run again
        seen = image
        wrong_tone = gate.tone_reason(report, row["subject"]["skin_tone"], ledger.settings.gate_max_tone_distance)
        if wrong_tone is not None:
            reasons.append(wrong_tone)
        if report.look is not None:
            # As an import does, so that it does not matter which of the two comes first.
            twins = await images.twins_of(transaction, report.look, of_other_than=event.image_id, most=IMPORT_BITS)
            copies = twins and await images.twins_of(transaction, report.look, of_other_than=event.image_id)
            lineage = lineage_of(event.image_id, None, twins)
            # In its twin's fold, even where a person accepts it all the same, or accepts a twin that was rejected.
            seen = replace(
                image, root_id=lineage.root_id, fold=lineage.fold, near_duplicate_of=lineage.near_duplicate_of
            )
            copied = next((copy for copy in copies if copy.stands), None)
            if copied is not None:
                reasons.append(f"near_duplicate: looks the same as {copied.id}")
            if lineage.conflict is not None:
                reasons.append(lineage.conflict)
        answers = slot.is_open_for(event.attempt)
        if not answers:
            given_up = slot.state is SlotState.FAILED
            reasons.append(
                "given_up: its slot waits for no image any more"
                if given_up
                else "superseded: another attempt answers its slot"
            )
        condition, severity = asked_of(row)
        labels = {} if condition is CLEAR else {condition: severity}
        recorded = await images.record(
            transaction,
            replace(seen, labels=labels, skin_tone=row["subject"]["skin_tone"]),
            **_verdict(reasons, row["review"], ledger.settings),
            # An image that was recorded moved its slot, which is locked, to another state or attempt.
            is_new=answers and event.image_id == generated_image_id(event.slot_id, event.attempt),
        )
        if recorded is None:
            return
        await apply_to_slot(transaction, row, AttemptPaid(event.attempt, image.cost_micro_usd), ledger.settings)
        if recorded["status"] != Status.PENDING:
            transaction.count({f"reviews/{recorded['status']}/{images.GATE}": 1})
        await reviews.pass_on(transaction, recorded, row, ledger.settings, message=message)

    # Of the wider look no more than its own hashes are read: each compares with all that its group had read before.
    looked_for = () if report.look is None else tuple(look_ups(report.look, NEAR_DUPLICATE_BITS))
    await ledger.change_once(message, record, Prefetch(slot_id=event.slot_id, bands=looked_for))


def _new_image(event: ImageGenerated, report: gate.GateReport) -> NewImage:
    """What event and gate say of a generated image; its labels and skin tone are its slot's."""
    return NewImage(
        id=event.image_id,
        key=event.key,
        sha256=event.sha256,
        media_type=event.media_type,
        width=report.width or event.width,
        height=report.height or event.height,
        labels={},
        provider=event.provider,
        provider_model=event.model,
        provider_request_id=event.provider_request_id,
        prompt=storable(event.prompt),
        cost_micro_usd=micro_usd(event.cost_usd),
        quality={**event.quality, **report.quality},
        frame=report.frame,
        hash=None if report.look is None else report.look.hash,
        slot_id=event.slot_id,
        attempt=event.attempt,
    )


def _verdict(reasons: Sequence[str], policy: str, settings: LabelerSettings) -> dict[str, Any]:
    """The gate's verdict, as columns of an image. `reasons`: why it is no good; `policy`: who reviews what is good."""
    if not reasons and policy == ReviewPolicy.MANUAL:
        return {"status": Status.PENDING}
    now = time.time()
    verdict = {"reviewer": images.GATE, "reason": "; ".join(reasons) or None, "labeled_at": now}
    if reasons:
        return {"status": Status.REJECTED, **verdict}
    return {"status": Status.ACCEPTED, **verdict, "augment_due_at": now + settings.augment_deadline_s}


async def reopen_failed(ledger: Ledger, message: Message) -> None:
    """ImageFailed: ask for the slot's next attempt; or, where it is the account's fault, pause the campaign.

    What the account lacks every other image would lack as well: no attempt is used up.
    """
    event = message.event
    assert isinstance(event, ImageFailed)
    reason = f"{event.reason.value}: {event.detail}"

    async def reopen(transaction: Transaction) -> None:
        slot = await transaction.slot(event.slot_id)
        if slot is None:
            raise Undeliverable(f"there is no slot {event.slot_id}")
        if event.reason in ACCOUNT_FAILURES:
            await _pause(transaction, slot, event, ledger.settings)
            return
        await apply_to_slot(transaction, slot, AttemptPaid(event.attempt, micro_usd(event.cost_usd)), ledger.settings)
        await apply_to_slot(transaction, slot, AttemptFailed(event.attempt, reason), ledger.settings)

    await ledger.change_once(message, reopen, Prefetch(slot_id=event.slot_id))


async def _pause(transaction: Transaction, slot: Row, event: ImageFailed, settings: LabelerSettings) -> None:
    """Pause a slot's campaign for what its account lacks; the slot asks again once the campaign is resumed."""
    if event.cost_usd:
        await apply_to_slot(transaction, slot, AttemptPaid(event.attempt, micro_usd(event.cost_usd)), settings)
    if not slot_in(slot).is_open_for(event.attempt):
        return
    await apply_to_slot(transaction, slot, AttemptPostponed(event.attempt), settings)
    campaign = await transaction.campaign(slot["campaign_id"])
    why = PauseAsked(storable(f"{event.reason.value}: {event.detail}"))
    if campaign is not None and apply_to_campaign(transaction, campaign, why, settings):
        log.warning("campaign_paused", campaign_id=str(campaign["id"]), reason=campaign["reason"])


async def count_augmented(ledger: Ledger, message: Message) -> None:
    """ImageAugmented: list the variants and count the image's slot.

    An image that cannot have any stays accepted, and counts without them: it is not asked for again. Nor is one that
    was asked for too often; but variants that come late are listed all the same.
    """
    event = message.event
    assert isinstance(event, ImageAugmented)
    if event.reason is not None:
        log.warning("image_without_variants", image_id=str(event.image_id), reason=event.reason)

    async def count(transaction: Transaction) -> None:
        image = await transaction.image(event.image_id)
        if image is None:
            raise Undeliverable(f"There is no image {event.image_id}.")
        is_late = image["augmented_at"] is not None
        if is_late and (not event.variants or await images.has_variants(transaction, event.image_id)):
            return
        images.list_variants(transaction, image, [variant.model_dump() for variant in event.variants])
        slot = await transaction.slot(image["slot_id"]) if image["slot_id"] else None
        if slot is not None:
            await apply_to_slot(transaction, slot, VariantsListed(event.image_id, image["attempt"]), ledger.settings)

    await ledger.change_once(message, count, Prefetch(image_id=event.image_id))


async def note_progress(ledger: Ledger, message: Message) -> None:
    """TrainingProgressed: keep the epoch for the progress page; the training has news, so it is not overdue."""
    event = message.event
    assert isinstance(event, TrainingProgressed)

    async def note(transaction: Transaction) -> None:
        epoch = event.model_dump(mode="json") | {"campaign_id": event.campaign_id}
        await transaction.execute(_UPSERT_EPOCH[transaction.dialect], epoch)
        campaign = await transaction.campaign(event.campaign_id)
        if campaign is not None:
            apply_to_campaign(transaction, campaign, TrainingAdvanced(), ledger.settings)

    await ledger.change_once(message, note)


async def note_model(ledger: Ledger, message: Message) -> None:
    """ModelTrained: keep the model's record; its campaign waits for nothing more."""
    event = message.event
    assert isinstance(event, ModelTrained)

    live = await _live_model(ledger) if event.promoted and ledger.settings.webhooks is not None else None

    async def note(transaction: Transaction) -> None:
        model = event.model_dump(mode="json") | {"campaign_id": event.campaign_id, "created_at": time.time()}
        model["reason"] = storable(event.reason)
        inserted = await transaction.execute(_INSERT_MODEL_IF_NEW[transaction.dialect], model)
        # Of one that is not live any more it would be wrong to say that it is to be served.
        if inserted.rowcount and live is not None and live.version == event.version:
            promoted = ModelPromoted(**live.model_dump(include=set(ModelPromoted.model_fields)))
            telling.tell(transaction, promoted, ledger.settings)
        campaign = await transaction.campaign(event.campaign_id)
        if campaign is not None:
            transaction.update(campaign_table, campaign, model_version=event.version)
            apply_to_campaign(transaction, campaign, ModelMade(), ledger.settings)

    await ledger.change_once(message, note)


async def _live_model(ledger: Ledger) -> LiveModel | None:
    try:
        return await read_live(ledger.blobs)
    except StoreUnavailable as error:
        raise RetryLater(error.message, counted=False) from error


async def note_training_failed(ledger: Ledger, message: Message) -> None:
    """TrainingFailed: the campaign waits for no model any more, and says why."""
    event = message.event
    assert isinstance(event, TrainingFailed)

    async def note(transaction: Transaction) -> None:
        campaign = await transaction.campaign(event.campaign_id)
        if campaign is not None:
            why = storable(f"{event.reason.value}: {event.detail}")
            apply_to_campaign(transaction, campaign, TrainingGivenUp(why), ledger.settings)

    await ledger.change_once(message, note)


HANDLERS: dict[type[Event], Callable[[Ledger, Message], Awaitable[None]]] = {
    RebalanceRequested: start_campaign,
    RebalanceChangeRequested: change_campaign,
    ImageGenerated: review_generated,
    ImageFailed: reopen_failed,
    ImageAugmented: count_augmented,
    TrainingProgressed: note_progress,
    TrainingFailed: note_training_failed,
    ModelTrained: note_model,
}
