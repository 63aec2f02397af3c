"""Plans and rebalances: a dry run, a start, how far one has come, and the same as a stream."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns import starting
from services.labeler_api.campaigns.campaign import ACTIVE, CampaignState
from services.labeler_api.campaigns.changing import change
from services.labeler_api.campaigns.plan import PLANNED_ON, plan_for
from services.labeler_api.ledger import counters
from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.web import views
from services.labeler_api.web.routes.base import Routes, id_in_path, limit, number
from shared.documents.rebalances import Campaign, PlanDocument
from shared.documents.requests import ChangeRequest
from shared.errors import DatabaseUnavailable
from shared.events import CampaignChange, RebalanceRequested
from shared.http import json_body, parsed
from shared.message import Message

STREAM_S = 0.5  # seconds between looks at a campaign that is being watched
HEARTBEAT_S = 15.0  # seconds of silence on a stream, after which a comment is sent: proxies cut silent ones off


class RebalanceRoutes(Routes):
    """`/v1/plan` and `/v1/rebalances`."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._stopping = asyncio.Event()

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.on_shutdown.append(self._stop)
        app.router.add_get("/v1/plan", self.plan)
        app.router.add_post("/v1/rebalances", self.start)
        app.router.add_get("/v1/rebalances", self.list)
        app.router.add_get("/v1/rebalances/{id}", self.show)
        app.router.add_get("/v1/rebalances/{id}/stream", self.stream)
        app.router.add_post("/v1/rebalances/{id}/pause", self.pause)
        app.router.add_post("/v1/rebalances/{id}/resume", self.resume)
        app.router.add_post("/v1/rebalances/{id}/cancel", self.cancel)

    async def _stop(self, _: web.Application) -> None:
        self._stopping.set()  # open streams would hold up the drain

    async def plan(self, request: web.Request) -> web.Response:
        """A dry run of a rebalance."""
        asked = _rebalance_of_query(request)
        settings = self._ledger.settings

        async def view(connection: AsyncConnection) -> PlanDocument:
            planned = plan_for(await counters.totals(connection, *PLANNED_ON), asked, settings)
            return planned.document(
                provider=settings.provider,
                images_per_minute=settings.images_per_minute,
                warnings=settings.price_warnings(datetime.now(UTC).date()),
            )

        return await self._answer(view)

    async def start(self, request: web.Request) -> web.Response:
        """Start a campaign, or say why not."""
        asked = parsed(RebalanceRequested, await json_body(request))
        message = Message(asked, source="operator")

        async def apply(transaction: Transaction) -> None:
            await starting.start(transaction, asked, message, self._ledger.settings)

        await self._ledger.change(apply)
        return await self._answer(lambda connection: views.campaign(connection, asked.campaign_id), status=202)

    async def list(self, request: web.Request) -> web.Response:
        """The latest campaigns, without the history of their trainings."""
        count = limit(request)
        return await self._answer(lambda connection: views.campaign_list(connection, count))

    async def show(self, request: web.Request) -> web.Response:
        """One campaign."""
        campaign_id = id_in_path(request)
        return await self._answer(lambda connection: views.campaign(connection, campaign_id))

    async def pause(self, request: web.Request) -> web.Response:
        """Ask for nothing more until it is resumed."""
        return await self._change(request, CampaignChange.PAUSE)

    async def resume(self, request: web.Request) -> web.Response:
        """Go on."""
        return await self._change(request, CampaignChange.RESUME)

    async def cancel(self, request: web.Request) -> web.Response:
        """End with what there is."""
        return await self._change(request, CampaignChange.CANCEL)

    async def _change(self, request: web.Request, asked: CampaignChange) -> web.Response:
        campaign_id = id_in_path(request)
        reason = parsed(ChangeRequest, await json_body(request)).reason if request.can_read_body else None

        async def apply(transaction: Transaction) -> None:
            await change(transaction, campaign_id, asked, reason, self._ledger.settings)

        await self._ledger.change(apply)
        return await self._answer(lambda connection: views.campaign(connection, campaign_id))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """A campaign as server-sent events, whenever it changes, until there is nothing more to come."""
        campaign_id = id_in_path(request)
        async with self._ledger.database.reading() as connection:
            document = await views.campaign(connection, campaign_id)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):  # nobody listens any more
            await self._stream(response, document, campaign_id)
            await response.write_eof()
        return response

    async def _stream(self, response: web.StreamResponse, document: Campaign, campaign_id: UUID) -> None:
        sent, sent_at = "", 0.0
        while True:
            text = document.json_text()
            if text != sent:
                await response.write(f"event: campaign\ndata: {text}\n\n".encode())
                sent, sent_at = text, time.monotonic()
            elif time.monotonic() - sent_at > HEARTBEAT_S:
                await response.write(b":\n\n")
                sent_at = time.monotonic()
            if _has_ended(document):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_S):
                    await self._stopping.wait()
                return
            with contextlib.suppress(DatabaseUnavailable):  # the page waits with us
                async with self._ledger.database.reading() as connection:
                    document = await views.campaign(connection, campaign_id)


def _has_ended(campaign: Campaign) -> bool:
    """Whether nothing more is to come of a campaign: it failed, or its training ended with a model or without."""
    if campaign.state == CampaignState.MET:
        return campaign.model is not None or campaign.reason is not None
    return campaign.state not in ACTIVE


def _rebalance_of_query(request: web.Request) -> RebalanceRequested:
    query = request.query
    document: dict[str, Any] = {}
    if "target_per_condition" in query:
        document["target_per_condition"] = number(query["target_per_condition"], "target_per_condition", 0)
    if query.get("conditions"):
        document["conditions"] = query["conditions"].split(",")
    if query.get("targets"):
        pairs = (pair.partition(":") for pair in query["targets"].split(","))
        document["targets"] = {name: number(value, f"targets {name}", 0) for name, _, value in pairs}
    if "max_attempts" in query:
        document["max_attempts"] = number(query["max_attempts"], "max_attempts", 1)
    return parsed(RebalanceRequested, document)
