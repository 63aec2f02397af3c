"""`pause|resume|cancel`: what is to become of a campaign under way."""

from __future__ import annotations

from pathlib import Path

from services.console.commands.campaigns import report
from services.console.connection import labeler
from services.console.output import progress
from shared.events import CampaignChange


async def change(
    campaign_id: str,
    asked: CampaignChange,
    *,
    reason: str | None,
    home: Path | None,
    url: str | None,
    json_output: bool,
) -> int:
    """Pause, resume or cancel a campaign, and report how it stands."""
    async with labeler(home, url) as (client, endpoints):
        report(await client.change_campaign(campaign_id, asked, reason=reason), json_output=json_output)
        if endpoints.transient and asked is CampaignChange.RESUME:
            progress().print("It is in the ledger. `evenskin serve all` carries it out.")
    return 0
