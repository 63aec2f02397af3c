"""labeler-api over HTTP: the routes of every subject, the review page, and the description of it all."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.web.openapi import openapi
from services.labeler_api.web.routes.dashboard import DashboardRoutes
from services.labeler_api.web.routes.datasets import DatasetRoutes
from services.labeler_api.web.routes.dead_letters import DeadLetterRoutes
from services.labeler_api.web.routes.images import ImageRoutes
from services.labeler_api.web.routes.models import ModelRoutes
from services.labeler_api.web.routes.rebalances import RebalanceRoutes
from services.labeler_api.web.routes.reviews import ReviewRoutes
from services.labeler_api.web.routes.webhooks import WebhookRoutes
from shared.bus import Bus
from shared.cross_site import write_guard
from shared.http import add_page_files

STATIC = Path(__file__).parent / "static"


class LabelerHttp:
    """The routes of labeler-api."""

    def __init__(self, ledger: Ledger, bus: Bus) -> None:
        self._signs_in = ledger.settings.reviewers is not None
        self._is_secured = self._signs_in or ledger.settings.api_key is not None
        self._names = ledger.settings.further_hosts
        self._subjects = (
            DatasetRoutes(ledger),
            RebalanceRoutes(ledger),
            ImageRoutes(ledger),
            ReviewRoutes(ledger),
            ModelRoutes(ledger),
            DeadLetterRoutes(bus),
            DashboardRoutes(ledger, bus),
            WebhookRoutes(ledger),
        )

    def configure(self, app: web.Application) -> None:
        """Add the routes, and before them what keeps other sites' pages from changing something."""
        app.middlewares.append(write_guard(self._names))
        for subject in self._subjects:
            subject.configure(app)
        app.router.add_get("/openapi.json", self.openapi)
        app.router.add_get("/", self.page)
        app.router.add_get("/dashboard", self.dashboard)
        app.router.add_get("/dermatologist_drag_drop_tool.html", self.old_page)
        add_page_files(app, STATIC)

    async def page(self, _: web.Request) -> web.StreamResponse:
        """The review page."""
        return web.FileResponse(STATIC / "index.html")

    async def dashboard(self, _: web.Request) -> web.StreamResponse:
        """The dashboard."""
        return web.FileResponse(STATIC / "dashboard.html")

    async def old_page(self, _: web.Request) -> web.StreamResponse:
        """The name that reviewers have in their bookmarks."""
        raise web.HTTPFound("/")

    async def openapi(self, _: web.Request) -> web.Response:
        """The API's description."""
        return web.json_response(openapi(secured=self._is_secured, signs_in=self._signs_in))
