"""Counters: what a total is, without counting rows (invariant 9).

Names: `images/<status>`, `labels/<status>/<condition>/<severity>` (severity 0: not graded),
`shows/<status>/<condition>`, `reserved/<condition>` (slots whose image is not accepted yet), and of known skin tones
`tones/<condition>/<severity>/<tone>` (accepted) and `reserved_tones/<condition>/<severity>/<tone>`; but for `labels/`
each also of clear skin, as condition `clear` with severity 0. `variants`,
`unaugmented` (both of accepted images), `campaign/<id>/counted|failed/<condition>/<severity>`, `spent/<id>`
and `paid` (millionths of a US dollar, of one campaign and of all), `reviews/<verdict>/gate|person`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.ledger.dialects import per_dialect
from services.labeler_api.ledger.tables import counter_table

SHARDS = 16  # rows a counter is spread over, so that concurrent transactions seldom meet on one


def _adding(insert: Any) -> Any:
    statement = insert(counter_table)
    sums = {"value": counter_table.c.value + statement.excluded.value}
    return statement.on_conflict_do_update(index_elements=["name", "shard"], set_=sums)


_UPSERT_SHARDS = per_dialect(_adding)


async def add(connection: AsyncConnection, changes: Mapping[str, int]) -> None:
    """Add to counters, all at once and in the order of names, so that no two transactions can deadlock on them."""
    shard = random.randrange(SHARDS) if connection.dialect.name == "postgresql" else 0
    rows = [{"name": name, "shard": shard, "value": value} for name, value in sorted(changes.items()) if value]
    if not rows:
        return
    await connection.execute(_UPSERT_SHARDS[connection.dialect.name], rows)


async def totals(connection: AsyncConnection, *prefixes: str) -> dict[str, int]:
    """The totals of every counter whose name starts with one of the prefixes, at one moment."""
    name = counter_table.c.name
    ranges = [sa.and_(name >= prefix, name < prefix + "\x7f") for prefix in prefixes]
    found = await connection.execute(
        sa.select(name, sa.func.sum(counter_table.c.value)).where(sa.or_(*ranges)).group_by(name)
    )
    return {name: int(value) for name, value in found}
