"""Problem documents, the key and the operations' routes, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, SecretStr
from pydantic_core import ValidationError
from structlog.testing import capture_logs

from shared.errors import (
    ConfigurationError,
    EvenskinError,
    ImageTooLarge,
    InvalidRequest,
    NotFound,
    StoreFull,
    StoreUnavailable,
    Unauthorized,
)
from shared.http import (
    add_correlation_header,
    add_operations_routes,
    api_key_guard,
    json_body,
    parsed,
    problem_response,
    problems,
    request_observer,
)
from shared.metrics import MetricRegistry, ServiceMetrics
from shared.tracing import current_correlation_id, current_traceparent, trace_id
from tests.eventually import LIMIT_S


class Shape(BaseModel):
    """Something to get wrong."""

    number: int


async def answer(error: Exception) -> tuple[web.StreamResponse, dict[str, Any]]:
    """What a handler that raises this is answered with."""

    async def handler(_: web.Request) -> web.StreamResponse:
        raise error

    response = await problems(make_mocked_request("GET", "/v1/x"), handler)
    assert isinstance(response, web.Response)
    assert response.content_type == "application/problem+json"
    assert isinstance(response.body, bytes)
    document: dict[str, Any] = json.loads(response.body)
    assert document["status"] == response.status
    assert document["type"] == f"urn:evenskin:problem:{document['code']}"
    return response, document


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("There is none."), 404, "not_found"),
        (ImageTooLarge("Too large.", advice="Send less."), 413, "image_too_large"),
        (StoreFull("Full."), 507, "store_full"),
        (StoreUnavailable("Gone."), 503, "store_unavailable"),
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "method_not_allowed"),
        (web.HTTPRequestEntityTooLarge(5, 6), 413, "request_too_large"),
        (web.HTTPGone(), 410, "http_error"),
        (RuntimeError("password=hunter2"), 500, "internal_error"),
        (ValidationError.from_exception_data("An answer of ours", []), 500, "internal_error"),
    ],
)
async def test_every_error_is_a_problem_document(error: Exception, status: int, code: str) -> None:
    response, document = await answer(error)
    assert (response.status, document["code"]) == (status, code)
    assert ("Retry-After" in response.headers) == (status == 503)
    assert "hunter2" not in json.dumps(document)
    if isinstance(error, EvenskinError):
        assert document["detail"] == error.message


async def test_a_wrong_shape_names_the_field() -> None:
    with pytest.raises(InvalidRequest) as raised:
        parsed(Shape, {"number": "x"})
    response, document = await answer(raised.value)
    assert (response.status, document["code"]) == (422, "invalid_request")
    assert document["detail"].startswith("number")


async def test_text_that_is_no_unicode_is_replaced() -> None:
    _, document = await answer(NotFound("There is no '\ud800'.", advice="Not \udcff.", hint="\ud800"))
    assert (document["detail"], document["advice"], document["hint"]) == ("There is no '?'.", "Not ?.", "?")


@pytest.mark.parametrize("error", [web.RequestPayloadError("cut off"), ContentEncodingError("deflate")])
async def test_a_damaged_body_is_the_callers_fault(error: Exception) -> None:
    response, document = await answer(error)
    assert (response.status, document["code"]) == (400, "body_damaged")


async def test_redirects_pass() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/")

    with pytest.raises(web.HTTPFound):
        await problems(make_mocked_request("GET", "/x"), handler)


def test_details_stand_beside_the_members() -> None:
    document = NotFound("No.", advice="Look elsewhere.", image_id="5").problem()
    assert document == {
        "type": "urn:evenskin:problem:not_found",
        "title": "Not found",
        "status": 404,
        "code": "not_found",
        "detail": "No.",
        "advice": "Look elsewhere.",
        "image_id": "5",
    }
    assert problem_response(Unauthorized("Key?")).headers["WWW-Authenticate"] == "Bearer"


def test_the_exit_status_says_who_can_mend_it() -> None:
    assert ConfigurationError("x").exit_status == 2
    assert StoreUnavailable("x").exit_status == 1


@pytest.mark.parametrize(
    ("method", "path", "headers", "open_"),
    [
        ("GET", "/v1/x", {}, False),
        ("GET", "/v1/x", {"Authorization": "Bearer key"}, True),
        ("GET", "/v1/x", {"Authorization": "Bearer wrong"}, False),
        ("GET", "/v1/x", {"Authorization": "Bearer kéy"}, False),
        ("GET", "/v1/x", {"X-API-Key": "key"}, True),
        ("GET", "/", {}, True),
        ("POST", "/", {}, False),
        ("GET", "/static/page.js", {}, True),
        ("GET", "/healthz", {}, True),
        ("GET", "/metrics", {}, True),
    ],
)
async def test_the_key(method: str, path: str, headers: dict[str, str], open_: bool) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response()

    request = make_mocked_request(method, path, headers=headers)
    if open_:
        assert (await api_key_guard(SecretStr("key"))(request, handler)).status == 200
    else:
        with pytest.raises(Unauthorized):
            await api_key_guard(SecretStr("key"))(request, handler)
    assert (await api_key_guard(None)(request, handler)).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 100_000, rb'{"a": "\ud800"}', b'{"a": NaN}'])
async def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    request = make_mocked_request("POST", "/v1/x", headers={"Content-Type": "application/json"})
    request._read_bytes = body
    with pytest.raises(EvenskinError) as raised:
        await json_body(request)
    assert raised.value.code == "invalid_request"


async def test_readiness_is_what_it_depends_on() -> None:
    error: EvenskinError | None = StoreFull("The disk is full.")

    async def ready() -> None:
        if error is not None:
            raise error

    app = web.Application()
    add_operations_routes(app, CollectorRegistry(), ready)
    handlers = {route.resource.canonical: route.handler for route in app.router.routes() if route.resource}
    request = make_mocked_request("GET", "/readyz")
    response = await handlers["/readyz"](request)
    assert isinstance(response, web.Response)
    assert response.status == 503
    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["code"] == "store_full"
    error = None
    assert (await handlers["/readyz"](request)).status == 200
    assert (await handlers["/healthz"](request)).status == 200


@asynccontextmanager
async def observed_server(
    registry: MetricRegistry, unlogged: Collection[str] = ()
) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A server that answers with what the request's work belongs to, and fails where it is told to."""

    async def show(request: web.Request) -> web.StreamResponse:
        if request.match_info["id"] == "crash":
            raise RuntimeError("oops")
        if request.match_info["id"] == "away":
            raise web.HTTPFound("/")
        if request.match_info["id"] == "stream":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"a")
            return response
        return web.json_response({"correlation_id": current_correlation_id(), "traceparent": current_traceparent()})

    async def ready() -> None:
        """Always."""

    app = web.Application(
        middlewares=[request_observer("tests", ServiceMetrics(registry, "tests"), unlogged), problems]
    )
    app.on_response_prepare.append(add_correlation_header)
    add_operations_routes(app, registry, ready)
    app.router.add_get("/v1/things/{id}", show)
    app.router.add_post("/v1/things/{id}", show)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_request_belongs_to_its_caller_or_to_itself() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with observed_server(MetricRegistry()) as client:
        sent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "X-Correlation-ID": "c-1"}
        async with client.get("/v1/things/5", headers=sent) as answer:
            document = await answer.json()
            assert (answer.headers["X-Correlation-ID"], document["correlation_id"]) == ("c-1", "c-1")
            assert trace_id(document["traceparent"]) == trace
            assert document["traceparent"] != sent["traceparent"]
        nonsense = {"traceparent": "00-1-2-01", "X-Correlation-ID": " "}
        async with client.get("/v1/things/5", headers=nonsense) as answer:
            document = await answer.json()
            assert trace_id(document["traceparent"]) != trace
            assert len(answer.headers["X-Correlation-ID"]) == 36
        for path, status in (("crash", 500), ("stream", 200), ("away", 302)):
            async with client.get(f"/v1/things/{path}", headers=sent, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["X-Correlation-ID"]) == (status, "c-1")


async def test_a_caller_who_leaves_in_the_middle_is_no_crash() -> None:
    registry, left = MetricRegistry(), asyncio.Event()
    app = web.Application(middlewares=[request_observer("test", ServiceMetrics(registry, "test")), problems])

    async def download(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(65536))
        finally:
            left.set()

    app.router.add_get("/download", download)
    runner = web.AppRunner(app)  # aiohttp's test server would cancel the handler
    await runner.setup()
    labels = {"method": "GET", "route": "/download", "status": "499"}
    with capture_logs() as logs:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            reader, writer = await asyncio.open_connection(*runner.addresses[0])
            writer.write(b"GET /download HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readline()
            writer.transport.abort()
            async with asyncio.timeout(LIMIT_S):
                await left.wait()
        finally:
            await runner.cleanup()
    assert registry.get_sample_value("evenskin_http_requests_total", labels) == 1
    assert [line["event"] for line in logs if line["log_level"] in ("warning", "error")] == []


async def test_requests_are_counted_by_template_and_logged_once() -> None:
    registry = MetricRegistry()
    async with observed_server(registry) as client:
        with capture_logs() as logs:
            for method, path in (
                ("GET", "/v1/things/5"),
                ("POST", "/v1/things/6?key=secret"),
                ("GET", "/v1/things/crash"),
                ("GET", "/nowhere/near"),
                ("PROPFIND", "/v1/things/5"),
                ("GET", "/healthz"),
                ("GET", "/metrics"),
            ):
                await (await client.request(method, path)).read()

    def count(method: str, route: str, status: str) -> float | None:
        labels = {"method": method, "route": route, "status": status}
        return registry.get_sample_value("evenskin_http_requests_total", labels)

    assert count("GET", "/v1/things/{id}", "200") == 1
    assert count("POST", "/v1/things/{id}", "200") == 1
    assert count("GET", "/v1/things/{id}", "500") == 1
    assert count("GET", "unmatched", "404") == 1
    assert count("other", "unmatched", "405") == 1
    assert count("GET", "/healthz", "200") == 1
    lines = [line for line in logs if line["event"] == "request"]
    assert [(line["log_level"], line["method"], line["route"], line["status"]) for line in lines] == [
        ("debug", "GET", "/v1/things/{id}", 200),
        ("info", "POST", "/v1/things/{id}", 200),
        ("info", "GET", "/v1/things/{id}", 500),
        ("info", "GET", "unmatched", 404),
        ("info", "other", "unmatched", 405),
    ]
    assert "secret" not in str(logs)


async def test_an_unlogged_route_is_counted_and_told_of_only_where_we_fail() -> None:
    registry = MetricRegistry()
    async with observed_server(registry, unlogged=["/v1/things/{id}"]) as client:
        with capture_logs() as logs:
            for path in ("/v1/things/5", "/v1/things/crash", "/nowhere"):
                await (await client.post(path)).read()
    labels = {"method": "POST", "route": "/v1/things/{id}", "status": "200"}
    assert registry.get_sample_value("evenskin_http_requests_total", labels) == 1
    lines = [line for line in logs if line["event"] == "request"]
    assert [(line["route"], line["status"]) for line in lines] == [("/v1/things/{id}", 500), ("unmatched", 404)]
