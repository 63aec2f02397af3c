"""What a transaction reads at its start and writes at its end: one statement for all works that share it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

OPTION = "evenskin_deferred"
"""Execution option of a writing connection: what its present transaction has deferred."""


@dataclass(frozen=True)
class Deferred:
    """What one transaction has yet to write. `counts` are added to counters (`counters.py`).

    `updates`: by statement, the parameters for each row's id. `locked`: slots that were locked ahead, as they were.
    """

    rows: defaultdict[sa.Table, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    updates: defaultdict[sa.Update, dict[UUID, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    counts: Counter[str] = field(default_factory=Counter)
    locked: dict[UUID, dict[str, Any]] = field(default_factory=dict)

    async def insert_into(self, connection: AsyncConnection, *tables: sa.Table) -> None:
        """Insert what was deferred for these tables, each table's in the order it came."""
        for table in tables:
            if rows := self.rows.pop(table, None):
                await connection.execute(_inserting(table), rows)

    async def update(self, connection: AsyncConnection, statement: sa.Update) -> None:
        """Update the rows that were deferred for this statement."""
        if changes := self.updates.pop(statement, None):
            await connection.execute(statement, list(changes.values()))

    async def write(self, connection: AsyncConnection) -> None:
        """Insert and update everything that was deferred."""
        await self.insert_into(connection, *self.rows)
        for statement in list(self.updates):
            await self.update(connection, statement)


def of(connection: AsyncConnection) -> Deferred:
    """What the connection's transaction has deferred; nothing where it only reads."""
    sync = connection.sync_connection
    assert sync is not None  # it is while the connection is open
    found: Deferred = sync.get_execution_options().get(OPTION) or Deferred()
    return found


def insert(connection: AsyncConnection, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows when the transaction ends: for those that it does not read, update or refer to."""
    of(connection).rows[table].extend(rows)


@cache
def _inserting(table: sa.Table) -> sa.Insert:
    return sa.insert(table)
