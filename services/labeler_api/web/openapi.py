"""The OpenAPI description of labeler-api, made from the routes' table below and the event models."""

from __future__ import annotations

from typing import Any

from services.labeler_api.campaigns.reviews import Review
from shared.events import RebalanceRequested

_ROUTES: tuple[tuple[str, str, str, str], ...] = (
    ("get", "/healthz", "200", "The process answers."),
    ("get", "/readyz", "200", "The bus, the store and the database answer."),
    ("get", "/metrics", "200", "Prometheus metrics."),
    ("get", "/v1/balance", "200", "How many images every condition has, by status and severity."),
    ("get", "/v1/plan", "200", "What a rebalance would generate, cost and take: a dry run."),
    ("post", "/v1/rebalances", "202", "Start a rebalance."),
    ("get", "/v1/rebalances", "200", "The latest rebalances, newest first, each with the last epoch of its training."),
    ("get", "/v1/rebalances/{id}", "200", "One rebalance with its progress, model and every epoch of its training."),
    ("get", "/v1/rebalances/{id}/stream", "200", "The same document as server-sent events."),
    ("post", "/v1/images", "201", "Bring in a picture with its labels; 200 where the same bytes are there already."),
    ("get", "/v1/images", "200", "A page of images."),
    ("get", "/v1/images/{id}", "200", "One image."),
    ("get", "/v1/images/{id}/content", "200", "The picture as it came."),
    ("get", "/v1/images/{id}/thumbnail", "200", "A small, upright copy as WebP."),
    ("post", "/v1/images/{id}/reviews", "201", "A verdict on one image."),
    ("post", "/v1/reviews", "201", "Verdicts on many images; 207 where some were refused."),
    ("post", "/v1/reviews/undo", "200", "Take back a reviewer's last verdict."),
    ("get", "/v1/datasets/{version}", "200", "One published dataset version."),
    ("get", "/v1/export", "200", "The accepted dataset in another tool's format."),
    ("get", "/v1/models", "200", "Every model, and which one is live."),
    ("post", "/v1/models/{version}/promotions", "202", "Serve this version from now on."),
    ("post", "/v1/models/rollback", "202", "Serve the version that was live before."),
    ("get", "/v1/dead-letters", "200", "Messages that were given up, with their errors."),
    ("post", "/v1/dead-letters/replay", "200", "Send dead letters to their queues again."),
)

_QUERIES: dict[str, tuple[str, ...]] = {
    "/v1/plan": ("target_per_condition", "conditions", "targets", "max_attempts"),
    "/v1/rebalances": ("limit",),
    "/v1/images": ("status", "condition", "severity", "cursor", "limit"),
    "/v1/export": ("format",),
    "/v1/dead-letters": ("queue",),
}

_UPLOAD = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "condition": {"type": "string"},
        "severity": {"type": "string"},
        "labels": {"type": "string", "description": 'JSON: {"acne": "mild"}; {} is clear skin'},
        "complete": {"type": "boolean", "default": True},
        "skin_tone": {"type": "integer", "minimum": 1, "maximum": 10},
    },
}


def _schemas() -> dict[str, Any]:
    template = "#/components/schemas/{model}"
    schemas: dict[str, Any] = {
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "code", "detail"],
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "code": {"type": "string"},
                "detail": {"type": "string"},
                "advice": {"type": "string"},
            },
        }
    }
    for model in (RebalanceRequested, Review):
        schema = model.model_json_schema(ref_template=template)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    return schemas


def _body(method: str, path: str) -> dict[str, Any] | None:
    if method != "post":
        return None
    schema: dict[str, Any] = {"type": "object"}
    if path == "/v1/images":
        return {"required": True, "content": {"multipart/form-data": {"schema": _UPLOAD}}}
    if path == "/v1/rebalances":
        schema = {"$ref": "#/components/schemas/RebalanceRequested"}
    elif path == "/v1/images/{id}/reviews":
        schema = {"$ref": "#/components/schemas/Review"}
    return {"content": {"application/json": {"schema": schema}}}


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, status, summary in _ROUTES:
        in_path = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in in_path]
        if method == "get":
            parameters += [{"name": n, "in": "query", "schema": {"type": "string"}} for n in _QUERIES.get(path, ())]
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        operation: dict[str, Any] = {
            "summary": summary,
            "responses": {
                status: {"description": summary},
                "default": {"description": "A problem", "content": problem},
            },
        }
        if parameters:
            operation["parameters"] = parameters
        if (body := _body(method, path)) is not None:
            operation["requestBody"] = body
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "evenskin labeler-api", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
