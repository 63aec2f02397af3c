"""JSON Schema and AsyncAPI 3 documents of the events, made from their models and examples."""

from __future__ import annotations

import inspect
import json
from typing import Any

from pydantic.json_schema import models_json_schema

from shared.events import EVENTS, Event
from shared.examples import example_message, examples
from shared.message import encode

OPERATOR = "operator"  # a person, whom no queue is kept for

ROUTES: dict[str, tuple[str, tuple[str, ...]]] = {
    "RebalanceRequested": (OPERATOR, ("labeler-api",)),
    "RebalanceChangeRequested": (OPERATOR, ("labeler-api",)),
    "RebalanceRejected": ("labeler-api", (OPERATOR,)),
    "ImageRequested": ("labeler-api", ("generator",)),
    "ImageGenerated": ("generator", ("labeler-api",)),
    "ImageFailed": ("generator", ("labeler-api",)),
    "ImageLabeled": ("labeler-api", ("augmenter",)),
    "ImageAugmented": ("augmenter", ("labeler-api",)),
    "QuotaMet": ("labeler-api", ("trainer",)),
    "TrainingProgressed": ("trainer", ("labeler-api",)),
    "TrainingFailed": ("trainer", ("labeler-api",)),
    "ModelTrained": ("trainer", ("labeler-api",)),
    "ModelPromoted": ("trainer", ("model-server",)),
}
"""Who sends each event, and who handles it. An operator may send ModelPromoted through labeler-api too."""


def known_queues() -> list[str]:
    """Every consumer queue of the system: a broker does not list its queues over AMQP."""
    return [
        f"{receiver}.{event}"
        for event, (_, receivers) in ROUTES.items()
        for receiver in receivers
        if receiver != OPERATOR
    ]


def summary(event: type[Event]) -> str:
    """The first sentence of an event's docstring."""
    return (inspect.getdoc(event) or "").split("\n")[0]


def example_data(name: str) -> dict[str, Any]:
    """The data of an event's example: all of it, but for what an operator may leave out."""
    example = examples()[name]
    return example.model_dump(mode="json", exclude_unset=example.from_operator)


def example_document(name: str) -> dict[str, Any]:
    """The example as it is sent: a structured CloudEvent."""
    document: dict[str, Any] = json.loads(encode(example_message(examples()[name], ROUTES[name][0])).body)
    return document | {"data": example_data(name)}


def _schemas(ref_template: str) -> dict[str, Any]:
    """The schema of every event's data with its example, and of their parts, by name."""
    _, schema = models_json_schema([(event, "validation") for event in EVENTS.values()], ref_template=ref_template)
    found: dict[str, Any] = schema["$defs"]
    return found | {name: found[name] | {"examples": [example_data(name)]} for name in EVENTS}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of every event's data, by its name under `$defs`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evenskin events",
        "$defs": _schemas("#/$defs/{model}"),
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: the exchange, a channel per event, what each service sends and receives."""
    channels, operations, messages = {}, {}, {}
    for name, event in EVENTS.items():
        sender, receivers = ROUTES[name]
        messages[name] = {
            "name": name,
            "title": name,
            "summary": summary(event),
            "contentType": "application/cloudevents+json",
            "examples": [{"name": name, "payload": example_document(name)}],
            "payload": {
                "type": "object",
                "required": ["specversion", "type", "source", "id", "data"],
                "properties": {
                    "specversion": {"const": "1.0"},
                    "type": {"const": name},
                    "source": {"type": "string"},
                    "id": {"type": "string"},
                    "time": {"type": "string", "format": "date-time"},
                    "correlationid": {"type": "string"},
                    "traceparent": {"type": "string"},
                    "data": {"$ref": f"#/components/schemas/{name}"},
                },
            },
        }
        channels[name] = {
            "address": name,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "bindings": {
                "amqp": {
                    "is": "routingKey",
                    "exchange": {"name": "evenskin", "type": "topic", "durable": True, "autoDelete": False},
                }
            },
        }
        channel = {"$ref": f"#/channels/{name}"}
        operations[f"{sender}.sends.{name}"] = {"action": "send", "channel": channel}
        for receiver in receivers:
            operations[f"{receiver}.receives.{name}"] = {"action": "receive", "channel": channel}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "evenskin", "version": "1.0.0", "description": "The events between the five services."},
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": _schemas("#/components/schemas/{model}")},
    }
