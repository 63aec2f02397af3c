"""What becomes of a message is decided in one place, alike for both buses."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from shared.bus import RetryLater, Subscription, Undeliverable
from shared.errors import MalformedEvent, StoreUnavailable
from shared.events import ImageAugmented, RebalanceRequested
from shared.message import Message, Wire, encode
from shared.outcomes import Dead, Done, Outcome, Retry, attempt, failed, letter_id, read
from shared.tracing import add_ids, current_traceparent, trace_id
from tests.fakes.spans import Spans

MESSAGE = Message(ImageAugmented(image_id=UUID(int=1), variants=()), source="tests")


async def ignore(message: Message) -> None:
    """Be done at once."""


SUBSCRIPTION = Subscription("tests", ImageAugmented, ignore, max_tries=3)


def raising(error: BaseException) -> Subscription:
    async def handle(message: Message) -> None:
        raise error

    return replace(SUBSCRIPTION, handler=handle)


async def test_a_handler_that_returns_is_done() -> None:
    assert await attempt(SUBSCRIPTION, MESSAGE, 2) == Done()


@pytest.mark.parametrize(
    ("error", "tries", "outcome"),
    [
        (StoreUnavailable("down"), 0, Retry(1)),
        (RetryLater("later"), 1, Retry(2)),
        (RetryLater("later", counted=False), 2, Retry(2)),
        (ZeroDivisionError("oops"), 2, Dead(3, "ZeroDivisionError: oops")),
        (RetryLater("later"), 2, Dead(3, "RetryLater: later")),
        (Undeliverable("never"), 0, Dead(1, "Undeliverable: never")),
        (MalformedEvent("no"), 0, Dead(1, "MalformedEvent: no")),
    ],
)
async def test_an_error_becomes_an_outcome(error: Exception, tries: int, outcome: Outcome) -> None:
    assert await attempt(raising(error), MESSAGE, tries) == outcome


async def test_a_cancellation_is_no_outcome() -> None:
    with pytest.raises(asyncio.CancelledError):
        await attempt(raising(asyncio.CancelledError()), MESSAGE, 0)


async def test_what_every_replica_hears_is_given_up_without_a_trace() -> None:
    assert await attempt(replace(raising(ValueError()), every_replica=True), MESSAGE, 0) == Done()


@pytest.mark.parametrize(
    ("error", "every_replica", "told"),
    [
        (None, False, "done"),
        (StoreUnavailable("down"), False, "retried"),
        (Undeliverable("never"), False, "dead"),
        (StoreUnavailable("down"), True, "dropped"),
        (asyncio.CancelledError(), False, "given_back"),
    ],
)
async def test_every_ending_is_counted_once(error: BaseException | None, every_replica: bool, told: str) -> None:
    heard: list[str] = []
    subscription = SUBSCRIPTION if error is None else raising(error)
    subscription = replace(subscription, every_replica=every_replica, on_outcome=heard.append)
    with contextlib.suppress(asyncio.CancelledError):
        await attempt(subscription, MESSAGE, 0)
    assert heard == [told]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            StoreUnavailable("down"),
            {"event": "event_retried", "log_level": "warning", "error": "down", "tries": 1, "exc_info": False},
        ),
        (
            RetryLater("later", counted=False),
            {"event": "event_retried", "log_level": "warning", "error": "later", "tries": 0, "exc_info": False},
        ),
        (  # of an error that nobody thought of, whoever reads the log needs the stack
            ZeroDivisionError("oops"),
            {"event": "event_retried", "log_level": "warning", "error": "oops", "tries": 1, "exc_info": True},
        ),
        (
            Undeliverable("never"),
            {"event": "event_dead", "log_level": "error", "error": "Undeliverable: never", "tries": 1},
        ),
    ],
)
def test_every_error_is_logged(error: Exception, line: dict[str, Any]) -> None:
    with capture_logs() as logs:
        failed(SUBSCRIPTION, error, 0)
    assert logs == [line | {"queue": "tests.ImageAugmented"}]


async def test_a_handler_works_on_the_message_s_trace() -> None:
    lines: list[dict[str, Any]] = []
    handled: list[Message] = []

    async def look(message: Message) -> None:
        handled.append(message)
        lines.append(dict(add_ids(None, "", {"traceparent": current_traceparent()})))

    await attempt(replace(SUBSCRIPTION, handler=look), MESSAGE, 0)
    assert handled == [MESSAGE]
    assert lines[0].pop("traceparent") != MESSAGE.traceparent  # a span of its own
    assert lines == [
        {
            "correlation_id": MESSAGE.correlation_id,
            "trace_id": trace_id(MESSAGE.traceparent),
            "service": "tests",
            "consumer": "tests.ImageAugmented",
            "event_id": MESSAGE.id,
        }
    ]


@pytest.mark.parametrize(("error", "failure"), [(None, None), (StoreUnavailable("down"), "StoreUnavailable")])
async def test_handling_is_a_recorded_span(
    error: Exception | None, failure: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Spans()
    monkeypatch.setattr("shared.tracing._export", recorder)
    await attempt(SUBSCRIPTION if error is None else raising(error), MESSAGE, 0)
    [span] = recorder.spans
    assert (span.name, span.kind, span.parent) == ("handle ImageAugmented", "consumer", MESSAGE.traceparent)
    assert span.attributes == {"service": "tests", "consumer": "tests.ImageAugmented", "event_id": MESSAGE.id}
    assert (span.failure, span.ended) == (failure, True)


def test_a_long_error_is_cut() -> None:
    outcome = failed(SUBSCRIPTION, Undeliverable("x" * 10_000), 0)
    assert isinstance(outcome, Dead)
    assert len(outcome.error) == 2000


def test_a_message_of_another_event_is_malformed() -> None:
    other = encode(Message(RebalanceRequested(target_per_condition=1), source="tests"))
    with pytest.raises(MalformedEvent) as raised:
        read(SUBSCRIPTION, other)
    assert raised.value.message == "'RebalanceRequested' came to tests.ImageAugmented, which takes another event."
    assert read(SUBSCRIPTION, encode(MESSAGE)) == MESSAGE


def test_no_nesting_is_too_deep_to_be_refused() -> None:
    with pytest.raises(MalformedEvent):
        read(SUBSCRIPTION, Wire("ImageAugmented", "application/cloudevents+json", {}, b"[" * 100_000))


def test_a_letter_has_one_name_per_consumer_and_message() -> None:
    def named(queue: str, body: bytes, **headers: str) -> str:
        dashed = {name.replace("_", "-"): value for name, value in headers.items()}
        return letter_id(queue, Wire("ImageAugmented", "", dashed, body))

    assert named("a", b"x") == named("a", b"x", x_evenskin_tries="3")
    assert named("a", b"x", ce_id="1") == named("a", b"x", CE_ID="1")
    names = [
        named("a", b"x"),
        named("b", b"x"),
        named("a", b"y"),
        named("a", b"x", ce_id="1"),
        named("a", b"x", ce_id="2"),
        named("a", b"x", ce_id="1", ce_source="/s"),
        named("a", b"x", evenskin_id="1"),
    ]
    assert len(set(names)) == len(names)
    # Dead letters outlive a release, and so must their names: `printf ax | sha256sum`, its first half of a half.
    assert named("a", b"x") == "5e85370e555e95d2"
