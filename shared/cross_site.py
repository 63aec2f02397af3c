"""Keeps other web sites out: their pages run in the operator's browser and reach what listens on that machine.

A page elsewhere can send a request here without asking first (a form's POST), and a name of its own can point to this
machine (DNS rebinding). https://fetch.spec.whatwg.org/#http-cors-protocol says what a browser asks for first.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from shared.errors import ForeignHost, ForeignOrigin, UnsupportedMediaType
from shared.http import JSON, PUBLIC_PATHS

FORM = "multipart/form-data"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, section 9.2.1
_NO_TYPE = "application/octet-stream"  # what aiohttp takes no type for, and its client says without a body


def host_guard(names: Collection[str]) -> Any:
    """Middleware that refuses a request whose Host is a name, and none of these. Raises ForeignHost.

    An address passes: no name was looked up, so none was pointed here. So do a request without Host, which no browser
    sends, and health, readiness and metrics, which are open where a key is set, too.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host")
        if host is not None and request.path not in PUBLIC_PATHS and not _is_ours(_name_in(host), names):
            raise ForeignHost(
                f"This service does not answer to the name '{host[:80]}'.",
                advice="Ask for its address, or add the name to EVENSKIN_ALLOWED_HOSTS.",
            )
        return await handler(request)

    return guard


def write_guard(names: Collection[str]) -> Any:
    """Middleware that lets a request change something only if no other site's page can have sent it.

    Its Origin, where there is one, is the Host or one of these names (those of a proxy that puts another Host), and
    its body is JSON or a form of parts. Raises ForeignOrigin, UnsupportedMediaType.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in _SAFE and request.match_info.http_exception is None:
            origin = request.headers.get("Origin")
            if origin is not None and not _is_own_origin(origin, request.headers.get("Host"), names):
                raise ForeignOrigin(
                    f"The request comes from a page of '{origin[:80]}', which may change nothing here.",
                    advice="Use this service's own page; a proxy before it has to pass the Host on.",
                )
            # Without a body there need be no type; but one that a form may have is refused all the same.
            if request.content_type not in (JSON, FORM) and (request.can_read_body or request.content_type != _NO_TYPE):
                raise UnsupportedMediaType(
                    "The request's body is neither JSON nor a form of parts.",
                    advice=f"Send it as Content-Type: {JSON}, a picture as {FORM}.",
                )
        return await handler(request)

    return guard


def _name_in(authority: str) -> str:
    """The name or address in `name:port`; empty if there is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:  # brackets that are no address
        return ""


def _is_ours(name: str, names: Collection[str]) -> bool:
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_own_origin(origin: str, host: str | None, names: Collection[str]) -> bool:
    # The scheme is not compared: a proxy may end TLS. `null` (a sandbox, a file) has no authority: it is foreign.
    authority = origin.partition("://")[2].lower()
    return bool(authority) and (authority == (host or "").lower() or _name_in(authority) in names)
