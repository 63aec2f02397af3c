"""Webhooks: those that were given up, and sending them again."""

from __future__ import annotations

import time

import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.ledger.database import rows_of
from services.labeler_api.ledger.tables import webhook_table
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.web.openapi import MAX_PAGE
from services.labeler_api.web.routes.base import Routes
from services.labeler_api.web.views import moment
from shared.documents.dead_letters import Replayed
from shared.documents.webhooks import GivenUpWebhook, WebhookList
from shared.http import document_response

_row = webhook_table.c
_WAITING = sa.select(sa.func.count()).select_from(webhook_table).where(_row.failed_at.is_(None))
_GIVEN_UP = sa.select(webhook_table).where(_row.failed_at.is_not(None)).order_by(_row.sequence).limit(MAX_PAGE)
_AGAIN = (
    sa.update(webhook_table)
    .where(_row.failed_at.is_not(None))
    .values(failed_at=None, tries=0, due_at=sa.bindparam("now"))
)


class WebhookRoutes(Routes):
    """`/v1/webhooks`."""

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/v1/webhooks", self.list)
        app.router.add_post("/v1/webhooks/replay", self.replay)

    async def list(self, _: web.Request) -> web.Response:
        """How many wait, and those that were given up."""
        return await self._answer(_listed)

    async def replay(self, _: web.Request) -> web.Response:
        """Send those that were given up again, with all their tries before them."""
        replayed = 0

        async def again(transaction: Transaction) -> None:
            nonlocal replayed
            replayed = (await transaction.execute(_AGAIN, {"now": time.time()})).rowcount

        await self._ledger.change(again)
        return document_response(Replayed(replayed=replayed))


async def _listed(connection: AsyncConnection) -> WebhookList:
    waiting = (await connection.execute(_WAITING)).scalar_one()
    given_up = (
        GivenUpWebhook(
            id=row["message_id"],
            event=row["event"],
            target=row["target"],
            tries=row["tries"],
            error=row["error"],
            created_at=moment(row["created_at"]),
        )
        for row in await rows_of(connection, _GIVEN_UP)
    )
    return WebhookList(waiting=waiting, given_up=tuple(given_up))
