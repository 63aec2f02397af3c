"""The example of every event is what may be sent: it arrives as it left, and its schema allows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from shared.bus import Subscription
from shared.embedded.bus import InProcessBus
from shared.events import EVENTS, Event
from shared.examples import example_message, examples
from shared.message import STRUCTURED_CONTENT_TYPE, Message, Wire
from shared.schemas import asyncapi, example_data, example_document, json_schema

FROM_OPERATOR = [name for name, event in EVENTS.items() if event.from_operator]


@pytest.fixture
async def bus() -> AsyncIterator[InProcessBus]:
    """A bus with nobody on it."""
    bus = InProcessBus()
    await bus.start()
    yield bus
    await bus.close()


async def listen(bus: InProcessBus, event: type[Event]) -> asyncio.Queue[Message]:
    """A queue of what is heard of an event."""
    heard: asyncio.Queue[Message] = asyncio.Queue()
    await bus.subscribe(Subscription("listener", event, heard.put))
    return heard


def test_every_event_has_one_example() -> None:
    found = examples()
    assert list(found) == list(EVENTS)
    assert all(type(example) is EVENTS[name] for name, example in found.items())


@pytest.mark.parametrize("name", EVENTS)
async def test_an_example_arrives_as_it_was_sent(name: str, bus: InProcessBus) -> None:
    heard = await listen(bus, EVENTS[name])
    sent = example_message(examples()[name], "sender")
    await bus.publish(sent)
    assert await heard.get() == sent


@pytest.mark.parametrize("name", EVENTS)
async def test_a_documented_cloud_event_is_the_example(name: str, bus: InProcessBus) -> None:
    heard = await listen(bus, EVENTS[name])
    body = json.dumps(example_document(name)).encode()
    await bus.publish_wire(Wire(name, STRUCTURED_CONTENT_TYPE, {}, body))
    assert (await heard.get()).event == examples()[name]


@pytest.mark.parametrize("name", FROM_OPERATOR)
async def test_an_operator_may_send_the_bare_example(name: str, bus: InProcessBus) -> None:
    heard = await listen(bus, EVENTS[name])
    await bus.publish_wire(Wire(name, "application/json", {}, json.dumps(example_data(name)).encode()))
    message = await heard.get()
    assert (message.event, message.source) == (examples()[name], "operator")


def test_an_operator_may_send_something() -> None:
    assert "RebalanceRequested" in FROM_OPERATOR


@pytest.mark.parametrize("name", EVENTS)
def test_an_example_satisfies_its_schema(name: str) -> None:
    validator = validator_of(name)
    validator.validate(example_data(name))
    assert not validator.is_valid(example_data(name) | {"campaign_id": 5, "version": 5, "image_id": 5})


def validator_of(name: str) -> Draft202012Validator:
    """A validator of an event's data, formats included."""
    schema: dict[str, Any] = json_schema() | {"$ref": f"#/$defs/{name}"}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("name", EVENTS)
def test_the_schemas_show_the_example(name: str) -> None:
    assert json_schema()["$defs"][name]["examples"] == [example_data(name)]
    described = asyncapi()["components"]
    assert described["schemas"][name]["examples"] == [example_data(name)]
    (shown,) = described["messages"][name]["examples"]
    assert shown["payload"] == example_document(name)
    payload = described["messages"][name]["payload"] | {"components": described}
    Draft202012Validator(payload).validate(shown["payload"])


@pytest.mark.parametrize("name", [n for n in json_schema()["$defs"] if "properties" in json_schema()["$defs"][n]])
def test_every_field_is_described_and_every_number_has_unit_and_bounds(name: str) -> None:
    definitions = json_schema()["$defs"]
    for field, schema in definitions[name]["properties"].items():
        assert schema.get("description") or definitions[schema["$ref"].rpartition("/")[2]]["description"], field
        for number in numbers_in(schema):
            assert number.get("x-unit"), field
            assert number.keys() & {"minimum", "exclusiveMinimum", "x-bounds"}, field


def numbers_in(schema: Any) -> list[dict[str, Any]]:
    """The number types that a schema is made of."""
    if isinstance(schema, list):
        return [number for part in schema for number in numbers_in(part)]
    if not isinstance(schema, dict):
        return []
    inner = [number for part in schema.values() for number in numbers_in(part)]
    return [schema, *inner] if schema.get("type") in ("integer", "number") else inner


def test_bounds_that_are_stated_are_not_checked() -> None:
    """They tell people what senders keep to; the contract of the wire is what it was before they were written down."""
    event = EVENTS["RebalanceRequested"].model_validate({"target_per_condition": -1})
    assert event.model_dump()["target_per_condition"] == -1
    validator_of("RebalanceRequested").validate({"target_per_condition": -1})
