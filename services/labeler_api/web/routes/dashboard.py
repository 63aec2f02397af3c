"""The dashboard's document, and the same as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

from aiohttp import web

from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.web.dashboard import LOOK_S, DashboardFeed, Snapshot
from shared.bus import Bus
from shared.errors import DatabaseUnavailable, Overloaded
from shared.http import JSON

HEARTBEAT_S = 15.0  # seconds of silence, after which a comment is sent: proxies cut silent streams off
MAX_STREAMS = 100  # open at a time: each is a connection and a copy of the document in hand
WRITE_S = 30.0  # seconds that a client may take no more bytes, before it counts as gone


class DashboardRoutes:
    """`/v1/dashboard` and its stream."""

    def __init__(self, ledger: Ledger, bus: Bus) -> None:
        self._feed = DashboardFeed(ledger.database, bus)
        self._stopping = asyncio.Event()
        self._streams = 0

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.on_shutdown.append(self._stop)
        app.router.add_get("/v1/dashboard", self.show)
        app.router.add_get("/v1/dashboard/stream", self.stream)

    async def _stop(self, _: web.Application) -> None:
        self._stopping.set()  # open streams would hold up the drain

    async def show(self, _: web.Request) -> web.Response:
        """What the dashboard shows."""
        return web.Response(text=(await self._feed.snapshot()).text, content_type=JSON)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The same whenever it changes, until the client goes away or the service stops. Raises Overloaded."""
        with self._place():
            first = await self._feed.snapshot()  # what is wrong from the start is still a problem document
            headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError, TimeoutError):  # nobody listens any more
                await self._send(response, first, request.headers.get("Last-Event-ID"))
                await response.write_eof()
        return response

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._streams >= MAX_STREAMS:
            raise Overloaded("As many dashboards as are served are open.", advice="Close one, or try again later.")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def _send(self, response: web.StreamResponse, snapshot: Snapshot, known_id: str | None) -> None:
        await _write(response, ":\n\n")  # the answer begins, also where nothing is new to the client
        written_at = time.monotonic()
        while True:
            if snapshot.id != known_id:
                await _write(response, f"id: {snapshot.id}\nevent: dashboard\ndata: {snapshot.text}\n\n")
                known_id, written_at = snapshot.id, time.monotonic()
            elif time.monotonic() - written_at > HEARTBEAT_S:
                await _write(response, ":\n\n")
                written_at = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._stopping.wait()
                return
            with contextlib.suppress(DatabaseUnavailable):  # the page waits with us
                snapshot = await self._feed.snapshot()


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(WRITE_S):
        await response.write(text.encode())
