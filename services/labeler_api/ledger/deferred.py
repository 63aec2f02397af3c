"""What a transaction reads at its start and writes at its end: one statement for all works that share it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.ledger.tables import metadata
from services.labeler_api.pictures.perceptual_hash import packed

OPTION = "evenskin_deferred"
"""Execution option of a writing connection: what its present transaction has deferred."""

_REFERRED_FIRST = {table.name: number for number, table in enumerate(metadata.sorted_tables)}

Row = dict[str, Any]


@dataclass
class Deferred:
    """What one transaction has yet to write, and what it has read ahead.

    `counts` are added to counters (`counters.py`). `updates`: by statement, the parameters for each row's id.

    Read ahead, each to be used once, since what a work does changes it: `slots` and `augmentable`, rows of slots and
    images that were locked.

    `alike`: hashes that share a band with any of those `looked` for, packed (`perceptual_hash.py`). `recorded`:
    hashes of the images that the transaction adds.
    """

    inserts: defaultdict[sa.Insert, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    updates: defaultdict[sa.Update, dict[UUID, Row]] = field(default_factory=lambda: defaultdict(dict))
    counts: Counter[str] = field(default_factory=Counter)
    slots: dict[UUID, Row] = field(default_factory=dict)
    augmentable: dict[UUID, Row] = field(default_factory=dict)
    looked: set[bytes] = field(default_factory=set)
    alike: npt.NDArray[np.uint64] = field(default_factory=lambda: packed(b""))
    recorded: list[bytes] = field(default_factory=list)

    async def write(self, connection: AsyncConnection) -> None:
        """Insert and update everything that was deferred, what others refer to first."""
        inserts, self.inserts = self.inserts, defaultdict(list)
        for insert in sorted(inserts, key=lambda insert: _REFERRED_FIRST[insert.table.name]):
            if rows := inserts[insert]:
                await connection.execute(insert, rows)
        updates, self.updates = self.updates, defaultdict(dict)
        for update, changes in updates.items():
            if changes:
                await connection.execute(update, list(changes.values()))


def of(connection: AsyncConnection) -> Deferred:
    """What the connection's transaction has deferred; nothing where it only reads."""
    sync = connection.sync_connection
    assert sync is not None  # it is while the connection is open
    found: Deferred = sync.get_execution_options().get(OPTION) or Deferred()
    return found


async def write(connection: AsyncConnection) -> None:
    """Write what was deferred up to now: before a work looks at rows that another one may have changed."""
    await of(connection).write(connection)


def insert(connection: AsyncConnection, into: sa.Table | sa.Insert, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows when the transaction ends: for those that it does not read, update or refer to before."""
    of(connection).inserts[_inserting(into) if isinstance(into, sa.Table) else into].extend(rows)


@cache
def _inserting(table: sa.Table) -> sa.Insert:
    """The statement that inserts into a table, built once."""
    return sa.insert(table)
