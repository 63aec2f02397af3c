"""The codec of messages: what goes out comes back, in every mode; what is malformed says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from shared.errors import MalformedEvent
from shared.events import EVENTS, ImageAugmented, ImageLabeled, RebalanceRequested, Variant, Verdict
from shared.message import MAX_BODY_BYTES, Message, Wire, decode, encode
from shared.taxonomy import Condition, Severity

VARIANT = Variant(operation="hflip", key="images/a/hflip.png", sha256="0" * 64, width=3, height=4)
MESSAGE = Message(
    ImageAugmented(image_id=uuid4(), variants=(VARIANT,)),
    source="augmenter",
    id="m-1",
    time=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    correlation_id="c-1",
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
BINARY = {
    "ce-specversion": "1.0",
    "ce-type": "ImageAugmented",
    "ce-source": "/evenskin/augmenter",
    "ce-id": "m-1",
    "ce-time": "2026-01-02T03:04:05.678Z",
    "ce-correlationid": "c-1",
}


def body_of(data: Any) -> bytes:
    """JSON as bytes."""
    return json.dumps(data).encode()


def test_a_message_survives_the_wire() -> None:
    wire = encode(MESSAGE)
    assert wire.routing_key == "ImageAugmented"
    assert wire.content_type.startswith("application/cloudevents+json")
    assert decode(wire) == MESSAGE
    document = json.loads(wire.body)
    assert (document["specversion"], document["type"]) == ("1.0", "ImageAugmented")
    assert document["source"] == "/evenskin/augmenter"


def test_severities_cross_the_wire() -> None:
    labels = {Condition.ACNE: Severity.MILD, Condition.AGING: None}
    event = ImageLabeled(image_id=uuid4(), key="k", verdict=Verdict.ACCEPTED, labels=labels, reviewer="gate")
    assert decode(encode(Message(event, "labeler-api"))).event == event


def test_what_an_event_causes_is_on_its_trace() -> None:
    caused = MESSAGE.caused(RebalanceRequested(target_per_condition=1), source="labeler-api")
    assert (caused.correlation_id, caused.traceparent) == (MESSAGE.correlation_id, MESSAGE.traceparent)
    assert caused.id != MESSAGE.id
    assert MESSAGE.caused(MESSAGE.event, source="x", id="mine").id == "mine"


@pytest.mark.parametrize("prefix", ["ce-", "CE-"])
def test_binary_mode_is_read(prefix: str) -> None:
    headers = {prefix + name.removeprefix("ce-"): value for name, value in BINARY.items()}
    message = decode(Wire("ImageAugmented", "application/json", headers, MESSAGE.event.model_dump_json().encode()))
    assert message.event == MESSAGE.event
    assert (message.id, message.source, message.correlation_id) == ("m-1", "augmenter", "c-1")


def test_bare_json_is_read_where_an_operator_sends_it() -> None:
    for content_type in ("", "application/json", "text/plain"):
        message = decode(Wire("RebalanceRequested", content_type, {}, b'{"target_per_condition": 200}'))
        assert message.event == RebalanceRequested(
            target_per_condition=200,
            campaign_id=message.event.campaign_id,  # type: ignore[attr-defined]
        )
        assert message.source == "operator"
    structured = encode(Message(RebalanceRequested(target_per_condition=3), "me"))
    assert decode(Wire("RebalanceRequested", "application/json", {}, structured.body)).source == "me"


def test_fields_that_a_newer_sender_added_are_passed_over() -> None:
    document = json.loads(encode(MESSAGE).body)
    document["data"]["colour"] = "red"
    document["sequence"] = "1"
    wire = Wire("ImageAugmented", "application/cloudevents+json; charset=utf-8", {}, body_of(document))
    assert decode(wire).event == MESSAGE.event


def structured(**changes: Any) -> Wire:
    """A structured message with something wrong in it; None takes a member out."""
    document = json.loads(encode(MESSAGE).body) | changes
    body = body_of({name: value for name, value in document.items() if value is not None})
    return Wire("ImageAugmented", "application/cloudevents+json", {}, body)


MALFORMED: dict[str, Wire] = {
    "too large": Wire("RebalanceRequested", "", {}, b" " * (MAX_BODY_BYTES + 1)),
    "not operator's": Wire("ImageAugmented", "application/json", {}, b"{}"),
    "unknown key": Wire("SomethingElse", "", {}, b"{}"),
    "empty": Wire("RebalanceRequested", "", {}, b""),
    "not json": Wire("RebalanceRequested", "application/json", {}, b"{target: 5}"),
    "not text": Wire("RebalanceRequested", "application/json", {}, b"\xff\xfe\x00"),
    "too deep": Wire("RebalanceRequested", "", {}, b"[" * 100_000),
    "a list": Wire("RebalanceRequested", "", {}, b"[]"),
    "a typo": Wire("RebalanceRequested", "", {}, b'{"target": 5}'),
    "structured, empty": Wire("ImageAugmented", "application/cloudevents+json", {}, b""),
    "structured, not json": Wire("ImageAugmented", "application/cloudevents+json", {}, b"{"),
    "structured, a list": Wire("ImageAugmented", "application/cloudevents+json", {}, b"[]"),
    "structured, a number": Wire("ImageAugmented", "application/cloudevents+json", {}, b"5"),
    "structured, too deep": Wire("ImageAugmented", "application/cloudevents+json", {}, b"[" * 100_000),
    "no source": structured(source=None),
    "no type": structured(type=None),
    "another type": structured(type="SomethingElse"),
    "a number as type": structured(type=5),
    "another version": structured(specversion="7.0"),
    "no data": structured(data=None),
    "text as data": structured(data="text"),
    "wrong data": structured(data={"image_id": "mine", "variants": []}),
    "a wrong time": structured(time="yesterday"),
    "binary, no id": Wire("ImageAugmented", "application/json", {"ce-type": "ImageAugmented"}, b"{}"),
    "binary, wrong body": Wire("ImageAugmented", "application/json", BINARY, b"{"),
    "binary, not text": Wire("ImageAugmented", "application/json", BINARY, b"\xff\xfe"),
    "binary, another type": Wire("X", "application/json", {**BINARY, "ce-type": "Other"}, b"{}"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_malformed_says_so(kind: str) -> None:
    with pytest.raises(MalformedEvent) as raised:
        decode(MALFORMED[kind])
    assert raised.value.code == "malformed_event"
    assert raised.value.message


def test_every_event_has_its_name() -> None:
    assert all(event.name() == name for name, event in EVENTS.items())
    assert [name for name, event in EVENTS.items() if event.from_operator] == ["RebalanceRequested"]
