"""Traces and correlation ids: made, continued, carried on, and recorded only where that is asked for."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import Iterator
from uuid import uuid4

import pytest
import structlog
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared import tracing
from shared.bus import Subscription
from shared.embedded.bus import InProcessBus
from shared.events import ImageAugmented, RebalanceRequested
from shared.message import Message, decode, encode
from shared.outcomes import attempt
from shared.tracing import (
    Span,
    child_of,
    configure_tracing,
    continued,
    current_correlation_id,
    current_traceparent,
    new_traceparent,
    outgoing_headers,
    trace_id,
    valid_correlation_id,
    valid_traceparent,
)
from tests.eventually import LIMIT_S

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (PARENT, PARENT),
        (PARENT[:-2] + "00", PARENT[:-2] + "00"),
        ("01" + PARENT[2:] + "-more", PARENT),  # a newer version: what 00 knows of it
        ("cc" + PARENT[2:], PARENT),
        (PARENT + "-more", None),
        ("ff" + PARENT[2:], None),
        (PARENT.upper(), None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", None),
        ("00-1-2-01", None),
        ("t" * 900, None),
        (PARENT + "\n", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_a_trace_parent_from_outside_is_read_as_the_standard_says(given: object, kept: str | None) -> None:
    assert valid_traceparent(given) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("c-1", "c-1"),
        ("a\r\nSet-Cookie: b\0", "aSet-Cookie:b"),
        ("x" * 500, "x" * 128),
        (5, "5"),
        ("é \n", None),
        ("", None),
        (None, None),
    ],
)
def test_a_correlation_id_from_outside_is_harmless(given: object, kept: str | None) -> None:
    assert valid_correlation_id(given) == kept


def test_traces_are_valid_and_all_different_whatever_is_seeded() -> None:
    made = set()
    for _ in range(100):
        random.seed(1)
        made.add(new_traceparent())
    assert len(made) == 100
    assert all(valid_traceparent(traceparent) == traceparent for traceparent in made)


def test_a_child_is_on_its_parents_trace_with_its_flags() -> None:
    unsampled = PARENT[:-2] + "00"
    child = child_of(unsampled)
    assert valid_traceparent(child) == child != unsampled
    assert (trace_id(child), child[-2:]) == (trace_id(PARENT), "00")


def test_a_span_is_what_belongs_to_it_until_it_ends() -> None:
    with Span("outer", parent=PARENT, correlation_id="c-1"):
        outer = current_traceparent()
        assert trace_id(outer) == trace_id(PARENT)
        assert outer != PARENT
        assert outgoing_headers() == {"traceparent": outer, "X-Correlation-ID": "c-1"}
        with Span("inner"):
            assert current_traceparent() != outer
            assert trace_id(current_traceparent()) == trace_id(PARENT)
            assert current_correlation_id() == "c-1"
        with Span("another request", parent=new_traceparent(), correlation_id="c-2"):
            assert current_correlation_id() == "c-2"
        assert current_traceparent() == outer
    assert current_correlation_id() not in ("c-1", "c-2")
    assert trace_id(current_traceparent()) != trace_id(PARENT)


def test_a_trace_is_continued_by_its_own_span_only() -> None:
    assert continued(PARENT) == PARENT
    with Span("work", parent=PARENT):
        assert continued(PARENT) == current_traceparent()
        other = new_traceparent()
        assert continued(other) == other


def test_a_message_belongs_to_the_work_that_makes_it() -> None:
    event = RebalanceRequested(target_per_condition=1)
    with Span("request", correlation_id="c-1"):
        message = Message(event, "operator")
        assert (message.correlation_id, message.traceparent) == ("c-1", current_traceparent())
    alone = Message(event, "operator")
    assert valid_traceparent(alone.traceparent)
    assert trace_id(alone.traceparent) != trace_id(message.traceparent)
    assert json.loads(encode(alone).body)["traceparent"] == alone.traceparent
    assert decode(encode(message)) == message


async def test_a_handler_works_on_its_messages_trace_and_says_so_in_its_logs() -> None:
    made: list[Message] = []

    async def handle(message: Message) -> None:
        structlog.get_logger("test").info("at_work", service="mine")
        made.append(message.caused(ImageAugmented(image_id=uuid4(), variants=()), source="augmenter"))

    message = Message(RebalanceRequested(target_per_condition=1), "operator", correlation_id="c-1", traceparent=PARENT)
    written = io.StringIO()
    structlog.configure(
        processors=[tracing.add_ids, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(written),
    )
    try:
        await attempt(Subscription("tests", RebalanceRequested, handle), message, 0)
        structlog.get_logger("test").info("outside")
    finally:
        structlog.reset_defaults()
    assert (made[0].correlation_id, trace_id(made[0].traceparent)) == ("c-1", trace_id(PARENT))
    assert made[0].traceparent != PARENT
    inside, outside = map(json.loads, written.getvalue().splitlines())
    assert inside == {
        "event": "at_work",
        "service": "mine",  # what a line says itself stands
        "consumer": "tests.RebalanceRequested",
        "event_id": message.id,
        "correlation_id": "c-1",
        "trace_id": trace_id(PARENT),
    }
    assert outside == {"event": "outside"}


@pytest.fixture
def _recording_nothing() -> Iterator[None]:
    yield
    tracing.close_tracing()


@pytest.mark.usefixtures("_recording_nothing")
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_nothing_is_recorded_unless_an_endpoint_is_set(environment: dict[str, str]) -> None:
    configure_tracing("tests", environment)
    assert not tracing.is_recording()


@pytest.mark.usefixtures("_recording_nothing")
async def test_spans_go_to_the_endpoint_and_what_is_sent_carries_on_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[ExportTraceServiceRequest] = []

    async def collect(request: web.Request) -> web.Response:
        exported.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", collect)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setattr("shared.remote.spans.CLOSE_S", LIMIT_S)
    configure_tracing("tests")
    heard: asyncio.Queue[Message] = asyncio.Queue()
    bus = InProcessBus()
    await bus.start()
    await bus.subscribe(Subscription("tests", RebalanceRequested, heard.put))
    sent = Message(RebalanceRequested(target_per_condition=1), "operator", correlation_id="c-1", traceparent=PARENT)
    await bus.publish(sent)
    received = await heard.get()
    await bus.drain(LIMIT_S)
    await bus.close()
    with pytest.raises(ZeroDivisionError), Span("fails", attributes={"of": 7}):
        raise ZeroDivisionError
    await asyncio.to_thread(tracing.close_tracing)
    await runner.cleanup()

    resources = [resource for request in exported for resource in request.resource_spans]
    names = {a.value.string_value for r in resources for a in r.resource.attributes if a.key == "service.name"}
    assert names == {"tests"}
    spans = {span.name: span for r in resources for scoped in r.scope_spans for span in scoped.spans}
    send, handle, failed = (spans[name] for name in ("send RebalanceRequested", "handle RebalanceRequested", "fails"))
    assert send.trace_id.hex() == handle.trace_id.hex() == trace_id(PARENT)
    assert send.parent_span_id.hex() == PARENT.split("-")[2]
    assert handle.parent_span_id == send.span_id
    assert received.traceparent == f"00-{trace_id(PARENT)}-{send.span_id.hex()}-01"
    assert received.id == sent.id
    assert failed.status.message == "ZeroDivisionError"
    assert failed.trace_id != send.trace_id


@pytest.mark.usefixtures("_recording_nothing")
def test_a_collector_that_is_not_there_costs_no_more_than_the_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.remote.spans.CLOSE_S", 0.1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    configure_tracing("tests")
    with Span("lost", parent=PARENT):
        assert trace_id(current_traceparent()) == trace_id(PARENT)
    tracing.close_tracing()
    assert not tracing.is_recording()
