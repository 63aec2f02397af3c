"""Changing a campaign under way: an operator, or a failure that is the account's, pauses, resumes or cancels it."""

from __future__ import annotations

from uuid import UUID

import structlog

from services.labeler_api.campaigns.campaign import CampaignState, CancelAsked, Happening, PauseAsked, ResumeAsked
from services.labeler_api.campaigns.closing import apply_to_campaign
from services.labeler_api.campaigns.portions import give_up, give_up_unmade, lock_waiting
from services.labeler_api.campaigns.rows import campaign_row
from services.labeler_api.ledger.outbox import storable
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.settings import LabelerSettings
from shared.errors import Conflict
from shared.events import CampaignChange

log = structlog.get_logger(__name__)

_BECOMES = {
    CampaignChange.PAUSE: CampaignState.PAUSED,
    CampaignChange.RESUME: CampaignState.RUNNING,
    CampaignChange.CANCEL: CampaignState.CANCELLED,
}


async def change(
    transaction: Transaction, campaign_id: UUID, asked: CampaignChange, reason: str | None, settings: LabelerSettings
) -> None:
    """Pause, resume or cancel a campaign; where it stands so already, nothing happens. Raises NotFound, Conflict."""
    # Slots before their campaign, as everybody locks them.
    waiting = await lock_waiting(transaction, campaign_id) if asked is CampaignChange.CANCEL else []
    row = await campaign_row(transaction, campaign_id)
    if row["state"] == _BECOMES[asked]:
        return
    if not apply_to_campaign(transaction, row, _happening(asked, storable(reason)), settings):
        raise Conflict(
            f"A campaign that is {row['state']} cannot be {_BECOMES[asked]}.",
            advice="Only one that is running or paused can be changed.",
        )
    if asked is CampaignChange.CANCEL:  # a first portion at once: of most campaigns nothing is reserved any more
        await give_up_unmade(transaction, row)
        await give_up(transaction, waiting, settings)
    log.info("campaign_changed", campaign_id=str(campaign_id), state=row["state"], reason=row["reason"])


def _happening(asked: CampaignChange, reason: str | None) -> Happening:
    match asked:
        case CampaignChange.PAUSE:
            return PauseAsked(reason or "paused by an operator")
        case CampaignChange.RESUME:
            return ResumeAsked()
        case CampaignChange.CANCEL:
            return CancelAsked(reason or "cancelled by an operator")
