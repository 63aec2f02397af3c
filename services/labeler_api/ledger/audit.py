"""The audit log: who changed what of which image, and when. Entries are added, and never changed or removed.

The database itself refuses to change them (migration 0014), whoever asks. An entry is written in the transaction of the
change that it tells of: both are there, or neither is.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.paging import page_of
from services.labeler_api.ledger.tables import audit_table
from services.labeler_api.ledger.transaction import Row, Transaction

PAGE = 500  # entries read at a time, so that an export needs no memory for all of them
_NOTHING: Mapping[str, Any] = {}


class Action(StrEnum):
    """What was done."""

    REVIEW = "review"
    ADJUDICATION = "adjudication"  # the review that decides where others disagree
    UNDO = "undo"
    FRAME = "frame"


def record(
    transaction: Transaction,
    action: Action,
    image_id: UUID,
    by: str,
    *,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    said: Mapping[str, Any] = _NOTHING,
) -> None:
    """Add an entry to the log, with the transaction's other changes.

    `by`: who did it. `before`, `after`: the columns of the image's row that it is about, as JSON has them.
    `said`: what was sent with it, such as a review's reason, confidence and time.
    """
    entry = {
        "action": action.value,
        "image_id": image_id,
        "actor": by,
        "before": dict(before),
        "after": dict(after),
        "said": dict(said),
        "created_at": time.time(),
    }
    transaction.insert(audit_table, [entry])


async def entries(database: Database) -> AsyncIterator[bytes]:
    """The whole log as NDJSON (https://github.com/ndjson/ndjson-spec): one entry a line, in the order of `sequence`.

    Raises DatabaseUnavailable.
    """
    following: int | None = 0
    while following is not None:
        async with database.reading() as connection:
            rows, following = await page_of(connection, sa.select(audit_table), audit_table, after=following, most=PAGE)
        if rows:
            yield b"".join(map(_line, rows))


def _line(row: Row) -> bytes:
    at = datetime.fromtimestamp(row["created_at"], UTC).isoformat()
    entry = {
        "sequence": row["sequence"],
        "at": at,
        "action": row["action"],
        "image_id": str(row["image_id"]),
        "by": row["actor"],
        "before": row["before"],
        "after": row["after"],
        "said": row["said"],
    }
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"
