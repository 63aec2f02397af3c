"""The inbox: which messages were handled before, so that each has its effect once (invariant 1)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from urllib.parse import quote

import sqlalchemy as sa
import structlog

from services.labeler_api.ledger.dialects import among, each, per_dialect
from services.labeler_api.ledger.tables import inbox_table
from services.labeler_api.ledger.transaction import Transaction
from shared.message import Message

log = structlog.get_logger(__name__)

ID_CHARACTERS = 256  # of an inbox row's id
# Seconds in which the broker delivers again what was handled and not acknowledged. Later, the same words are another
# request: a nightly one must not be taken for last night's because a restart made the broker deliver it twice.
REDELIVERED_WITHIN_S = 3600.0

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
_FORGET = sa.delete(inbox_table).where(
    among(inbox_table.c.message_id, "ids"), inbox_table.c.received_at < sa.bindparam("before")
)


async def first_times(transaction: Transaction, messages: Sequence[Message]) -> list[bool]:
    """Note messages in the inbox; False for each that was handled before, or stands before in the sequence.

    Of a message that its sender gave no id its likeness is noted too, which the broker's redelivery is known by.
    """
    now = time.time()
    ids = [_inbox_id(message, message.id) for message in messages]
    likenesses = [message.likeness and _inbox_id(message, message.likeness) for message in messages]
    if alike := sorted({likeness for likeness in likenesses if likeness}):
        await transaction.execute(_FORGET, {"ids": alike, "before": now - REDELIVERED_WITHIN_S})
    # In the order of ids: so no two transactions that note the same messages can deadlock on them.
    noted = {"ids": sorted({*ids, *alike}), "now": now}
    new = set((await transaction.execute(_INSERT_NEW_IDS[transaction.dialect], noted)).scalars())
    first = []
    for message, id_, likeness in zip(messages, ids, likenesses, strict=True):
        first.append(id_ in new)
        if id_ not in new and id_ == likeness:
            log.info("message_dropped_by_likeness", event_name=message.event.name(), event_id=message.id)
        new -= {id_, likeness}
    return first


def _inbox_id(message: Message, id_: str) -> str:
    # Quoted: a source may have slashes, and "a/b" with the id "c" is not "a" with "b/c".
    identity = f"{message.event.name()}/{quote(message.source, safe='', errors='surrogatepass')}/{id_}"
    if len(identity) <= ID_CHARACTERS and "\0" not in identity:
        return identity
    return hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()  # somebody else's idea of an id
