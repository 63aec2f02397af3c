"""Counters: what a total is, without counting rows (invariant 9).

Names: `images/<status>`, `labels/<status>/<condition>/<severity>` (severity 0: not graded),
`shows/<status>/<condition>`, `reserved/<condition>` (slots whose image is not accepted yet), `variants`,
`unaugmented` (both of accepted images), `campaign/<id>/counted|failed/<condition>/<severity>`, `spent/<id>`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.tables import counters

SHARDS = 16  # rows a counter is spread over, so that concurrent transactions seldom meet on one


async def add(connection: AsyncConnection, changes: Mapping[str, int]) -> None:
    """Add to counters, in the order of their names so that transactions cannot deadlock on them."""
    shard = random.randrange(SHARDS) if connection.dialect.name == "postgresql" else 0
    rows = [{"name": name, "shard": shard, "value": value} for name, value in sorted(changes.items()) if value]
    if not rows:
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(counters).values(rows)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name", "shard"], set_={"value": counters.c.value + statement.excluded.value}
        )
    )


async def totals(connection: AsyncConnection, *prefixes: str) -> dict[str, int]:
    """The totals of every counter whose name starts with one of the prefixes, all at one moment."""
    name = counters.c.name
    ranges = [sa.and_(name >= prefix, name < prefix + "\x7f") for prefix in prefixes]
    found = await connection.execute(
        sa.select(name, sa.func.sum(counters.c.value)).where(sa.or_(*ranges)).group_by(name)
    )
    return {name: int(value) for name, value in found}
