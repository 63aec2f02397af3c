"""Answers callers who end their sending side with their request, as `nc -N` and some embedded clients do.

aiohttp drops a connection whose other side sends nothing more, whatever it owes it (aiohttp #3659). A protocol before
its own keeps the connection while a whole request is being answered. A caller who went away altogether looks the same
until something is sent; the connection ends with the answer in either case.
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LOOK_S = 0.05  # seconds after the end that a request which came with it may take to begin


class HalfClosed:
    """The protocols of one HTTP server's connections, and the request that each answers."""

    def __init__(self) -> None:
        self._requests: dict[web.RequestHandler, web.Request] = {}

    def middleware(self) -> Middleware:
        """The outermost middleware: it notes who answers what."""

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._requests[request.protocol] = request
            try:
                return await handler(request)
            finally:
                del self._requests[request.protocol]

        return note

    def protocol(self, of: web.RequestHandler) -> asyncio.Protocol:
        """What stands before aiohttp's protocol of one connection."""
        return _Connection(of, self)

    def is_answering(self, protocol: web.RequestHandler) -> bool:
        """Whether a request that came whole is being answered."""
        request = self._requests.get(protocol)
        return request is not None and request.content.is_eof()


class _Connection(asyncio.Protocol):
    def __init__(self, inner: web.RequestHandler, connections: HalfClosed) -> None:
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool:
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_S, self._end)
        return True

    def _end(self) -> None:
        if self._connections.is_answering(self._inner):
            self._inner.close()  # with the answer
        elif self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._look is not None:
            self._look.cancel()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
