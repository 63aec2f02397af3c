"""Pages in the order of sequence, none of which passes over a row that is committed late.

PostgreSQL hands out a row's sequence number before its transaction commits, so a row may come to light below a cursor
that was given already, where no later page looks. A page that another one follows is therefore read again, once the
transactions have ended that were writing the table after it was read: one that writes holds its lock on the table from
before it is handed a number until it ends. Also where there is none: it may have ended since.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.ledger.database import rows_of
from services.labeler_api.ledger.transaction import Row

log = structlog.get_logger(__name__)

SETTLE_S = 10.0  # seconds that a page waits at most: the ledger's own transactions take milliseconds
POLL_S = 0.01  # seconds between looks whether they have ended

_WRITING = sa.text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation = CAST(:table AS regclass)"
)


async def page_of(
    connection: AsyncConnection, query: sa.Select[Any], table: sa.Table, *, after: int, most: int
) -> tuple[list[Row], int | None]:
    """A page of the rows that a query finds, which has `table.c.sequence`, and where the next begins, if there is one.

    `after`: where the page before ended; `most`: rows of a page.
    """
    sequence = table.c.sequence
    ordered = query.where(sequence > after).order_by(sequence)
    rows = await rows_of(connection, ordered.limit(most + 1))
    if len(rows) <= most:
        return rows, None
    rows = rows[:most]
    last: int = rows[-1]["sequence"]
    if connection.dialect.name == "postgresql":
        await _others_ended(connection, table)
        rows = await rows_of(connection, ordered.where(sequence <= last).limit(most))
        if len(rows) == most:
            last = rows[-1]["sequence"]
    return rows, last


async def _others_ended(connection: AsyncConnection, table: sa.Table) -> None:
    """Wait for whoever writes the table at this moment."""
    writing = await _writing(connection, table)
    end = time.monotonic() + SETTLE_S
    while writing and writing & await _writing(connection, table):
        if time.monotonic() > end:
            log.warning("page_not_settled", table=table.name, waited_s=SETTLE_S)
            break
        await asyncio.sleep(POLL_S)


async def _writing(connection: AsyncConnection, table: sa.Table) -> set[str]:
    return set((await connection.execute(_WRITING, {"table": table.name})).scalars())
