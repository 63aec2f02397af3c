"""What all our HTTP servers share: problem documents, the API key, health, readiness, metrics."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import from_json

from shared.documents.base import Document
from shared.documents.operations import Health, Readiness
from shared.documents.problems import problem_of
from shared.errors import (
    DamagedBody,
    EvenskinError,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServiceStarting,
    Unauthorized,
    UnsupportedCoding,
    UnsupportedMediaType,
)
from shared.message import first_problem
from shared.metrics import ServiceMetrics
from shared.request_body import X_GZIP, coding_of, text_of
from shared.tracing import (
    CORRELATION_HEADER,
    TRACE_HEADER,
    Span,
    current_correlation_id,
    valid_correlation_id,
    valid_traceparent,
)

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=BaseModel)

PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
JSON = "application/json"
PROBLEM = "application/problem+json"  # RFC 9457
MAX_NUMBER = 2**63 - 1  # in a query: what a database's integer holds
PAGE_PREFIX = "/static/"
"""Where a service's page has its files."""
PAGES = frozenset({"/", "/dashboard", "/dermatologist_drag_drop_tool.html"})
"""Pages. They and their files hold no data and need no key: the page itself asks for the key."""
PAGE_FILES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
"""Media types of a page's files: a machine's own table may say otherwise."""
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked for again each time, and mostly answered 304
}
CODINGS = ("gzip", "deflate", "br", "zstd")
"""Content-Encodings of requests that aiohttp decodes, one at a time."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CORRELATION: web.RequestKey[str] = web.RequestKey("correlation_id", str)
_CLIENT_GONE = 499  # nginx's status of a request whose caller went away before the answer
_DAMAGED = (web.RequestPayloadError, HttpProcessingError)  # what aiohttp raises where a body is read
_RETRY_AFTER_S = {503: "2", 429: "60"}  # by status
_CODES = {404: "not_found", 405: "method_not_allowed", 408: "request_timeout", 413: "request_too_large"}


def document_response(document: Document, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A document as `application/json`."""
    return web.Response(text=document.json_text(), status=status, headers=headers, content_type=JSON)


def problem_response(error: EvenskinError) -> web.Response:
    """The error as `application/problem+json`, with Retry-After where the status is 503 or 429."""
    headers = {"Retry-After": _RETRY_AFTER_S[error.status]} if error.status in _RETRY_AFTER_S else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsupportedCoding):
        headers["Accept-Encoding"] = ", ".join(CODINGS)  # RFC 9110, section 12.5.3
    return web.Response(
        text=problem_of(error).json_text(),
        status=error.status,
        headers=headers,
        content_type=PROBLEM,
    )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem document, so that no caller sees a traceback."""
    response = await _explained(request, handler)
    if request.content.exception() is not None:  # aiohttp would read on after the answer, and log a traceback
        request.content.feed_eof()
        response.force_close()
    return response


async def _explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EvenskinError as error:
        if error.status >= 500 and not isinstance(error, Overloaded):  # counted: a line each would be a load of its own
            log.warning("request_failed", path=request.path, code=error.code, error=error.message)
        return problem_response(error)
    except _DAMAGED:
        return problem_response(DamagedBody("The request's body broke off or its encoding is damaged."))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        wrapped = EvenskinError(f"{error.reason}: {request.method} {request.path}.")
        wrapped.code, wrapped.status = _CODES.get(error.status, "http_error"), error.status
        response = problem_response(wrapped)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception as error:
        if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
            return web.Response(status=_CLIENT_GONE)  # nobody reads it; it is counted and logged as what it is
        log.exception("request_crashed", path=request.path)
        return problem_response(EvenskinError("Something went wrong on our side.", advice="Try again; then tell us."))


@web.middleware
async def known_codings(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a body whose coding aiohttp would hand on as it came. Raises UnsupportedCoding."""
    coding = coding_of(request)
    if coding not in ("", "identity", X_GZIP, *CODINGS) and request.can_read_body:
        raise UnsupportedCoding(
            f"The body's Content-Encoding '{coding[:80]}' is not read.",
            advice=f"Send it without one, or as one of: {', '.join(CODINGS)}.",
        )
    return await handler(request)


async def explain_expectation(_: web.Request, response: web.StreamResponse) -> None:
    """Give aiohttp's answer to an unknown Expect, which no middleware sees, our form; called before it is sent."""
    if isinstance(response, web.HTTPExpectationFailed):
        error = EvenskinError("The request's Expect is not 100-continue.", advice="Send it without Expect.")
        error.code, error.status = "expectation_failed", response.status
        body = problem_of(error).json_text().encode()
        response.body, response.content_type = body, PROBLEM
        response.headers["Content-Length"] = str(len(body))  # the old one is there by now


def request_observer(service: str, metrics: ServiceMetrics, unlogged: Collection[str] = ()) -> Any:
    """The outermost middleware: it puts a request on its trace, counts it and logs one line.

    It continues the caller's `traceparent` and `X-Correlation-ID`, and ignores malformed ones. It logs successful
    reads at debug level, and health, readiness and metrics not at all; nor what comes by the `unlogged` routes, of
    which there are hundreds a second, but for what fails on our side.
    """
    silent = PUBLIC_PATHS.union(unlogged)

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        started = time.perf_counter()
        status = _CLIENT_GONE
        with Span(
            f"{method} {route}",
            kind="server",
            parent=valid_traceparent(request.headers.get(TRACE_HEADER)),
            correlation_id=valid_correlation_id(request.headers.get(CORRELATION_HEADER)),
            attributes={"http.request.method": method, "http.route": route},
            service=service,
        ) as span:
            request[_CORRELATION] = current_correlation_id()
            try:
                response = await handler(request)
                status = response.status
            except web.HTTPException as error:  # a redirect: what is worse is a problem document by now
                status = error.status
                raise
            finally:
                seconds = time.perf_counter() - started
                metrics.request_answered(method, route, status, seconds)
                span.note("http.response.status_code", status)
                if status >= 500:
                    span.fail(str(status))
                if route not in silent or status == 500:
                    tell = log.debug if status < 400 and method in ("GET", "HEAD") else log.info
                    tell("request", method=method, route=route, status=status, ms=round(seconds * 1000, 1))
        return response

    return observe


async def add_correlation_header(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's correlation id into the answer's headers; aiohttp calls it before sending them."""
    if (correlation_id := request.get(_CORRELATION)) is not None:
        response.headers[CORRELATION_HEADER] = correlation_id


def api_key_guard(key: SecretStr | None) -> Any:
    """Middleware that asks for `Authorization: Bearer <key>` (or `X-API-Key`) if a key is set; pages are open."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if key is not None and request.path not in PUBLIC_PATHS and not is_page(request):
            sent = token_of(request).encode(errors="surrogateescape")
            if not hmac.compare_digest(sent, key.get_secret_value().encode()):
                raise Unauthorized("The request carries no valid API key.", advice="Send Authorization: Bearer <key>.")
        return await handler(request)

    return guard


def is_page(request: web.Request) -> bool:
    """Whether a page or a file of it is asked for."""
    is_read = request.method in ("GET", "HEAD")
    return is_read and (request.path in PAGES or request.path.startswith(PAGE_PREFIX))


def token_of(request: web.Request) -> str:
    """The key or token that a request carries; empty where it carries none."""
    return request.headers.get("X-API-Key") or request.headers.get("Authorization", "").removeprefix("Bearer ")


def open_guard(is_open: Callable[[], bool]) -> Any:
    """Middleware that answers 503 while the service waits for its dependencies, except for health and metrics."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_open() and request.path not in PUBLIC_PATHS:
            raise ServiceStarting("The service is not ready to answer.", advice="Try again in a moment.")
        return await handler(request)

    return guard


async def json_body(request: web.Request) -> dict[str, Any]:
    """The request's JSON object. Raises InvalidRequest, UnsupportedMediaType."""
    # Before another site's page may send JSON, its browser asks here whether it may.
    if request.can_read_body and request.content_type != JSON:
        raise UnsupportedMediaType("The request's body is not JSON.", advice=f"Send it as Content-Type: {JSON}.")
    try:
        # Unlike Python's own reader, this one refuses lone surrogates and NaN, which cannot be kept or answered.
        body = from_json((await text_of(request)).encode(), allow_inf_nan=False)
    except (ValueError, LookupError) as error:  # LookupError: no such charset
        raise InvalidRequest("The request's body is not JSON.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("The request's body is not a JSON object.")
    return body


def add_page_files(app: web.Application, directory: Path) -> None:
    """`/static/<file>`: the files that a service's page has in this directory, and nothing else.

    They and the page get headers that let it load and run nothing else, and stand in no other site's frame.
    """
    files = {path.name: path for path in directory.iterdir() if path.suffix in PAGE_FILES}

    async def file(request: web.Request) -> web.StreamResponse:
        path = files.get(request.match_info["file"])
        if path is None:
            raise NotFound(f"The page has no file '{request.match_info['file'][:80]}'.")
        return web.FileResponse(path, headers={"Content-Type": PAGE_FILES[path.suffix]})

    app.router.add_get(PAGE_PREFIX + "{file}", file)
    app.on_response_prepare.append(_add_page_headers)


async def _add_page_headers(request: web.Request, response: web.StreamResponse) -> None:
    if request.path in PAGES or request.path.startswith(PAGE_PREFIX):
        response.headers.update(_PAGE_HEADERS)


def parsed(kind: type[M], sent: Mapping[str, Any]) -> M:
    """What was sent, as the model that it must fit. Raises InvalidRequest with the first field that does not."""
    try:
        return kind.model_validate(sent)
    except ValidationError as error:
        raise InvalidRequest(first_problem(error) + ".") from error


def add_operations_routes(
    app: web.Application,
    registry: CollectorRegistry,
    ready: Callable[[], Awaitable[None]],
    refresh_metrics: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Add `/healthz` (the process answers), `/readyz` (its dependencies do too) and `/metrics` (Prometheus).

    `refresh_metrics` updates metrics that are read from elsewhere; it is awaited before `/metrics` is answered.
    """

    async def healthz(_: web.Request) -> web.Response:
        return document_response(Health(status="ok"))

    async def readyz(_: web.Request) -> web.Response:
        try:
            await ready()
        except EvenskinError as error:
            unready = EvenskinError(error.message, advice=error.advice)
            unready.code, unready.status = error.code, 503
            return problem_response(unready)
        return document_response(Readiness(status="ready"))

    async def metrics(_: web.Request) -> web.Response:
        if refresh_metrics is not None:
            await refresh_metrics()
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
