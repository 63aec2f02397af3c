"""The codec of messages: what goes out comes back, in every mode; what is malformed says so."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from cloudevents.core.bindings.rabbitmq import (
    RabbitMQMessage,
    from_binary_event,
    from_structured_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.v1.event import CloudEvent

from shared.errors import InvalidRequest, MalformedEvent
from shared.events import (
    EVENTS,
    CampaignChange,
    Event,
    FailureReason,
    ImageAugmented,
    ImageFailed,
    ImageGenerated,
    ImageLabeled,
    ImageRequested,
    ModelPromoted,
    ModelTrained,
    QuotaMet,
    RebalanceChangeRequested,
    RebalanceRejected,
    RebalanceRequested,
    ReviewPolicy,
    Subject,
    TrainingFailed,
    TrainingFailure,
    TrainingProgressed,
    Variant,
    Verdict,
)
from shared.message import MAX_BODY_BYTES, Message, Wire, decode, encode, identified, sending
from shared.outcomes import letter_id
from shared.taxonomy import AgeBand, Condition, Light, Severity, Sex, View
from shared.tracing import current_correlation_id
from tests.fakes.spans import Spans

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


EXAMPLES: tuple[Event, ...] = (
    RebalanceRequested(target_per_condition=200, targets={"acne": 5}, max_cost_usd=1e-7, review=ReviewPolicy.MANUAL),
    RebalanceChangeRequested(campaign_id=UUID(int=5), change=CampaignChange.CANCEL, reason="ü \u2028"),
    RebalanceRejected(campaign_id=None, code="over_budget", reason='Dear: "ü" \\ \N{GRINNING FACE} \x07 \u2028'),
    ImageRequested(
        campaign_id=uuid4(),
        slot_id=uuid4(),
        attempt=2,
        image_id=uuid4(),
        condition=Condition.ACNE,
        severity=Severity.SEVERE,
        subject=Subject(
            age_band=next(iter(AgeBand)),
            skin_tone=10,
            sex=next(iter(Sex)),
            light=next(iter(Light)),
            view=next(iter(View)),
        ),
        earlier_rejections=("blurred: skin detail cannot be seen",),
    ),
    ImageGenerated(
        campaign_id=uuid4(),
        slot_id=uuid4(),
        attempt=1,
        image_id=uuid4(),
        key="k",
        sha256="0" * 64,
        width=1,
        height=2,
        media_type="image/png",
        prompt="Ein Gesicht, naïve\n",
        provider="p",
        model="m",
        cost_usd=0.03,
        quality={"sharpness": 1e22, "contrast": 1 / 3},
    ),
    ImageFailed(
        campaign_id=uuid4(),
        slot_id=uuid4(),
        attempt=1,
        image_id=uuid4(),
        reason=FailureReason.TIMEOUT,
        detail="",
    ),
    ImageLabeled(
        image_id=uuid4(), key="k", verdict=Verdict.REJECTED, labels={Condition.AGING: None}, reviewer="Dr. Skin"
    ),
    MESSAGE.event,
    QuotaMet(
        campaign_id=uuid4(),
        dataset_version="ds-1",
        manifest_key="k",
        counts={Condition.ACNE: 3},
        images=3,
        variants=3,
        without_variants=0,
    ),
    TrainingProgressed(
        run_id="r", campaign_id=uuid4(), epoch=1, epochs=9, train_loss=0.1, validation_loss=1e-12, metrics={"f1": 0.5}
    ),
    TrainingFailed(
        run_id="r",
        campaign_id=uuid4(),
        dataset_version="ds-1",
        reason=TrainingFailure.LOSS_NOT_FINITE,
        detail="Der Verlust ist keine Zahl.",
    ),
    ModelTrained(
        run_id="r",
        campaign_id=uuid4(),
        dataset_version="ds-1",
        version="v1",
        key="k",
        sha256="0" * 64,
        metrics={"per_condition": {"acne": [1, 0.25, None, True, "text"]}},
        promoted=True,
    ),
    ModelPromoted(
        version="v1", key="k", sha256="0" * 64, promoted_at=datetime(2026, 1, 2, tzinfo=UTC), reason="better"
    ),
)


def by_the_sdk(message: Message) -> CloudEvent:
    """The message as the CloudEvents SDK has it."""
    attributes = {
        "specversion": "1.0",
        "type": message.event.name(),
        "source": f"/evenskin/{message.source}",
        "id": message.id,
        "time": message.time,
        "datacontenttype": "application/json",
        "correlationid": message.correlation_id,
        "traceparent": message.traceparent,
    }
    return CloudEvent(attributes, message.event.model_dump(mode="json"))


def test_every_event_has_an_example() -> None:
    assert [event.name() for event in EXAMPLES] == list(EVENTS)


@pytest.mark.parametrize("offset_h", [0, 2])
@pytest.mark.parametrize("event", EXAMPLES, ids=list(EVENTS))
def test_we_write_and_read_what_the_sdk_does(event: Event, offset_h: int) -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=offset_h)))
    message = Message(event, 'a "source" ü', id='"id" \\', time=time, correlation_id="c-1")
    theirs, ours = to_structured_event(by_the_sdk(message)), encode(message)
    assert (ours.content_type, ours.headers) == (theirs.content_type, theirs.headers)
    assert json.loads(ours.body) == json.loads(theirs.body)
    assert list(json.loads(ours.body)) == list(json.loads(theirs.body))
    assert decode(ours) == decode(Wire(event.name(), theirs.content_type or "", {}, theirs.body)) == message
    read = from_structured_event(RabbitMQMessage({}, ours.content_type, ours.body))
    assert (read.get_type(), read.get_id(), read.get_time()) == (event.name(), message.id, time)
    assert read.get_data() == event.model_dump(mode="json")


@pytest.mark.parametrize("offset_h", [0, 2])
@pytest.mark.parametrize("event", EXAMPLES, ids=list(EVENTS))
def test_we_read_binary_mode_as_the_sdk_writes_it(event: Event, offset_h: int) -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=offset_h)))
    message = Message(event, 'a "source" ü', id='"id" \\', time=time, correlation_id="c-1")
    theirs = to_binary_event(by_the_sdk(message))
    assert decode(Wire(event.name(), theirs.content_type or "", theirs.headers, theirs.body)) == message


@pytest.mark.parametrize("left_out", ["ce-id", "ce-specversion", "ce-time", "ce-correlationid"])
def test_binary_mode_may_leave_out_what_the_sdk_lets_it(left_out: str) -> None:
    headers = {name: value for name, value in BINARY.items() if name != left_out}
    body = MESSAGE.event.model_dump_json().encode()
    message = decode(Wire("ImageAugmented", "application/json", headers, body))
    theirs = from_binary_event(RabbitMQMessage(headers, "application/json", body))
    assert (message.event, f"/evenskin/{message.source}") == (MESSAGE.event, theirs.get_source())
    assert message.id
    if left_out != "ce-id":
        assert message.id == theirs.get_id()
    if left_out != "ce-time":
        assert message.time == theirs.get_time()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce-id", ""),
        ("ce-source", None),
        ("ce-source", ""),
        ("ce-specversion", "0.3"),
        ("ce-specversion", ""),
        ("ce-type", ""),
        ("ce-time", "yesterday"),
        ("ce-time", ""),
        ("ce-time", "2026-01-02T03:04:05"),
        ("ce-time", "2026-13-02T03:04:05Z"),
    ],
)
def test_binary_mode_is_malformed_where_the_sdk_says_so(name: str, value: str | None) -> None:
    changed = {header: text for header, text in (BINARY | {name: value}).items() if text is not None}
    body = MESSAGE.event.model_dump_json().encode()
    with pytest.raises((BaseCloudEventException, ValueError)):
        from_binary_event(RabbitMQMessage(changed, "application/json", body))
    with pytest.raises(MalformedEvent):
        decode(Wire("ImageAugmented", "application/json", changed, body))


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02t03:04:05z",
        "2026-01-02T03:04:05.123456789Z",
        "2026-01-02T03:04:05.5-07:30",
        "2026-01-02T03:04:05-00:00",
    ],
)
def test_times_are_read_as_the_sdk_reads_them(time: str) -> None:
    body = MESSAGE.event.model_dump_json().encode()
    theirs = from_binary_event(RabbitMQMessage(BINARY | {"ce-time": time}, "application/json", body)).get_time()
    assert decode(Wire("ImageAugmented", "application/json", BINARY | {"ce-time": time}, body)).time == theirs
    assert decode(structured(time=time)).time == theirs


def test_data_may_come_as_base64() -> None:
    document = json.loads(encode(MESSAGE).body)
    document["data_base64"] = b64encode(body_of(document.pop("data"))).decode()
    assert decode(Wire("ImageAugmented", "application/cloudevents+json", {}, body_of(document))) == MESSAGE


def test_what_the_sender_does_not_say_is_filled_in() -> None:
    document = json.loads(encode(MESSAGE).body)
    for name in ("time", "correlationid", "traceparent", "datacontenttype"):
        del document[name]
    message = decode(Wire("ImageAugmented", "application/cloudevents+json", {}, body_of(document)))
    assert (message.event, message.id, message.source) == (MESSAGE.event, MESSAGE.id, MESSAGE.source)
    assert message.time.tzinfo is not None
    assert message.correlation_id
    assert message.traceparent


def test_severities_cross_the_wire() -> None:
    labels = {Condition.ACNE: Severity.MILD, Condition.AGING: None}
    event = ImageLabeled(image_id=uuid4(), key="k", verdict=Verdict.ACCEPTED, labels=labels, reviewer="gate")
    assert decode(encode(Message(event, "labeler-api"))).event == event


def test_what_an_event_causes_is_on_its_trace() -> None:
    event = RebalanceRequested(target_per_condition=1)
    caused = MESSAGE.caused(event, source="labeler-api")
    assert (caused.event, caused.source) == (event, "labeler-api")
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
    "a typo": Wire("RebalanceChangeRequested", "", {}, b'{"campaign": 5}'),
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
    "a number as time": structured(time=5),
    "a time without offset": structured(time="2026-01-02T03:04:05"),
    "no id": structured(id=None),
    "an empty id": structured(id=""),
    "wrong base64": structured(data=None, data_base64="="),
    "a number as base64": structured(data=None, data_base64=5),
    "base64 of something else": structured(data=None, data_base64=b64encode(b"\xff").decode()),
    "half a character": Wire("RebalanceRequested", "", {}, b'{"conditions": ["\\ud800"]}'),
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


NO_JSON = "The message's body is not JSON: "
REASONS: dict[str, str] = {
    "too large": "The message has 1048577 bytes; at most 1048576 are read.",
    "not operator's": "The message is no CloudEvent, and 'ImageAugmented' is not an operator's event.",
    "unknown key": "The message is no CloudEvent, and 'SomethingElse' is not an operator's event.",
    "empty": NO_JSON,
    "structured, not json": NO_JSON,
    "a list": "RebalanceRequested: Input should be a valid dictionary",
    "a typo": "RebalanceChangeRequested: campaign_id: Field required.",
    "structured, a list": "The message is not a CloudEvent: it is no JSON object.",
    "no source": "The message is not a CloudEvent: its source is missing or no text.",
    "no type": "The message is not a CloudEvent: its type is missing or no text.",
    "an empty id": "The message is not a CloudEvent: its id is missing or no text.",
    "another type": "'SomethingElse' is not an event of evenskin.",
    "another version": "The message is not a CloudEvent of version 1.0.",
    "wrong data": "ImageAugmented: image_id: Input should be a valid UUID",
    "a wrong time": "The message's time cannot be read: ",
    "a time without offset": "The message's time has no offset from UTC.",
    "a number as base64": "The message's data_base64 cannot be read: ",
    "binary, wrong body": NO_JSON,
    "binary, no id": "The message is not a CloudEvent: its source is missing or no text.",
}
"""Of what we say ourselves the whole sentence, of what a library adds its beginning."""


@pytest.mark.parametrize("kind", REASONS)
def test_the_reason_says_where_and_what(kind: str) -> None:
    with pytest.raises(MalformedEvent) as raised:
        decode(MALFORMED[kind])
    reason = REASONS[kind]
    assert raised.value.message == reason if reason.endswith(".") else raised.value.message.startswith(reason)


def test_a_field_is_named_with_the_way_to_it() -> None:
    data = {"image_id": str(uuid4()), "variants": [VARIANT.model_dump() | {"width": "wide"}]}
    with pytest.raises(MalformedEvent, match=r"^ImageAugmented: variants\.0\.width: Input should be a valid integer"):
        decode(structured(data=data))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"freckles": "mild"}, "ImageLabeled: 'freckles' is not a condition this dataset keeps."),
        ({"acne": "huge"}, "ImageLabeled: 'huge' is not a severity."),
    ],
)
def test_a_word_that_the_taxonomy_lacks_is_malformed(labels: dict[str, str], reason: str) -> None:
    data = {"image_id": str(uuid4()), "key": "k", "verdict": "accepted", "reviewer": "gate", "labels": labels}
    with pytest.raises(MalformedEvent) as raised:
        decode(structured(type="ImageLabeled", data=data))
    assert raised.value.message == reason


def test_a_type_that_is_not_ours_is_told_in_80_characters() -> None:
    with pytest.raises(MalformedEvent) as raised:
        decode(structured(type="x" * 81))
    assert raised.value.message == f"'{'x' * 80}' is not an event of evenskin."


def test_a_body_of_a_mebibyte_is_read() -> None:
    body = b'{"target_per_condition": 200}'.ljust(1024 * 1024)
    assert decode(Wire("RebalanceRequested", "", {}, body)).source == "operator"


@pytest.mark.parametrize("name", ["type", "specversion"])
def test_bare_json_with_one_word_of_a_cloud_event_is_still_bare(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^RebalanceRequested: {name}: Extra inputs are not permitted"):
        bare(body_of({"target_per_condition": 3, name: "1.0"})).target_of()


def test_every_message_has_an_id_of_its_own() -> None:
    first, second = Message(MESSAGE.event, "x"), Message(MESSAGE.event, "x")
    assert UUID(first.id) != UUID(second.id)
    headers = {name: value for name, value in BINARY.items() if name != "ce-id"}
    wire = Wire("ImageAugmented", "application/json", headers, MESSAGE.event.model_dump_json().encode())
    assert UUID(decode(wire).id) != UUID(decode(wire).id)


def test_headers_that_are_not_of_cloud_events_are_passed_over() -> None:
    headers = BINARY | {"x-death": "3", "data": "{}", "type": "Other", "id": "other"}
    message = decode(Wire("ImageAugmented", "application/json", headers, MESSAGE.event.model_dump_json().encode()))
    assert (message.event, message.id, message.time) == (MESSAGE.event, MESSAGE.id, MESSAGE.time)


def test_a_message_goes_out_as_it_is_where_nothing_is_recorded() -> None:
    with sending(MESSAGE) as sent:
        assert sent is MESSAGE


def test_sending_is_a_recorded_span_that_the_message_carries_on(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Spans()
    monkeypatch.setattr("shared.tracing._export", recorder)
    with sending(MESSAGE) as sent:
        correlation_id = current_correlation_id()
    [span] = recorder.spans
    assert (span.name, span.kind, span.parent) == ("send ImageAugmented", "producer", MESSAGE.traceparent)
    assert sent == replace(MESSAGE, traceparent=span.traceparent)
    assert correlation_id == MESSAGE.correlation_id


def test_every_event_has_its_name() -> None:
    assert all(event.name() == name for name, event in EVENTS.items())
    from_operator = [name for name, event in EVENTS.items() if event.from_operator]
    assert from_operator == ["RebalanceRequested", "RebalanceChangeRequested"]


@pytest.mark.parametrize("prefix", ["ce-", "cloudEvents:", "cloudEvents_", "CE-"])
def test_the_prefixes_of_binary_mode_mean_the_same(prefix: str) -> None:
    headers = {prefix + name.removeprefix("ce-"): value for name, value in BINARY.items()}
    wire = Wire("ImageAugmented", "application/json", headers, MESSAGE.event.model_dump_json().encode())
    message = decode(wire)
    assert (message.event, message.id, message.source) == (MESSAGE.event, "m-1", "augmenter")
    assert identified(wire) == wire  # it has an id of its own
    common = replace(wire, headers=BINARY)
    assert letter_id("augmenter.ImageAugmented", wire) == letter_id("augmenter.ImageAugmented", common)


def bare(body: bytes) -> RebalanceRequested:
    """An operator's request, read."""
    event = decode(Wire("RebalanceRequested", "application/json", {}, body)).event
    assert isinstance(event, RebalanceRequested)
    return event


@pytest.mark.parametrize("target", [b'"200"', b"200.0", b'" 200 "', b'"200.0"', b"2e2"])
def test_numbers_are_read_as_other_tools_write_them(target: bytes) -> None:
    assert bare(b'{"target_per_condition": 0, "targets": {"acne": %b}}' % target).target_of()[Condition.ACNE] == 200
    assert set(bare(b'{"target_per_condition": %b}' % target).target_of().values()) == {200}


def test_limits_are_read_as_other_tools_write_them() -> None:
    for attempts, cost in ((b'"3"', b'"12.50"'), (b"3.0", b"12.5"), (b"3", b'" 12.5 "')):
        request = bare(b'{"target_per_condition": 1, "max_attempts": %b, "max_cost_usd": %b}' % (attempts, cost))
        assert (request.target_of()[Condition.ACNE], request.max_attempts, request.max_cost_usd) == (1, 3, 12.5)


@pytest.mark.parametrize("content_type", ["application/json", "application/cloudevents+json"])
def test_a_byte_order_mark_is_passed_over(content_type: str) -> None:
    envelope = {"specversion": "1.0", "type": "RebalanceRequested", "source": "/x", "id": "1"}
    document = {**envelope, "data": {"targets": {"acne": 5}}}
    body = b"\xef\xbb\xbf" + body_of(document)
    event = decode(Wire("RebalanceRequested", content_type, {}, body)).event
    assert isinstance(event, RebalanceRequested)
    assert event.target_of() == {Condition.ACNE: 5}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"target_per_condition": "many"}', "target_per_condition"),
        (b'{"target_per_condition": 1.5}', "target_per_condition"),
        (b'{"target_per_condition": true}', "target_per_condition"),
        (b'{"target_per_condition": "%b"}' % (b"9" * 5000), "target_per_condition"),
        (b'{"target_per_condition": 5, "review": "sometimes"}', "review"),
        (b'{"target": 5}', "target"),
    ],
)
def test_an_operators_request_that_does_not_fit_is_answered(body: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        bare(body).target_of()
    named = bare(body[:-1] + b', "campaign_id": "%b"}' % str(UUID(int=5)).encode())
    assert named.campaign_id == UUID(int=5)


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xef\xbb\xbf", b'"text"', b"\xff\xfe{\x00}\x00"])
def test_what_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        bare(body)
