"""The OpenAPI 3.1 document: schemas from the answer models, paths written down once."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from services.model_server.answers import ModelAnswer, PredictionAnswer
from services.model_server.settings import ModelServerSettings
from shared.imaging import MIN_SIDE

_REF = "#/components/schemas/"
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem document. `code` is stable; `detail` and `advice` are for people.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "advice": {"type": "string"},
        "error": {"type": "string", "description": "Under /v2 only: the same as `detail`."},
    },
}
_TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "data": {"type": "array", "description": "Flat in row-major order, or nested."},
    },
}
_STATE = {"type": "object", "additionalProperties": {"type": ["boolean", "string"]}}


def document(settings: ModelServerSettings) -> dict[str, Any]:
    """The document of a server with these settings: its limits are named as they are."""
    _, generated = models_json_schema(
        [(PredictionAnswer, "serialization"), (ModelAnswer, "serialization")], ref_template=_REF + "{model}"
    )
    schemas = {**generated["$defs"], "Problem": _PROBLEM, "Tensor": _TENSOR}
    condition = schemas["ConditionAnswer"]
    condition["required"] = [name for name in condition["required"] if name != "heatmap"]
    result: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "evenskin model-server",
            "version": "1",
            "description": "Says which of seven skin conditions a selfie shows, and how strongly. A picture is decoded "
            "in memory and forgotten with the answer: it is never stored or logged. No diagnosis.",
        },
        "paths": {
            "/v1/predictions": {"post": _predictions(settings)},
            "/v1/model": {"get": _get("The model in service and its card.", _ref("ModelAnswer"), 503)},
            **_protocol(settings),
            "/healthz": {"get": _get("The process answers.", _STATE)},
            "/readyz": {"get": _get("A model is in service.", _STATE, 503)},
            "/metrics": {"get": _page("Prometheus metrics.", "text/plain")},
            "/openapi.json": {"get": _get("This document.", {"type": "object"})},
            "/": {"get": _page("A page to try a selfie on.", "text/html")},
        },
        "components": {"schemas": schemas},
    }
    if settings.api_key is not None:
        result["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        result["security"] = [{"bearer": []}, {"header": []}]
    return result


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF + name}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_DESCRIPTIONS = {
    404: "There is no such model or version.",
    408: "The upload took too long.",
    413: "Too many bytes: `image_too_large`.",
    415: "Not a picture in a format that is read, or animated: `image_unsupported`, `image_animated`.",
    422: "The request or the picture is wrong: `invalid_request`, `image_empty`, `image_broken`, `image_too_small`, "
    "`image_too_many_pixels`.",
    503: "`no_model`, or `overloaded`; Retry-After says when to try again.",
}


def _problems(*statuses: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    retry = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return {
        str(status): {
            "description": _DESCRIPTIONS[status],
            "content": content,
            **({"headers": retry} if status == 503 else {}),
        }
        for status in statuses
    }


def _get(summary: str, schema: dict[str, Any], *problems: int) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": _json(summary, schema), **_problems(*problems)}}


def _page(summary: str, media_type: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def _predictions(settings: ModelServerSettings) -> dict[str, Any]:
    binary: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "schema": {
            "type": "object",
            "required": ["image"],
            "properties": {"image": {"type": "string", "format": "binary"}},
        }
    }
    return {
        "operationId": "predict",
        "summary": "What the model sees in a picture.",
        "description": "JPEG, PNG, WebP or HEIC, whatever the content type says; "
        f"at most {settings.max_image_bytes} bytes and {settings.max_image_pixels} pixels, at least {MIN_SIDE} pixels "
        "on the shorter side. EXIF orientation and colour profile are applied. Not stored, not logged.",
        "parameters": [
            {
                "name": "heatmap",
                "in": "query",
                "description": "Add to each condition a map of where its evidence lies.",
                "schema": {"enum": ["1", "0", "true", "false", "yes", "no", ""], "default": "0"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"image/*": binary, "application/octet-stream": binary, "multipart/form-data": form},
        },
        "responses": {
            "200": _json("The answer.", _ref("PredictionAnswer")),
            **_problems(408, 413, 415, 422, 503),
        },
    }


def _protocol(settings: ModelServerSettings) -> dict[str, Any]:
    """The Open Inference Protocol's paths."""
    model = {"name": "model", "in": "path", "required": True, "schema": {"const": "evenskin"}}
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    tensors = {"type": "array", "items": _ref("Tensor")}
    request = {"type": "object", "required": ["inputs"], "properties": {"id": {"type": "string"}, "inputs": tensors}}
    answer = {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": tensors,
        },
    }
    paths: dict[str, Any] = {
        "/v2": {"get": _get("Open Inference Protocol v2: the server.", {"type": "object"})},
        "/v2/health/live": {"get": _get("The process answers.", _STATE)},
        "/v2/health/ready": {"get": _get("A model is in service.", _STATE, 503)},
    }
    for path, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        paths[path] = {"parameters": parameters, "get": _get("The model's tensors.", {"type": "object"}, 404, 503)}
        paths[f"{path}/ready"] = {
            "parameters": parameters,
            "get": _get("This model is in service.", _STATE, 404, 503),
        }
        paths[f"{path}/infer"] = {
            "parameters": parameters,
            "post": {
                "summary": f"Tensors in, tensors out; at most {settings.infer_max_batch} pictures.",
                "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
                "responses": {"200": _json("The outputs.", answer), **_problems(404, 408, 413, 422, 503)},
            },
        }
    return paths
