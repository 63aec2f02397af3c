"""The inbox: which messages were handled before, so that each has its effect once (invariant 1)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import sqlalchemy as sa

from services.labeler_api.ledger.dialects import each, per_dialect
from services.labeler_api.ledger.tables import inbox_table
from services.labeler_api.ledger.transaction import Transaction
from shared.message import Message

ID_CHARACTERS = 256  # of an inbox row's id

_INSERT_NEW_IDS = per_dialect(
    lambda insert: (
        insert(inbox_table)
        .from_select(
            ["message_id", "received_at"],
            # SQLite takes the ON of a conflict for a join's unless there is a WHERE before it.
            sa.select(each("ids", inbox_table.c.message_id.type), sa.bindparam("now", type_=sa.Double)).where(
                sa.true()
            ),
        )
        .on_conflict_do_nothing()
        .returning(inbox_table.c.message_id)
    )
)


async def first_times(transaction: Transaction, messages: Sequence[Message]) -> list[bool]:
    """Note messages in the inbox; False for each that was handled before, or stands before in the sequence."""
    now = time.time()
    ids = [_inbox_id(message) for message in messages]
    # In the order of ids: so no two transactions that note the same messages can deadlock on them.
    noted = {"ids": sorted(set(ids)), "now": now}
    new = set((await transaction.execute(_INSERT_NEW_IDS[transaction.dialect], noted)).scalars())
    first = []
    for id_ in ids:
        first.append(id_ in new)
        new.discard(id_)
    return first


def _inbox_id(message: Message) -> str:
    identity = f"{message.event.name()}/{message.id}"
    if len(identity) <= ID_CHARACTERS and "\0" not in identity:
        return identity
    return hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()  # somebody else's idea of an id
