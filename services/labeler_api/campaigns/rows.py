"""Slots and campaigns as their rows hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from services.labeler_api.campaigns.campaign import Campaign, CampaignState, Terms
from services.labeler_api.campaigns.plan import Quota
from services.labeler_api.campaigns.slot import Slot, SlotState
from services.labeler_api.ledger.transaction import Row, Transaction
from shared.errors import NotFound
from shared.taxonomy import Kind, Severity, parse_kind


def slot_in(row: Row) -> Slot:
    """The slot that a row holds."""
    return Slot(
        state=SlotState(row["state"]),
        terms=terms_in(row),
        attempt=row["attempt"],
        image_id=row["image_id"],
        rejections=tuple(row["rejections"]),
        unsettled=tuple(row["unsettled"]),
        asks=row["asks"],
        given_up=tuple(row["given_up"]),
    )


def asked_of(row: Mapping[str, Any]) -> tuple[Kind, Severity | None]:
    """What a slot asks for, by its row: the severity of clear skin is 0 there."""
    return parse_kind(row["condition"]), Severity(row["severity"]) if row["severity"] else None


def terms_in(row: Row) -> Terms:
    """The terms of a campaign that its own row holds, or a slot's."""
    return Terms(row["price_micro_usd"], row["max_attempts"], row["max_cost_micro_usd"])


def campaign_in(row: Row) -> Campaign:
    """The campaign that a row holds."""
    return Campaign(
        state=CampaignState(row["state"]),
        total=row["total"],
        terms=terms_in(row),
        committed_micro_usd=row["committed_micro_usd"],
        reason=row["reason"],
        awaits_model=row["model_due_at"] is not None,
    )


def quotas_in(row: Row) -> tuple[Quota, ...]:
    """What a campaign's slots are for, one quota after the other. `row`: the campaign's."""
    return tuple(Quota.of_document(document) for document in row["quotas"])


def reserves_tones(row: Row) -> bool:
    """Whether the tones of a campaign's slots were reserved when it started; an older version planned none."""
    return all("tones" in document for document in row["quotas"])


async def campaign_row(transaction: Transaction, campaign_id: UUID) -> Row:
    """A campaign's row, locked until the transaction ends. Raises NotFound."""
    row = await transaction.campaign(campaign_id)
    if row is None:
        raise NotFound(f"There is no campaign {campaign_id}.")
    return row
