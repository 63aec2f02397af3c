"""Filling slots: what happens to a slot is decided by `slot.py`; here its row is loaded and what follows is written."""

from __future__ import annotations

import time
from typing import Any

from services.labeler_api.campaigns.booking import book
from services.labeler_api.campaigns.requests import request_message
from services.labeler_api.campaigns.rows import campaign_in, campaign_row, slot_in
from services.labeler_api.campaigns.slot import Effects, Happening, Slot, SlotState, asks_campaign, decide
from services.labeler_api.campaigns.subjects import subject_of
from services.labeler_api.ledger.tables import slot_table
from services.labeler_api.ledger.transaction import Row, Transaction
from services.labeler_api.settings import LabelerSettings
from shared.taxonomy import Condition


async def apply_to_slot(transaction: Transaction, row: Row, happening: Happening, settings: LabelerSettings) -> None:
    """Apply what happened to a slot in hand, and write what follows."""
    slot = slot_in(row)
    campaign = None
    if asks_campaign(slot, happening):
        campaign = campaign_in(await campaign_row(transaction, row["campaign_id"]))
    after, effects = decide(slot, happening, campaign)
    if changes := _changes(row, slot, after, effects, settings):
        transaction.update(slot_table, row, **changes)
    _count(transaction, row, effects)
    await book(transaction, row["campaign_id"], paid=effects.paid_micro_usd, committed=effects.committed_micro_usd)
    if effects.request:
        transaction.emit(request_message(row, settings))


def _changes(row: Row, before: Slot, after: Slot, effects: Effects, settings: LabelerSettings) -> dict[str, Any]:
    moves = effects.request or effects.postpone or after.state is not before.state or after.image_id != before.image_id
    if not moves and after.unsettled == before.unsettled:
        return {}
    due = row["deadline"]
    if effects.postpone:  # past: the reconciler asks for it as soon as the campaign asks for anything
        due = 0.0
    elif moves:
        due = request_due(row["position"], settings) if effects.request else None
    # Always the same columns, so that the slots of a group are written in one statement.
    changes: dict[str, Any] = {
        "state": after.state.value,
        "image_id": after.image_id,
        "deadline": due,
        "unsettled": list(after.unsettled),
    }
    if after.attempt != before.attempt:
        subject = subject_of(row["campaign_id"], Condition(row["condition"]), row["position"], after.attempt)
        changes |= {
            "attempt": after.attempt,
            "subject": subject.model_dump(mode="json"),
            "rejections": list(after.rejections),
        }
    return changes


def request_due(position: int, settings: LabelerSettings) -> float:
    """When a request that is sent now is overdue, seconds since the epoch.

    `position`: of its slot in the campaign. It may wait its turn behind those before it, at the provider's pace.
    """
    return time.time() + settings.request_deadline_s + position * 60 / settings.images_per_minute


def _count(transaction: Transaction, row: Row, effects: Effects) -> None:
    kind = f"{row['condition']}/{row['severity']}"
    changes = {
        f"reserved/{row['condition']}": effects.reserved,
        f"campaign/{row['campaign_id']}/{SlotState.COUNTED}/{kind}": effects.counted,
        f"campaign/{row['campaign_id']}/{SlotState.FAILED}/{kind}": effects.failed,
    }
    transaction.count({name: change for name, change in changes.items() if change})
