"""The dataset: its balance, its published versions, and exports for other tools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import structlog
from aiohttp import web

from services.labeler_api.ledger import audit
from services.labeler_api.web import exports, views
from services.labeler_api.web.openapi import EXPORTS
from services.labeler_api.web.routes.base import Routes, origin, truth
from shared.errors import EvenskinError, InvalidRequest, NotFound

log = structlog.get_logger(__name__)


class DatasetRoutes(Routes):
    """`/v1/balance`, `/v1/datasets` and `/v1/export`."""

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/v1/balance", self.balance)
        app.router.add_get("/v1/datasets/{version}", self.show)
        app.router.add_get("/v1/export", self.export)

    async def balance(self, _: web.Request) -> web.Response:
        """How many images every condition has."""
        return await self._answer(views.balance)

    async def show(self, request: web.Request) -> web.Response:
        """One published dataset version."""
        version = request.match_info["version"]
        if "\0" in version:  # which PostgreSQL refuses to look for
            raise NotFound("There is no such dataset version.")
        return await self._answer(lambda connection: views.dataset(connection, version))

    async def export(self, request: web.Request) -> web.StreamResponse:
        """The accepted dataset in another tool's format, or the audit log."""
        wanted = request.query.get("format", "imagefolder")
        database, blobs = self._ledger.database, self._ledger.blobs
        base = self._ledger.settings.public_base or origin(request)
        annotators = truth(request, "annotators")
        formats: dict[str, tuple[str, Callable[[], AsyncIterator[bytes]]]] = {
            "imagefolder": ("evenskin.tar", lambda: exports.imagefolder(database, blobs)),
            "labelstudio": (
                "evenskin-labelstudio.json",
                lambda: exports.label_studio(database, base, annotators=annotators),
            ),
            "coco": ("evenskin-coco.json", lambda: exports.coco(database, base)),
            "csv": ("evenskin.csv", lambda: exports.table(database)),
            "audit": ("evenskin-audit.ndjson", lambda: audit.entries(database)),
        }
        if wanted not in formats:
            raise InvalidRequest(
                f"'{wanted[:40]}' is not an export format.", advice=f"Use one of: {', '.join(formats)}."
            )
        name, chunks = formats[wanted]
        headers = {"Content-Type": EXPORTS[wanted], "Content-Disposition": f'attachment; filename="{name}"'}
        stream = chunks()
        first = await anext(stream, b"")  # what is wrong from the start is still a problem document
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        try:
            await response.write(first)
            async for chunk in stream:
                await response.write(chunk)
            await response.write_eof()
        except EvenskinError as error:
            log.warning("export_cut_off", format=wanted, error=error.message)
            if request.transport is not None:
                request.transport.abort()  # not a whole file: the reader must not take it for one
        return response
