"""An HTTP proxy in front of the object store that answers badly when told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator
from enum import Enum, auto

import aiohttp
from aiohttp import web
from yarl import URL

SLOW_S = 3.0  # of a slow answer: ten times and more what a good one takes
_LARGEST_BYTES = 64 * 1024 * 1024
_OWN_HEADERS = {"host", "expect", "connection", "transfer-encoding"}  # of one connection, not of the message


class Fault(Enum):
    """What becomes of one request."""

    ERROR_500 = auto()
    UNAVAILABLE_503 = auto()
    SLOW = auto()
    RESET = auto()
    ANSWER_LOST = auto()  # of a put that succeeded


class StoreProxy:
    """Forwards to `target`. Each request takes the next of `plan` (None: nothing is wrong); `injected` counts."""

    def __init__(self, target: str, session: aiohttp.ClientSession) -> None:
        self._target = target
        self._session = session
        self.plan: deque[Fault | None] = deque()
        self.injected: Counter[Fault] = Counter()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        body = await request.read()
        fault = self._next(request)
        if fault is Fault.RESET:
            return _cut(request)
        if fault is Fault.ERROR_500:
            return _error(500, "InternalError")
        if fault is Fault.UNAVAILABLE_503:
            return _error(503, "SlowDown")
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW_S)
        answer = await self._forward(request, body)
        return _cut(request) if fault is Fault.ANSWER_LOST else answer

    def _next(self, request: web.Request) -> Fault | None:
        if not self.plan or (self.plan[0] is Fault.ANSWER_LOST and request.method != "PUT"):
            return None
        fault = self.plan.popleft()
        if fault is not None:
            self.injected[fault] += 1
        return fault

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS}
        url = URL(self._target + request.raw_path, encoded=True)
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            data = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN_HEADERS}
            return web.Response(status=answer.status, headers=kept, body=data)


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _error(status: int, code: str) -> web.Response:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")


@contextlib.asynccontextmanager
async def store_proxy(target: str) -> AsyncIterator[StoreProxy]:
    """A proxy on a free port, until the context is left."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        proxy = StoreProxy(target, session)
        app = web.Application(client_max_size=_LARGEST_BYTES)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            await runner.cleanup()
