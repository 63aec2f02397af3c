"""`plan` and `status`: what the dataset lacks and where it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from services.console.connection import labeler
from services.console.output import print_json, results
from services.console.tables import balance_table, campaigns_table, models_table, plan_table
from services.console.targets import plan_query
from shared.documents.balance import Balance
from shared.documents.models import Models
from shared.documents.rebalances import Campaign
from shared.events import RebalanceRequested

MAX_REBALANCES = 5  # shown by `status`


async def show_plan(request: RebalanceRequested, *, home: Path | None, url: str | None, json_output: bool) -> int:
    """Show what a rebalance would do and cost."""
    async with labeler(home, url) as (client, _):
        plan = await client.plan(**plan_query(request))
    if json_output:
        print_json(plan.json_object())
    else:
        results().print(plan_table(plan))
    return 0


async def show_status(*, home: Path | None, url: str | None, json_output: bool) -> int:
    """Show the balance, the rebalances and the live model."""
    async with labeler(home, url) as (client, _):
        balance, campaigns, models = await asyncio.gather(
            client.balance(), client.campaigns(MAX_REBALANCES), client.models()
        )
    if json_output:
        print_json(
            {
                "balance": balance.json_object(),
                "rebalances": [campaign.json_object() for campaign in campaigns],
                "models": models.json_object(),
            }
        )
    else:
        results().print(_status_group(balance, campaigns, models))
    return 0


def _status_group(balance: Balance, campaigns: Sequence[Campaign], models: Models) -> RenderableType:
    parts: list[RenderableType] = [balance_table(balance)]
    if campaigns:
        parts.append(campaigns_table(campaigns, None if models.live is None else models.live.version))
    if models.models:
        parts.append(models_table(models))
    else:
        parts.append(Text("No model yet: `evenskin train` makes one of what there is."))
    return Group(*parts)
