"""Dead letters: listed, and sent to their queues again."""

from __future__ import annotations

from aiohttp import web

from shared.bus import Bus
from shared.documents.dead_letters import DeadLetterDocument, DeadLetterList, Replayed
from shared.documents.requests import ReplayRequest
from shared.errors import NotFound
from shared.http import document_response, json_body, parsed
from shared.schemas import known_queues


class DeadLetterRoutes:
    """`/v1/dead-letters`, over the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/v1/dead-letters", self.list)
        app.router.add_post("/v1/dead-letters/replay", self.replay)

    async def list(self, request: web.Request) -> web.Response:
        """Messages that were given up."""
        letters = await self._bus.dead_letters(_queue(request.query.get("queue")))
        listed = tuple(DeadLetterDocument(**vars(letter)) for letter in letters)
        return document_response(DeadLetterList(dead_letters=listed))

    async def replay(self, request: web.Request) -> web.Response:
        """Send dead letters to their queues again: `{"queue": …}`, or all."""
        asked = parsed(ReplayRequest, await json_body(request) if request.can_read_body else {})
        return document_response(Replayed(replayed=await self._bus.replay(_queue(asked.queue))))


def _queue(name: str | None) -> str | None:
    """A consumer queue, or None for all. Raises NotFound."""
    if name is None:
        return None
    if name not in known_queues():
        raise NotFound(f"There is no queue '{name[:80]}'.", advice=f"Use one of: {', '.join(known_queues())}.")
    return name
