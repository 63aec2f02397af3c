"""OpenAPI 3.1 descriptions: operations written down once, schemas from the models of their documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.documents.operations import Health, Readiness
from shared.documents.problems import Problem
from shared.http import PAGE_FILES, PAGE_PREFIX, PAGES, PROBLEM, PUBLIC_PATHS

JSON = "application/json"
BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
TEXT: dict[str, Any] = {"type": "string"}

_REF = "#/components/schemas/"
_PROBLEMS: dict[int, str] = {
    400: "The body broke off, or is not what its Content-Encoding says: `body_damaged`.",
    401: "The request carries no valid API key: `unauthorized`.",
    404: "There is no such thing: `not_found`.",
    403: "The Host is a name that the service does not answer to: `foreign_host`.",
    408: "The upload took too long: `request_timeout`.",
    409: "It does not fit the state that is there: `conflict`.",
    412: "Somebody else changed it meanwhile: `precondition_failed`.",
    413: "The request has too many bytes: `request_too_large`.",
    415: "It has a content type that is not taken: `unsupported_media_type`.",
    422: "The request is wrong: `invalid_request`.",
    429: "The address has sent too many wrong tokens: `too_many_failures`. Retry-After says when to try again.",
    500: "Something went wrong on our side: `internal_error`.",
    503: "The service, or what it depends on, is not there: `starting`, `bus_unavailable`, `store_unavailable`, "
    "`database_unavailable`. Retry-After says when to try again.",
    507: "The object store's disk is full: `store_full`.",
}
"""What each status means where an operation says nothing else of it."""


def event_of(name: str, model: type[BaseModel], *, has_id: bool = False) -> dict[str, Any]:
    """The schema of each event of a stream whose events have this name and hold this document; `has_id`: and an id."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": _ref(model)}
    properties: dict[str, Any] = {"event": {"const": name}, "data": data, **({"id": TEXT} if has_id else {})}
    return {"type": "object", "required": list(properties), "properties": properties}


Content = type[BaseModel] | Mapping[str, dict[str, Any]]
"""A document's model, or schemas by media type."""


@dataclass(frozen=True)
class Parameter:
    """A parameter in the query or the path. `listed`: several values in one, separated by commas."""

    name: str
    schema: dict[str, Any]
    description: str
    place: Literal["query", "path"] = "query"
    listed: bool = False


@dataclass(frozen=True)
class Answer:
    """An answer that is no problem. `headers`: their descriptions by name."""

    description: str
    content: Content | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    `problems` are the statuses that this operation may be answered with beside those of every operation (400 where it
    has a body, 401 where a key is set and 403 where none is, 500, 503), each with a description or the usual one.
    `problem` is the model of its problems.
    """

    method: Literal["get", "post", "put"]
    path: str
    summary: str
    answers: Mapping[int, Answer]
    problems: Mapping[int, str | None] = field(default_factory=dict)
    parameters: Sequence[Parameter] = ()
    body: Content | None = None
    body_required: bool = True
    description: str = ""
    problem: type[Problem] = Problem


OF_A_FILE = {
    206: Answer("The part of it that `Range` names."),
    304: Answer("It is what the request says it has already."),
    416: Answer("It has no part that `Range` names."),
}
COMMON: tuple[Operation, ...] = (
    Operation("get", "/healthz", "The process answers.", {200: Answer("It does.", Health)}),
    Operation("get", "/readyz", "The service and what it depends on answer.", {200: Answer("They do.", Readiness)}),
    Operation(
        "get", "/metrics", "Prometheus metrics.", {200: Answer("In Prometheus' text format.", {"text/plain": TEXT})}
    ),
    Operation("get", "/openapi.json", "This document.", {200: Answer("OpenAPI 3.1.", {JSON: {"type": "object"}})}),
    Operation("get", "/", "The page for people.", {200: Answer("HTML.", {"text/html": TEXT}), **OF_A_FILE}),
    Operation(
        "get",
        "/static/{file}",
        "A file of the page.",
        {
            200: Answer("Scripts, styles, icons and the page itself.", dict.fromkeys(PAGE_FILES.values(), TEXT)),
            **OF_A_FILE,
        },
        {404: "The page has no such file: `not_found`."},
        [Parameter("file", TEXT, "Its name.", "path")],
    ),
)
"""What every service with a page answers."""


def described(title: str, description: str, operations: Iterable[Operation], *, secured: bool) -> dict[str, Any]:
    """The OpenAPI document. `secured`: an API key is asked for, everywhere but for health, metrics and pages."""
    listed = tuple(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, secured=secured)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": description},
        "paths": paths,
        "components": {"schemas": _schemas(listed)},
    }
    if secured:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        document["security"] = [{"bearer": []}, {"header": []}]
    return document


def asks_for_key(path: str) -> bool:
    """Whether requests of this path must carry a key, where one is set: all but health, metrics and pages."""
    return not (path in PUBLIC_PATHS or path in PAGES or path.startswith(PAGE_PREFIX))


def _operation(operation: Operation, *, secured: bool) -> dict[str, Any]:
    needs_key = secured and asks_for_key(operation.path)
    asks_for_host = not secured and operation.path not in PUBLIC_PATHS
    statuses: dict[int, str | None] = dict(operation.problems)
    damaged = [400] if operation.body is not None else []
    for status in damaged + ([401] if needs_key else []) + ([403] if asks_for_host else []) + [500, 503]:
        statuses.setdefault(status, None)
    found: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {str(status): _answer(answer) for status, answer in operation.answers.items()}
        | {str(status): _problem(status, statuses[status], operation.problem) for status in sorted(statuses)},
    }
    if operation.description:
        found["description"] = operation.description
    if operation.parameters:
        found["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        found["requestBody"] = {"required": operation.body_required, "content": _content(operation.body)}
    if secured and not needs_key:
        found["security"] = []
    return found


def _parameter(parameter: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.place == "path",
        "schema": parameter.schema,
    }
    return found | ({"style": "form", "explode": False} if parameter.listed else {})


def _content(content: Content) -> dict[str, Any]:
    if isinstance(content, Mapping):
        return {media_type: {"schema": schema} for media_type, schema in content.items()}
    return {JSON: {"schema": _ref(content)}}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF + model.__name__}


def _answer(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {"description": answer.description}
    if answer.content is not None:
        found["content"] = _content(answer.content)
    if answer.headers:
        found["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    return found


def _problem(status: int, description: str | None, model: type[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": description or _PROBLEMS[status],
        "content": {PROBLEM: {"schema": _ref(model)}},
    }
    if status in (429, 503):
        found["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return found


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    """The schemas of every model that the operations name, and of their parts."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for operation in operations:
        wanted[operation.problem, "serialization"] = None
        for answer in operation.answers.values():
            if isinstance(answer.content, type):
                wanted[answer.content, "serialization"] = None
        if isinstance(operation.body, type):
            wanted[operation.body, "validation"] = None
    _, schema = models_json_schema(list(wanted), ref_template=_REF + "{model}")
    found: dict[str, Any] = schema["$defs"]
    return found
