"""Filling slots: what happens to a slot is decided by `slot.py`; here its row is loaded and what follows is written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.labeler_api.campaigns.booking import book
from services.labeler_api.campaigns.requests import request_message
from services.labeler_api.campaigns.rows import asked_of, campaign_in, campaign_row, slot_in
from services.labeler_api.campaigns.slot import Effects, Happening, Slot, SlotState, asks_campaign, decide
from services.labeler_api.campaigns.subjects import another
from services.labeler_api.ledger.tables import slot_table
from services.labeler_api.ledger.transaction import Row, Transaction
from services.labeler_api.settings import LabelerSettings
from shared.events import Subject
from shared.taxonomy import MONK_TONES, Kind, Severity

QUEUED_CAMPAIGNS = 2  # whose requests may all wait in one queue: with more, some are sent twice, which is harmless


async def apply_to_slot(transaction: Transaction, row: Row, happening: Happening, settings: LabelerSettings) -> None:
    """Apply what happened to a slot in hand, and write what follows."""
    slot = slot_in(row)
    campaign = None
    if asks_campaign(slot, happening):
        campaign = campaign_in(await campaign_row(transaction, row["campaign_id"]))
    after, effects = decide(slot, happening, campaign)
    if changes := _changes(row, slot, after, effects, settings):
        transaction.update(slot_table, row, **changes)
    count_slots(
        transaction,
        row["campaign_id"],
        *asked_of(row),
        reserved=effects.reserved,
        counted=effects.counted,
        failed=effects.failed,
    )
    if effects.reserved:
        tones = [effects.reserved * (tone == row["subject"]["skin_tone"]) for tone in MONK_TONES]
        count_tones(transaction, *asked_of(row), tones)
    await book(transaction, row["campaign_id"], paid=effects.paid_micro_usd, committed=effects.committed_micro_usd)
    if effects.request:
        transaction.emit(request_message(row, settings))


def _changes(row: Row, before: Slot, after: Slot, effects: Effects, settings: LabelerSettings) -> dict[str, Any]:
    moves = effects.request or effects.postpone or after.state is not before.state or after.image_id != before.image_id
    if not moves and (after.unsettled, after.given_up) == (before.unsettled, before.given_up):
        return {}
    due = row["deadline"]
    if effects.postpone:  # past: the reconciler asks for it as soon as the campaign asks for anything
        due = 0.0
    elif moves:
        due = request_due(settings, after.asks) if effects.request else None
    # Always the same columns, so that the slots of a group are written in one statement.
    changes: dict[str, Any] = {
        "state": after.state.value,
        "image_id": after.image_id,
        "deadline": due,
        "unsettled": list(after.unsettled),
        "asks": after.asks,
        "given_up": list(after.given_up),
    }
    if after.rejections != before.rejections:
        changes["rejections"] = list(after.rejections)
    if after.attempt != before.attempt:
        subject = another(Subject.model_validate(row["subject"]))
        changes |= {"attempt": after.attempt, "subject": subject.model_dump(mode="json")}
    return changes


def request_due(settings: LabelerSettings, asks: int = 0) -> float:
    """When a request that is sent now is overdue, seconds since the epoch. `asks`: how often it was sent before.

    It may wait its turn, at the provider's pace, behind all that may be under way, of its campaign and of another one.
    """
    queued = QUEUED_CAMPAIGNS * settings.requests_under_way
    return time.time() + settings.request_deadline_s * (1 << asks) + queued * 60 / settings.images_per_minute


def count_slots(
    transaction: Transaction,
    campaign_id: UUID,
    condition: Kind,
    severity: Severity | None,
    *,
    reserved: int = 0,
    counted: int = 0,
    failed: int = 0,
) -> None:
    """Add to the counters of slots that stand for one condition and severity."""
    kind = f"{condition}/{int(severity or 0)}"
    changes = {
        f"reserved/{condition}": reserved,
        f"campaign/{campaign_id}/{SlotState.COUNTED}/{kind}": counted,
        f"campaign/{campaign_id}/{SlotState.FAILED}/{kind}": failed,
    }
    transaction.count({name: change for name, change in changes.items() if change})


def count_tones(transaction: Transaction, condition: Kind, severity: Severity | None, change: Sequence[int]) -> None:
    """Add to the counters of the skin tones that slots of one condition and severity will bring."""
    names = (f"reserved_tones/{condition}/{int(severity or 0)}/{tone}" for tone in MONK_TONES)
    transaction.count({name: number for name, number in zip(names, change, strict=True) if number})
