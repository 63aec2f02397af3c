"""Holds a service's answers to its OpenAPI description, and remembers what of the description was seen."""

from __future__ import annotations

import copy
import importlib
import json
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

jsonschema: Any = importlib.import_module("jsonschema")  # untyped

METHODS = ("get", "post")
BINARY = {"type": "string", "format": "binary"}


class Description:
    """An OpenAPI document. Its documents' models are open to what newer servers add; here, nothing else may come."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.seen: set[tuple[str, str, int]] = set()
        self._closed = copy.deepcopy(document)
        for schema in self._closed["components"]["schemas"].values():
            if "properties" in schema:
                schema["additionalProperties"] = False

    @property
    def operations(self) -> set[tuple[str, str]]:
        """Method and path of every operation."""
        return {(method, path) for path, item in self.document["paths"].items() for method in item}

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise AssertionError unless this is an answer that is described. `path` is the one that was asked for."""
        template = self._template(path.partition("?")[0])
        responses = self.document["paths"][template][method.lower()]["responses"]
        told = f"{method} {path}: {status} {body[:300]!r}"
        assert str(status) in responses, told
        described = responses[str(status)]
        for name in described.get("headers", {}):
            assert name in headers, f"{told} has no {name}"
        if "content" in described:
            media_type = headers["Content-Type"].partition(";")[0]
            assert media_type in described["content"], f"{told} is of type {media_type}"
            self._validate(media_type, described["content"][media_type]["schema"], body)
        else:
            assert body == b"" or status == 302, told
        self.seen.add((method.lower(), template, status))

    def unseen(self, *, least: int = 0, below: int = 600) -> set[tuple[str, str]]:
        """The operations of which no answer with a status from `least` to `below` was seen."""
        return self.operations - {(method, path) for method, path, status in self.seen if least <= status < below}

    def _template(self, path: str) -> str:
        fitting = [t for t in self.document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", t), path)]
        assert fitting, f"{path} is not described"
        found: str = min(fitting, key=lambda template: template.count("{"))  # plain names first
        return found

    def _validate(self, media_type: str, schema: dict[str, Any], body: bytes) -> None:
        if schema == BINARY:
            assert body
            return
        if media_type == "text/event-stream":
            for event in _events(body.decode()):
                self._holds(schema, event)
                self._holds(schema["properties"]["data"]["contentSchema"], _parsed(event["data"]))
        else:
            self._holds(schema, _parsed(body) if re.search("[/+]json$", media_type) else body.decode())

    def _holds(self, schema: dict[str, Any], value: Any) -> None:
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        whole = {**self._closed, "$ref": "#/$defs/answer", "$defs": {"answer": schema}}
        jsonschema.Draft202012Validator(whole, format_checker=checker).validate(value)


def _events(text: str) -> list[dict[str, str]]:
    """The fields of every server-sent event."""
    blocks = [block for block in text.split("\n\n") if block.strip(":\n")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def _parsed(text: str | bytes) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def routes(app: web.Application) -> set[tuple[str, str]]:
    """Method and path of every route; HEAD goes without saying."""
    found = set()
    for route in app.router.routes():
        assert route.resource is not None
        if route.method != "HEAD":
            found.add((route.method.lower(), route.resource.canonical))
    return found
