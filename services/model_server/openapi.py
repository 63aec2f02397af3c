"""The OpenAPI description of the model-server: its operations, with the models of their documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.model_server import binary_tensors
from services.model_server.settings import ModelServerSettings
from services.model_server.uploads import FIELD
from shared.documents.inference import (
    InferAnswer,
    InferRequest,
    ModelDescription,
    ModelReady,
    ServerDescription,
    ServerLive,
    ServerReady,
)
from shared.documents.models import ServedModel
from shared.documents.predictions import PortraitProblem, Prediction, PredictionBatch
from shared.documents.problems import ProtocolProblem
from shared.imaging import MIN_SIDE
from shared.openapi import BINARY, COMMON, TEXT, Answer, Operation, Parameter, described
from shared.pictures.kinds import NAMES

_NO_MODEL = "No model is live, or it waits for what it depends on: `no_model`, `starting`. Retry-After says when to "
_NO_MODEL += "try again."
_BUSY = "More requests wait than are answered in time, or no model is live: `overloaded`, `no_model`, `starting`. "
_BUSY += "Retry-After says when to try again."
_TOO_LARGE = "Too many bytes: `image_too_large`."


def document(settings: ModelServerSettings) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a server with these settings: its limits are named as they are."""
    return described(
        "evenskin model-server",
        "Says which of seven skin conditions a selfie shows, and how strongly. A picture is decoded in memory and "
        "forgotten with the answer: it is never stored or logged. No diagnosis.",
        (*COMMON, _predictions(settings), _batch(settings), _MODEL, *_protocol(settings)),
        secured=settings.api_key is not None,
    )


_MODEL = Operation(
    "get", "/v1/model", "The model in service and its card.", {200: Answer("The model.", ServedModel)}, {503: _NO_MODEL}
)


_HEATMAP = Parameter(
    "heatmap",
    {"enum": ["1", "grid", "overlay", "0", "none", "true", "false", "yes", "no", ""], "default": "0"},
    "Add to each condition a map of where its evidence lies: 1 or `grid` in grey, `overlay` in colours.",
)


def _predictions(settings: ModelServerSettings) -> Operation:
    form = {"type": "object", "required": ["image"], "properties": {"image": BINARY}}
    return Operation(
        "post",
        "/v1/predictions",
        "What the model sees in a picture.",
        {200: Answer("The answer.", Prediction)},
        {
            408: None,
            413: _TOO_LARGE,
            415: "Not a picture in a format that is read, or animated: `image_unsupported`, `image_animated`.",
            422: "The request or the picture is wrong: `invalid_request`, `image_empty`, `image_broken`, "
            "`image_too_small`, `image_too_many_pixels`; or, where the server asks for portraits, what is wrong with "
            "it as one: `no_face`, `multiple_faces`, `face_too_small`, `face_cut`, `face_turned`, `too_blurry`, "
            "`too_dark`, `too_bright`.",
            503: _BUSY,
        },
        [_HEATMAP],
        {"image/*": BINARY, "application/octet-stream": BINARY, "multipart/form-data": form},
        description=f"{NAMES}, whatever the content type says; at most {settings.max_image_bytes} bytes and "
        f"{settings.max_image_pixels} pixels (of a JPEG, at the scale that is needed), at least {MIN_SIDE} pixels on "
        "the shorter side. EXIF orientation and colour profile are applied; the largest face is found and framed as "
        "the model wants it. Not stored, not logged.",
        problem=PortraitProblem,
    )


def _batch(settings: ModelServerSettings) -> Operation:
    images = {"type": "array", "items": BINARY, "minItems": 1, "maxItems": settings.batch_pictures}
    form = {"type": "object", "required": ["image"], "properties": {"image": images}}
    return Operation(
        "post",
        "/v1/predictions/batch",
        "What the model sees in each of several pictures.",
        {200: Answer("An answer for each picture, in their order: a prediction or a problem.", PredictionBatch)},
        {
            408: None,
            413: _TOO_LARGE,
            415: "No form: `unsupported_media_type`.",
            422: f"The form is broken, lacks '{FIELD}' or has it too often: `invalid_request`.",
            503: _BUSY,
        },
        [_HEATMAP],
        {"multipart/form-data": form},
        description=f"A field `{FIELD}` for each picture, at most {settings.batch_pictures}. One model answers all. "
        "A picture that is refused does not stop the others. Each takes a place of the queue, as if it came by itself; "
        "where there are too few the whole batch is refused with 503.",
    )


def _protocol(settings: ModelServerSettings) -> list[Operation]:
    """The Open Inference Protocol's operations."""
    model = Parameter("model", {"const": "evenskin"}, "The one model there is.", "path")
    version = Parameter("version", TEXT, "The version that must be in service.", "path")
    missing: dict[int, str | None] = {404: "There is no such model or version: `not_found`.", 503: _NO_MODEL}
    found = [
        Operation("get", "/v2", "The server.", {200: Answer("Who answers.", ServerDescription)}),
        Operation("get", "/v2/health/live", "The process answers.", {200: Answer("It does.", ServerLive)}),
        Operation(
            "get", "/v2/health/ready", "A model is in service.", {200: Answer("One is.", ServerReady)}, {503: _NO_MODEL}
        ),
    ]
    for path, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        found += [
            Operation(
                "get", path, "The model's tensors.", {200: Answer("They.", ModelDescription)}, missing, parameters
            ),
            Operation(
                "get",
                f"{path}/ready",
                "This model is in service.",
                {200: Answer("It is.", ModelReady)},
                missing,
                parameters,
            ),
            Operation(
                "post",
                f"{path}/infer",
                f"Tensors in, tensors out; at most {settings.infer_max_batch} pictures.",
                {200: Answer("The outputs.", InferAnswer)},
                {**missing, 408: None, 413: _TOO_LARGE, 422: None, 503: _BUSY},
                parameters,
                InferRequest,
                description=f"Speaks the extension {binary_tensors.NAME}: with {binary_tensors.LENGTH_HEADER}, the "
                "input's numbers are bytes behind the JSON; outputs are where that is asked for.",
            ),
        ]
    return [replace(operation, problem=ProtocolProblem) for operation in found]
