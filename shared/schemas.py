"""JSON Schema and AsyncAPI 3 documents of the events, made from their models."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic.json_schema import models_json_schema

from shared.events import EVENTS, Event

OPERATOR = "operator"  # a person, whom no queue is kept for

ROUTES: dict[str, tuple[str, tuple[str, ...]]] = {
    "RebalanceRequested": (OPERATOR, ("labeler-api",)),
    "RebalanceRejected": ("labeler-api", (OPERATOR,)),
    "ImageRequested": ("labeler-api", ("generator",)),
    "ImageGenerated": ("generator", ("labeler-api",)),
    "ImageFailed": ("generator", ("labeler-api",)),
    "ImageLabeled": ("labeler-api", ("augmenter",)),
    "ImageAugmented": ("augmenter", ("labeler-api",)),
    "QuotaMet": ("labeler-api", ("trainer",)),
    "TrainingProgressed": ("trainer", ("labeler-api",)),
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


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of every event's data, by its name under `$defs`."""
    _, schema = models_json_schema(
        [(event, "validation") for event in EVENTS.values()],
        title="evenskin events",
        ref_template="#/$defs/{model}",
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: the exchange, a channel per event, what each service sends and receives."""
    _, schema = models_json_schema(
        [(event, "validation") for event in EVENTS.values()], ref_template="#/components/schemas/{model}"
    )
    channels, operations, messages = {}, {}, {}
    for name, event in EVENTS.items():
        sender, receivers = ROUTES[name]
        messages[name] = {
            "name": name,
            "title": name,
            "summary": summary(event),
            "contentType": "application/cloudevents+json",
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
        "components": {"messages": messages, "schemas": schema["$defs"]},
    }
