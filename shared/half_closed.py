"""Answers callers who end their sending side with their request, as `nc -N` and some embedded clients do.

aiohttp drops a connection whose other side sends nothing more, whatever it owes it (aiohttp #3659). A protocol before
its own keeps the connection while a whole request is being answered. A caller who went away altogether looks the same
until something is sent. Where work for nobody is to end, interim answers are sent meanwhile (102 Processing, RFC 2518,
10.1), which clients pass over and which a machine refuses whose program has gone. The connection ends with the answer
in either case.
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware

LOOK_S = 0.05  # seconds after the end that a request which came with it may take to begin; also between looks
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


class HalfClosed:
    """The protocols of one HTTP server's connections, and the request that each answers.

    `ends_abandoned`: whether to find out who has gone. No handler of such a server may stream its answer, between
    whose pieces an interim one would come.
    """

    def __init__(self, ends_abandoned: bool = False) -> None:
        self.ends_abandoned = ends_abandoned
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

    def answered(self, protocol: web.RequestHandler) -> web.Request | None:
        """The request whose answer is being made."""
        return self._requests.get(protocol)


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
        if self._transport is None:
            return
        request = self._connections.answered(self._inner)
        if request is not None and not request.content.is_eof():
            self._transport.close()  # what is missing of it will never come
            return
        self._inner.close()  # with the answer, if one is owed
        if request is None and not self._transport.get_write_buffer_size():
            self._transport.close()
            return
        interim = request is not None and request.version >= HttpVersion11  # HTTP/1.0 knows none (RFC 9110, 15.2)
        if interim and self._connections.ends_abandoned:
            self._transport.write(PROCESSING)
        self._look = asyncio.get_running_loop().call_later(LOOK_S, self._end)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._look is not None:
            self._look.cancel()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
