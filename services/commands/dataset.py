"""`plan` and `status`: what the dataset lacks and where it stands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from services.client import LabelerClient
from services.commands.connection import labeler
from services.commands.output import print_json, results
from services.commands.targets import Wanted
from services.report.console import balance_table, campaigns_table, models_table, plan_table

STATUS_S = 2.0  # seconds between two looks of `status --watch`
MAX_REBALANCES = 5  # shown by `status`


async def show_plan(wanted: Wanted, *, home: Path | None, url: str | None, json_output: bool) -> int:
    """What a rebalance would do and cost."""
    query = wanted.query()
    async with labeler(home, url) as (client, _):
        plan = await client.plan(**query)
    if json_output:
        print_json(plan)
    else:
        results().print(plan_table(plan))
    return 0


async def show_status(*, watch: bool, home: Path | None, url: str | None, json_output: bool) -> int:
    """Balance, rebalances and the live model; with `watch` until interrupted."""
    async with labeler(home, url, running_only=watch) as (client, _):
        if not watch:
            document = await _status(client)
            if json_output:
                print_json(document)
            else:
                results().print(_status_group(document))
            return 0
        if json_output:
            async for document in _looks(client):
                print(json.dumps(document, default=str), flush=True)  # noqa: T201 - one line per look, for scripts
        with Live(console=results(), auto_refresh=False, screen=False) as live:
            async for document in _looks(client):
                live.update(_status_group(document), refresh=True)
    return 0


async def _looks(client: LabelerClient) -> AsyncIterator[dict[str, Any]]:
    while True:
        yield await _status(client)
        await asyncio.sleep(STATUS_S)


async def _status(client: LabelerClient) -> dict[str, Any]:
    balance, campaigns, models = await asyncio.gather(client.balance(), client.campaigns(), client.models())
    return {"balance": balance, "rebalances": campaigns[:MAX_REBALANCES], "models": models}


def _status_group(document: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = [balance_table(document["balance"])]
    if document["rebalances"]:
        parts.append(campaigns_table(document["rebalances"]))
    if document["models"]["models"]:
        parts.append(models_table(document["models"]))
    else:
        parts.append(Text("No model yet: `evenskin train` makes one of what there is."))
    return Group(*parts)
