"""Images that are brought in: compared with what is there, and recorded once."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.labeler_api.campaigns import reviews
from services.labeler_api.ledger import audit, outbox
from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.ledger.tables import image_table
from services.labeler_api.ledger.transaction import Row, Transaction
from services.labeler_api.pictures import images
from services.labeler_api.pictures.images import Status
from services.labeler_api.pictures.intake import Incoming
from services.labeler_api.pictures.lineage import lineage_of
from services.labeler_api.pictures.perceptual_hash import IMPORT_BITS
from services.labeler_api.settings import LabelerSettings
from shared.documents.requests import Review
from shared.errors import GroupDiffers, LabelsDiffer, NearDuplicate
from shared.events import Verdict
from shared.frames import Frame
from shared.message import Message
from shared.taxonomy import severity_text

REFUSE = "refuse"  # of EVENSKIN_NEAR_DUPLICATES
Facts = dict[str, Any]  # labels, as the ledger keeps them, complete and skin_tone


async def bring_in(ledger: Ledger, incoming: Incoming) -> tuple[UUID, bool]:
    """Record a picture, unless its bytes are there already. Returns the id of its image, and whether that is new.

    Raises LabelsDiffer where they are there with other labels and these are no update; GroupDiffers where they are
    there in another group; NearDuplicate where another picture looks the same and the settings refuse that.
    """
    image_id, new = incoming.image.id, False

    async def apply(transaction: Transaction) -> None:
        nonlocal image_id, new
        row = await transaction.image(incoming.image.id)
        if row is None:
            await transaction.lock_look_alikes()
            row = await _same_bytes(transaction, incoming)
        new = row is None
        if row is None:
            image_id = incoming.image.id
            await _record(transaction, incoming, ledger.settings)
        else:
            image_id = row["id"]
            await _compare(transaction, row, incoming, ledger.settings)

    await ledger.change(apply)
    return image_id, new


async def _same_bytes(transaction: Transaction, incoming: Incoming) -> Row | None:
    """The image that has a picture's bytes, in hand, while nobody adds another one; None if there is none.

    Who held the lock may have brought it in. One that was generated, or is kept as a JPEG, has an id that does not
    follow from its bytes.
    """
    row = await transaction.image(incoming.image.id)
    if row is None:
        there = await images.with_bytes(transaction, incoming.image.sha256, incoming.look)
        row = None if there is None else await transaction.image(there)
    return row


async def _record(transaction: Transaction, incoming: Incoming, settings: LabelerSettings) -> None:
    image = incoming.image
    twins = await images.twins_of(transaction, incoming.look, of_other_than=image.id, most=IMPORT_BITS)
    twin = next((twin for twin in twins if twin.stands), None)
    if twin is not None and settings.near_duplicates == REFUSE:
        raise NearDuplicate(
            f"The picture looks the same as image {twin.id}.",
            advice="Leave it out, or set EVENSKIN_NEAR_DUPLICATES=share_root.",
            image_id=str(twin.id),
        )
    lineage = lineage_of(image.id, image.group_name, twins, image.fold)
    image = replace(image, root_id=lineage.root_id, fold=lineage.fold, near_duplicate_of=lineage.near_duplicate_of)
    now = time.time()
    columns: dict[str, Any] = {"reviewer": images.IMPORT, "labeled_at": now}
    if lineage.conflict is None:
        status = Status.ACCEPTED
        columns["augment_due_at"] = now + settings.augment_deadline_s
    else:
        status = Status.REJECTED
        columns["reason"] = lineage.conflict
    row = await images.record(transaction, image, status, is_new=True, **columns)
    assert row is not None
    transaction.emit(Message(reviews.image_labeled(row), outbox.SOURCE))


async def _compare(transaction: Transaction, row: Row, incoming: Incoming, settings: LabelerSettings) -> None:
    """Compare what is said of a picture with the row in hand that it has already; take it as a review if it is one."""
    image = incoming.image
    if image.frame is not None:
        await _keep_frame(transaction, row, image.frame)
    if image.group_name is not None:
        await _require_group(transaction, row["id"], image.group_name)
    there: Facts = {"labels": row["labels"], "complete": row["complete"], "skin_tone": row["skin_tone"]}
    tone = row["skin_tone"] if image.skin_tone is None else image.skin_tone  # not told is no other
    sent: Facts = {"labels": images.dump_labels(image.labels), "complete": image.complete, "skin_tone": tone}
    if sent == there:
        return
    awaits_review = row["status"] == Status.PENDING
    if awaits_review or not incoming.update:
        raise LabelsDiffer(
            f"The picture is there already, as {_said(there)}, not as {_said(sent)}.",
            advice="It waits for a review: say its labels there."
            if awaits_review
            else "Correct the labels that you send, or send them with update=true.",
            image_id=str(row["id"]),
            stored=_document(there),
            sent=_document(sent),
        )
    verdict = Verdict(row["status"])
    said = Review(verdict=verdict, labels=image.labels, reviewer=images.IMPORT, reason=row["reason"])
    facts = {name: sent[name] for name in ("complete", "skin_tone")}
    await reviews.review(transaction, row["id"], said, None, settings, facts=facts)


async def _keep_frame(transaction: Transaction, row: Row, frame: Frame) -> None:
    """Keep the frame of an image in hand in which nobody has looked for a face yet."""
    query = sa.select(image_table.c.frame).where(image_table.c.id == row["id"])
    known: dict[str, Any] | None = (await transaction.execute(query)).scalar_one()
    if known is None or (known["found"] is None and frame.found is not None):
        found = frame.model_dump(mode="json")
        transaction.update(image_table, row, frame=found)
        before, after = {"frame": known}, {"frame": found}
        audit.record(transaction, audit.Action.FRAME, row["id"], images.IMPORT, before=before, after=after)


async def _require_group(transaction: Transaction, image_id: UUID, group: str) -> None:
    query = sa.select(image_table.c.group_name).where(image_table.c.id == image_id)
    known: str | None = (await transaction.execute(query)).scalar_one()
    if known != group:
        there = "without a group" if known is None else f"in the group '{known}'"
        raise GroupDiffers(
            f"The picture is there already, {there}, and an image never changes its root.",
            advice="Send it without 'group'.",
            image_id=str(image_id),
            stored={"group": known},
            sent={"group": group},
        )


def _said(facts: Facts) -> str:
    """What is said of a picture, in words."""
    labels = images.load_labels(facts["labels"])
    named = [
        f"{name} {severity_text(name, severity) if severity else 'not graded'}" for name, severity in labels.items()
    ]
    incomplete = [] if facts["complete"] else ["further conditions unknown"]
    tone = [] if facts["skin_tone"] is None else [f"skin tone {facts['skin_tone']}"]
    return f"({', '.join([*(named or ['no condition']), *incomplete, *tone])})"


def _document(facts: Facts) -> dict[str, Any]:
    """The same as an upload's fields name it."""
    labels = images.load_labels(facts["labels"])
    return {**facts, "labels": {name.value: severity.label if severity else None for name, severity in labels.items()}}
