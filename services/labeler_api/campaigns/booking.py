"""Booking: what a campaign has spent, and what it is committed to, in millionths of a US dollar."""

from __future__ import annotations

from uuid import UUID

from services.labeler_api.campaigns.rows import campaign_row
from services.labeler_api.ledger.tables import campaign_table
from services.labeler_api.ledger.transaction import Transaction


async def book(transaction: Transaction, campaign_id: UUID, *, paid: int, committed: int) -> None:
    """Book what an attempt cost, and what the campaign's commitment changes by. Raises NotFound."""
    if paid:
        transaction.count({f"spent/{campaign_id}": paid, "paid": paid})
    if committed:
        campaign = await campaign_row(transaction, campaign_id)
        transaction.update(campaign_table, campaign, committed_micro_usd=campaign["committed_micro_usd"] + committed)
