"""Reviews: a verdict on an image moves it, its slot and the counters; the last one can be undone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog

from services.labeler_api.campaigns.deciding import Open, Said, decision
from services.labeler_api.campaigns.filling import apply_to_slot
from services.labeler_api.campaigns.requests import request_message
from services.labeler_api.campaigns.rows import asked_of
from services.labeler_api.campaigns.slot import (
    Happening,
    ImageAwaitsReview,
    ImageFits,
    ImageLost,
    SlotState,
    VariantsListed,
)
from services.labeler_api.ledger import audit, outbox
from services.labeler_api.ledger.database import row_of
from services.labeler_api.ledger.tables import image_table, review_table, slot_table
from services.labeler_api.ledger.transaction import Row, Transaction
from services.labeler_api.pictures import images
from services.labeler_api.pictures.images import Status
from services.labeler_api.settings import LabelerSettings
from services.labeler_api.webhooks import telling
from shared.documents.requests import Review, Seen
from shared.errors import Conflict, NotFound, StaleReview
from shared.events import ImageLabeled, Verdict
from shared.message import Message
from shared.taxonomy import Severity

_JUDGED = ("status", "labels", "reviewer", "reason", "disputed")  # what every review changes, and every undo sets back

log = structlog.get_logger(__name__)


async def review(
    transaction: Transaction,
    image_id: UUID,
    said: Review,
    message: Message | None,
    settings: LabelerSettings,
    *,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Apply a review, unless one with its key was applied before. `message`: what caused it, if an event did.

    `facts`: further columns of the image's row that it sets; an undo sets them back.
    Raises NotFound; StaleReview where the image is not what the reviewer saw; Conflict where its key is taken.
    """
    image = await transaction.image(image_id)
    if image is None:
        raise NotFound(f"There is no image {image_id}.")
    if said.key is not None and (known := await _review_of_key(transaction, said.key)) is not None:
        if (known["image_id"], known["reviewer"]) != (image_id, said.reviewer):
            raise Conflict(f"The key {said.key} is another review's.", advice="Give each review a key of its own.")
        return
    if said.seen is not None:
        _require_seen(image, said.seen)
    labels = image["labels"] if said.labels is None else images.dump_labels(said.labels)
    before = {key: image[key] for key in (*_JUDGED, *facts)}
    transaction.insert(
        review_table,
        [
            {
                "image_id": image_id,
                "verdict": said.verdict.value,
                "labels": labels,
                "reason": said.reason,
                "reviewer": said.reviewer,
                "key": said.key,
                "confidence": said.confidence,
                "seconds": said.seconds,
                "before": before,
                "created_at": time.time(),
            }
        ],
    )
    transaction.count({f"reviews/{said.verdict.value}/person": 1})
    if _awaits_several(image, settings):
        await _decide(transaction, image, settings, message=message)
    else:
        judged = Judgement(Status(said.verdict.value), labels, said.reviewer, said.reason)
        await judge(transaction, image, judged, settings, message=message, facts=facts)
    adjudicated = before["disputed"] and not image["disputed"] and image["status"] != Status.PENDING
    sent = said.model_dump(mode="json", exclude={"reviewer", "seen"}, exclude_none=True) | {"labels": labels}
    audit.record(
        transaction,
        audit.Action.ADJUDICATION if adjudicated else audit.Action.REVIEW,
        image_id,
        said.reviewer,
        before=before,
        after={name: image[name] for name in before},
        said=sent,
    )


def _awaits_several(image: Row, settings: LabelerSettings) -> bool:
    """Whether an image waits for more than one verdict. One that has been decided is corrected by one."""
    return settings.reviews_per_image > 1 and image["status"] == Status.PENDING


async def _decide(transaction: Transaction, image: Row, settings: LabelerSettings, *, message: Message | None) -> None:
    """Bring a pending image in hand to what its verdicts come to; until there is a decision it stays pending."""
    c = review_table.c
    standing = sa.select(c.reviewer, c.verdict, c.labels, c.reason).where(
        c.image_id == image["id"], c.undone_at.is_(None)
    )
    rows = (await transaction.execute(standing.order_by(c.sequence))).mappings()
    verdicts = [Said(row["reviewer"], Verdict(row["verdict"]), row["labels"], row["reason"]) for row in rows]
    decided = decision(verdicts, settings.reviews_per_image)
    if isinstance(decided, Open):
        transaction.update(image_table, image, disputed=decided is Open.DISPUTED)
        return
    judged = Judgement(Status(decided.verdict.value), dict(decided.labels), decided.reviewer, decided.reason)
    await judge(transaction, image, judged, settings, message=message)


async def _review_of_key(transaction: Transaction, key: UUID) -> Row | None:
    return await row_of(transaction, sa.select(review_table).where(review_table.c.key == key))


def _require_seen(image: Row, seen: Seen) -> None:
    """Raise StaleReview, with what an image in hand is, unless it is what its reviewer saw."""
    if (image["status"], image["labels"]) == (seen.status, images.dump_labels(seen.labels)):
        return
    stored = {
        "status": image["status"],
        "labels": {name: None if value is None else Severity(value).label for name, value in image["labels"].items()},
        "reviewer": image["reviewer"],
    }
    by = f" by {image['reviewer']}" if image["reviewer"] else ""
    raise StaleReview(
        f"Meanwhile the image is {image['status']}{by}: {_shown(image['labels'])}.",
        advice="Look at it again, and review it as it is now.",
        image_id=str(image["id"]),
        stored=stored,
    )


async def undo(transaction: Transaction, reviewer: str, settings: LabelerSettings, *, key: UUID | None = None) -> UUID:
    """Take back the reviewer's last review, or the one with a key; one taken back before stays so.

    Raises Conflict if there is none, or another came after it and the image is decided.
    """
    last, image = await (_last_review(transaction, reviewer) if key is None else _own(transaction, reviewer, key))
    if last["undone_at"] is not None:
        return UUID(str(last["image_id"]))
    later = sa.select(review_table.c.sequence).where(
        review_table.c.image_id == last["image_id"],
        review_table.c.sequence > last["sequence"],
        review_table.c.undone_at.is_(None),
    )
    in_panel = _awaits_several(image, settings)
    if not in_panel and (await transaction.execute(later)).first() is not None:
        raise Conflict("Somebody reviewed this image after you.", advice="Review it again instead.")
    undone = sa.update(review_table).where(review_table.c.sequence == last["sequence"])
    await transaction.execute(undone.values(undone_at=time.time()))
    before = {"disputed": False, **last["before"]}  # reviews of older versions do not name it
    judged = Judgement(**{name: before[name] for name in _JUDGED} | {"status": Status(before["status"])})
    facts = {name: value for name, value in before.items() if name not in _JUDGED}
    image_id: UUID = last["image_id"]
    stood = {name: image[name] for name in before}
    if in_panel:
        await _decide(transaction, image, settings, message=None)
    else:
        await judge(transaction, image, judged, settings, message=None, facts=facts)
    after = {name: image[name] for name in before}
    said = {"review": last["sequence"]} if last["key"] is None else {"key": str(last["key"])}
    audit.record(transaction, audit.Action.UNDO, image_id, reviewer, before=stood, after=after, said=said)
    return image_id


async def _own(transaction: Transaction, reviewer: str, key: UUID) -> tuple[Row, Row]:
    """The reviewer's review with a key, and its image, locked. Raises Conflict if there is none."""
    found = await _review_of_key(transaction, key)
    if found is None or found["reviewer"] != reviewer:
        raise Conflict(f"'{reviewer}' has no review with the key {key}.")
    image = await transaction.image(found["image_id"])
    again = await _review_of_key(transaction, key)  # who held the image meanwhile may have undone it
    if image is None or again is None:
        raise NotFound(f"There is no image {found['image_id']}.")
    return again, image


async def _last_review(transaction: Transaction, reviewer: str) -> tuple[Row, Row]:
    """The reviewer's last review that stands, and its image, locked. Raises Conflict if there is none."""
    mine = sa.select(review_table).where(review_table.c.reviewer == reviewer, review_table.c.undone_at.is_(None))
    newest = mine.order_by(review_table.c.sequence.desc()).limit(1)
    seen = None
    while (last := await row_of(transaction, newest)) is not None:
        image = await transaction.image(last["image_id"])
        if image is None:
            raise NotFound(f"There is no image {last['image_id']}.")
        # Read again: who held the image meanwhile may have undone the review. Now nobody else can.
        if seen == last["sequence"]:
            return last, image
        seen = last["sequence"]
    raise Conflict(f"'{reviewer}' has no review to undo.")


@dataclass(frozen=True)
class Judgement:
    """What an image is held to be, by whom and why. `labels` as the ledger keeps them."""

    status: Status
    labels: dict[str, int | None]
    reviewer: str | None
    reason: str | None
    disputed: bool = False


async def judge(
    transaction: Transaction,
    image: Row,
    judged: Judgement,
    settings: LabelerSettings,
    *,
    message: Message | None,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Bring an image in hand to a status and labels, and its slot with it; tell the augmenter.

    `facts`: further columns of its row.
    """
    is_due = judged.status is Status.ACCEPTED and image["augmented_at"] is None
    await images.relabel(
        transaction,
        image,
        judged.status,
        judged.labels,
        reviewer=judged.reviewer,
        reason=judged.reason,
        disputed=judged.disputed,
        augment_due_at=time.time() + settings.augment_deadline_s if is_due else None,
        augment_asks=0,
        **facts,
    )
    slot = await transaction.slot(image["slot_id"]) if image["slot_id"] else None
    await pass_on(transaction, image, slot, settings, message=message, grace_s=settings.rejection_grace_s)


async def pass_on(
    transaction: Transaction,
    image: Row,
    slot: Row | None,
    settings: LabelerSettings,
    *,
    message: Message | None,
    grace_s: float = 0.0,
) -> None:
    """Pass an image's status on: to the slot in hand that it was made for, and to the augmenter.

    `message`: what caused it, if an event did. `grace_s`: seconds that the slot keeps an image which is lost to it, so
    that its verdict can be taken back before another image is asked for.
    """
    if slot is not None:
        await _pass_on_to_slot(transaction, image, slot, settings, grace_s)
    if image["status"] == Status.PENDING:
        return
    event = image_labeled(image)
    # A person's review of a slot's image belongs to what its campaign asked for.
    cause = message or (request_message(slot, settings) if slot is not None else None)
    transaction.emit(cause.caused(event, source=outbox.SOURCE) if cause else Message(event, outbox.SOURCE))
    telling.tell(transaction, event, settings)


async def _pass_on_to_slot(
    transaction: Transaction, image: Row, slot: Row, settings: LabelerSettings, grace_s: float
) -> None:
    seen = _seen_from_slot(image, slot)
    if not isinstance(seen, ImageLost) or grace_s == 0:
        await apply_to_slot(transaction, slot, seen, settings)
    else:  # until then it waits as for any verdict: it is not counted, and its campaign does not end without it
        await apply_to_slot(transaction, slot, ImageAwaitsReview(image["id"], image["attempt"]), settings)
    if slot["state"] != SlotState.REVIEW or slot["image_id"] != image["id"]:
        return
    due = time.time() + grace_s if isinstance(seen, ImageLost) else None
    if slot["deadline"] != due:
        transaction.update(slot_table, slot, deadline=due)


async def end_grace(transaction: Transaction, slot: Row, settings: LabelerSettings) -> bool:
    """Take the image from a slot in hand whose grace is over. Returns whether it was still lost to it.

    The image is read and not locked, since images are locked before slots: what changes its verdict waits for the slot.
    """
    image = await row_of(transaction, sa.select(image_table).where(image_table.c.id == slot["image_id"]))
    seen = None if image is None else _seen_from_slot(image, slot)
    if not isinstance(seen, ImageLost):  # as an older version, beside this one, took the verdict back
        transaction.update(slot_table, slot, deadline=None)
        return False
    await apply_to_slot(transaction, slot, seen, settings)
    return True


async def give_up_variants(transaction: Transaction, image: Row, slot: Row | None, settings: LabelerSettings) -> None:
    """Wait no longer for the variants of an image in hand: it counts without them, and so does its slot."""
    reason = f"asked for {image['augment_asks'] + 1} times and never answered"
    log.warning("image_without_variants", image_id=str(image["id"]), reason=reason)
    images.list_variants(transaction, image, [])
    if slot is not None:
        await apply_to_slot(transaction, slot, VariantsListed(image["id"], image["attempt"]), settings)


def image_labeled(image: Row) -> ImageLabeled:
    """The verdict on an image that is accepted or rejected, by its row."""
    return ImageLabeled(
        image_id=image["id"],
        key=image["key"],
        verdict=Verdict(image["status"]),
        labels=images.load_labels(image["labels"]),
        complete=image["complete"],
        reviewer=image["reviewer"] or images.GATE,
        reason=image["reason"],
    )


def _seen_from_slot(image: Row, slot: Row) -> Happening:
    """What an image's status and labels are to the slot that it was made for."""
    image_id, attempt, labels = image["id"], image["attempt"], image["labels"]
    match Status(image["status"]):
        case Status.PENDING:
            return ImageAwaitsReview(image_id, attempt)
        case Status.REJECTED:
            return ImageLost(image_id, attempt, image["reason"] or "rejected")
        case Status.ACCEPTED if _shows_what_is_asked(image, slot):
            return ImageFits(image_id, attempt, augmented=image["augmented_at"] is not None)
        case _:  # a good image of something else: it stays in the dataset, and the slot still lacks its own
            return ImageLost(image_id, attempt, f"showed {_shown(labels)} instead")


def _shows_what_is_asked(image: Row, slot: Row) -> bool:
    """Whether an image shows the condition of its slot as strongly as asked; where clear skin is, no condition."""
    condition, severity = asked_of(slot)
    if severity is None:
        return bool(image["complete"] and not image["labels"])
    return bool(image["labels"].get(condition) == severity)


def _shown(labels: Mapping[str, int | None]) -> str:
    named = (f"{Severity(value).label} {name}" if value else name for name, value in labels.items())
    return ", ".join(named) or "clear skin"
