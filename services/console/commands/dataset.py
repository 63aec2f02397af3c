"""`plan` and `status`: what the dataset lacks and where it stands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from services.console.client import LabelerClient
from services.console.connection import labeler
from services.console.output import print_json, results
from services.console.tables import balance_table, campaigns_table, models_table, plan_table
from services.console.targets import plan_query
from shared.events import RebalanceRequested

MAX_REBALANCES = 5  # shown by `status`


async def show_plan(request: RebalanceRequested, *, home: Path | None, url: str | None, json_output: bool) -> int:
    """Show what a rebalance would do and cost."""
    async with labeler(home, url) as (client, _):
        plan = await client.plan(**plan_query(request))
    if json_output:
        print_json(plan)
    else:
        results().print(plan_table(plan))
    return 0


async def show_status(*, home: Path | None, url: str | None, json_output: bool) -> int:
    """Show the balance, the rebalances and the live model."""
    async with labeler(home, url) as (client, _):
        document = await _status(client)
    if json_output:
        print_json(document)
    else:
        results().print(_status_group(document))
    return 0


async def _status(client: LabelerClient) -> dict[str, Any]:
    balance, campaigns, models = await asyncio.gather(
        client.balance(), client.campaigns(MAX_REBALANCES), client.models()
    )
    return {"balance": balance, "rebalances": campaigns, "models": models}


def _status_group(document: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = [balance_table(document["balance"])]
    if document["rebalances"]:
        parts.append(campaigns_table(document["rebalances"]))
    if document["models"]["models"]:
        parts.append(models_table(document["models"]))
    else:
        parts.append(Text("No model yet: `evenskin train` makes one of what there is."))
    return Group(*parts)
