"""Starting a campaign: it is planned, all its images are reserved, and the first portion of them is asked for."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns.campaign import CampaignState
from services.labeler_api.campaigns.filling import count_slots, count_tones
from services.labeler_api.campaigns.plan import PLANNED_ON, Plan, plan_for
from services.labeler_api.campaigns.portions import request_portion
from services.labeler_api.campaigns.prices import fits_budget, usd
from services.labeler_api.ledger import outbox
from services.labeler_api.ledger.tables import campaign_table
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.settings import LabelerSettings
from shared.errors import OverBudget
from shared.events import RebalanceRequested
from shared.message import Message
from shared.tracing import continued

START_LOCK = 0x7374  # "st": key of the advisory lock under which a campaign is planned and reserved


async def is_known(where: AsyncConnection | Transaction, campaign_id: UUID) -> bool:
    """Whether a campaign with this id was started, or rejected, before."""
    found = await where.execute(sa.select(campaign_table.c.id).where(campaign_table.c.id == campaign_id))
    return found.first() is not None


async def start(
    transaction: Transaction, request: RebalanceRequested, message: Message, settings: LabelerSettings
) -> None:
    """Start a campaign: its first slots, and a request for each. The same campaign id again changes nothing.

    Raises OverBudget, and what `plan_for` raises.
    """
    if transaction.dialect == "postgresql":  # SQLite has one writer at a time anyway
        await transaction.execute(sa.text(f"SELECT pg_advisory_xact_lock({START_LOCK})"))
    if await is_known(transaction, request.campaign_id):
        return
    plan = plan_for(await transaction.totals(*PLANNED_ON), request, settings)
    if not fits_budget(plan.cost_micro_usd, plan.max_cost_micro_usd):
        raise OverBudget(
            f"{plan.total} images cost ${usd(plan.cost_micro_usd):.2f}; the budget is "
            f"${usd(plan.max_cost_micro_usd or 0):.2f}.",
            advice="Raise max_cost_usd, or lower the targets.",
        )
    state = CampaignState.RUNNING if plan.total else CampaignState.CLOSING
    transaction.insert(campaign_table, [_campaign_row(request, message, plan, state)])
    for quota in plan.quotas:
        count_slots(transaction, request.campaign_id, quota.condition, quota.severity, reserved=quota.count)
        count_tones(transaction, quota.condition, quota.severity, quota.tones)
    await request_portion(transaction, request.campaign_id, settings)


def reject(transaction: Transaction, request: RebalanceRequested, message: Message, reason: str) -> None:
    """Keep a record of a rebalance that was not started."""
    plan = Plan({}, (), 0, request.max_attempts)
    row = _campaign_row(request, message, plan, CampaignState.REJECTED, reason=outbox.storable(reason))
    transaction.insert(campaign_table, [row])


def _campaign_row(
    request: RebalanceRequested, message: Message, plan: Plan, state: CampaignState, *, reason: str | None = None
) -> dict[str, Any]:
    return {
        "id": request.campaign_id,
        "state": state.value,
        "targets": {condition.value: target for condition, target in plan.targets.items()},
        "quotas": [quota.document() for quota in plan.quotas],
        "total": plan.total,
        "slots_made": 0,
        "review": request.review.value,
        "max_attempts": plan.max_attempts,
        "max_cost_micro_usd": plan.max_cost_micro_usd,
        "price_micro_usd": plan.price_micro_usd,
        "committed_micro_usd": plan.cost_micro_usd,
        "correlation_id": outbox.storable(message.correlation_id, outbox.TRACE_CHARACTERS),
        "traceparent": outbox.storable(continued(message.traceparent), outbox.TRACE_CHARACTERS),
        "reason": reason,
        "created_at": time.time(),
    }
