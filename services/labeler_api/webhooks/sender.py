"""Sends webhooks: what is due goes out, what is not taken is sent again later, until it is given up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp
import sqlalchemy as sa
import structlog

from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.dialects import among
from services.labeler_api.ledger.tables import webhook_table
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.ledger.wakeable import Wakeable
from services.labeler_api.webhooks.signing import headers_of
from services.labeler_api.webhooks.targets import Target

log = structlog.get_logger(__name__)

# Seconds before each further try, 76 hours in all: the example of Standard Webhooks, "Retry schedule".
PAUSES_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
BATCH = 20  # sent to one target at a time
TIMEOUT_S = 15.0  # of one try; Standard Webhooks asks for 15 to 30
LEASE_S = 60.0  # seconds after which what a process had in hand when it died is sent by another; longer than a try
GATHER_S = 0.05  # seconds that wakes are gathered for
POLL_S = 1.0  # seconds between looks for what has become due
KEPT_S = 30 * 86_400.0  # seconds that anything is kept: what was given up for a replay, or is for a target of before
_GONE = 410  # nobody wants it any more, and will not later

_row = webhook_table.c
_is_due = sa.and_(_row.target == sa.bindparam("target"), _row.failed_at.is_(None), _row.due_at <= sa.bindparam("now"))
_ANY_DUE = sa.select(_row.sequence).where(_is_due).limit(1)
_DUE = (
    sa.select(_row.sequence, _row.message_id, _row.body, _row.tries)
    .where(_is_due)
    .order_by(_row.due_at, _row.sequence)
    .limit(BATCH)
    .with_for_update(skip_locked=True)
)
_LEASE = sa.update(webhook_table).where(among(_row.sequence, "sequences")).values(due_at=sa.bindparam("until"))
_TAKEN = sa.delete(webhook_table).where(among(_row.sequence, "sequences"))
_NOT_TAKEN = (
    sa.update(webhook_table)
    .where(_row.sequence == sa.bindparam("which"))
    .values(
        tries=_row.tries + 1,
        due_at=sa.bindparam("later"),
        failed_at=sa.bindparam("given_up_at"),
        error=sa.bindparam("why"),
    )
)
_OUT_OF_DATE = sa.delete(webhook_table).where(_row.created_at < sa.bindparam("before"))


class _Refusal(NamedTuple):
    """Why a webhook was not taken, and whether it never will be."""

    why: str
    is_final: bool = False


class WebhookSender:
    """Sends to one target: what is slow or away there holds up nobody else."""

    def __init__(self, database: Database, target: Target) -> None:
        self._database = database
        self._target = target
        self._loop = Wakeable(gather_s=GATHER_S, poll_s=POLL_S)

    def wake(self) -> None:
        """There may be something new: look at once."""
        self._loop.wake()

    async def run(self) -> None:
        """Send for ever."""
        # No proxy is asked and no redirect followed: what is told goes where the operator said, and nowhere else.
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:

            async def send_due() -> None:
                while await self._send_some(session):
                    pass

            await self._loop.run(send_due)

    async def _send_some(self, session: aiohttp.ClientSession) -> bool:
        """Send what is due, at most BATCH. Returns whether there may be more that would be taken."""
        rows = await self._lease()
        if not rows:
            return False
        refusals = await asyncio.gather(*(self._send(session, row) for row in rows))
        await self._record(rows, refusals)
        return len(rows) == BATCH and not all(refusals)

    async def _lease(self) -> Sequence[Mapping[str, Any]]:
        """What is due, kept from other replicas for as long as it takes."""
        parameters = {"target": self._target.name, "now": time.time()}
        async with self._database.reading() as connection:  # SQLite's one writer is not asked for nothing
            if (await connection.execute(_ANY_DUE, parameters)).first() is None:
                return ()

        async def lease(transaction: Transaction) -> Sequence[Mapping[str, Any]]:
            rows = [dict(row) for row in (await transaction.execute(_DUE, parameters)).mappings()]
            if rows:
                until = time.time() + LEASE_S
                await transaction.execute(_LEASE, {"sequences": [row["sequence"] for row in rows], "until": until})
            return rows

        return await self._database.write(lease)

    async def _send(self, session: aiohttp.ClientSession, row: Mapping[str, Any]) -> _Refusal | None:
        """Send one webhook. Returns None where it was taken."""
        body = row["body"].encode()
        signed = headers_of(row["message_id"], int(time.time()), body, self._target.secret)
        headers = {"Content-Type": "application/json", "User-Agent": "evenskin", **signed}
        try:
            async with session.post(self._target.url, data=body, headers=headers, allow_redirects=False) as answer:
                if 200 <= answer.status < 300:
                    return None
                return _Refusal(f"It answered {answer.status}.", is_final=answer.status == _GONE)
        except TimeoutError:
            return _Refusal(f"It did not answer within {TIMEOUT_S:g} seconds.")
        except (
            aiohttp.ClientError,
            OSError,
            ValueError,
        ) as error:  # their text may show a secret in the URL
            return _Refusal(f"It was not reached: {type(error).__name__}.")

    async def _record(self, rows: Sequence[Mapping[str, Any]], refusals: Sequence[_Refusal | None]) -> None:
        """Delete what was taken; put off what was not, or give it up."""
        now = time.time()

        async def record(transaction: Transaction) -> None:
            taken = [row["sequence"] for row, refusal in zip(rows, refusals, strict=True) if refusal is None]
            if taken:
                await transaction.execute(_TAKEN, {"sequences": taken})
            for row, refusal in zip(rows, refusals, strict=True):
                if refusal is not None:
                    await transaction.execute(_NOT_TAKEN, {"which": row["sequence"], **_put_off(row, refusal, now)})
            await transaction.execute(_OUT_OF_DATE, {"before": now - KEPT_S})

        await self._database.write(record)
        for row, refusal in zip(rows, refusals, strict=True):
            if refusal is not None:
                told = {"target": self._target.name, "id": row["message_id"], "tries": row["tries"] + 1}
                log.warning("webhook_not_taken", error=refusal.why, **told)


def _put_off(row: Mapping[str, Any], refusal: _Refusal, now: float) -> dict[str, Any]:
    """When a webhook is sent again, or that it is given up."""
    gives_up = refusal.is_final or row["tries"] >= len(PAUSES_S)
    pause_s = 0.0 if gives_up else PAUSES_S[row["tries"]] * random.uniform(0.9, 1.1)
    return {"later": now + pause_s, "given_up_at": now if gives_up else None, "why": refusal.why}
