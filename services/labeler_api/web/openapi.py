"""The OpenAPI description of labeler-api: its operations, with the models of their documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from services.labeler_api.pictures.images import Status
from shared.documents.agreement import AgreementDocument
from shared.documents.balance import Balance
from shared.documents.dashboard import Dashboard
from shared.documents.dead_letters import DeadLetterList, Replayed
from shared.documents.images import DatasetDocument, ImageDetail, ImagePage, ReviewResults
from shared.documents.models import LiveModelDocument, Models
from shared.documents.problems import ImageProblem, ReviewProblem
from shared.documents.rebalances import Campaign, CampaignList, PlanDocument
from shared.documents.requests import (
    MAX_GROUP_CHARACTERS,
    ChangeRequest,
    FrameCorrection,
    PromotionRequest,
    ReplayRequest,
    Review,
    ReviewBatch,
    UndoRequest,
)
from shared.documents.webhooks import WebhookList
from shared.events import MAX_TARGET, RebalanceRequested
from shared.http import MAX_NUMBER
from shared.imaging import MEDIA_TYPES
from shared.model_card import MODEL_FILES
from shared.openapi import (
    BINARY,
    COMMON,
    JSON,
    OF_A_FILE,
    TEXT,
    Answer,
    Operation,
    Parameter,
    asks_for_key,
    described,
    event_of,
)
from shared.pictures.kinds import NAMES
from shared.schemas import known_queues
from shared.taxonomy import MONK_TONES, Condition, Fold, Severity

PAGE, MAX_PAGE = 50, 200  # images or campaigns of one list answer, where no limit is given, and at most
NDJSON = "application/x-ndjson"
EXPORTS = {"imagefolder": "application/x-tar", "labelstudio": JSON, "coco": JSON, "csv": "text/csv", "audit": NDJSON}
"""Media types of the exports, by format."""


_CONDITIONS = {"type": "string", "enum": list(Condition)}
_TONES = {"type": "string", "enum": [str(tone) for tone in MONK_TONES]}
_SEVERITIES = {"type": "string", "enum": [severity.label for severity in Severity]}
_LIMIT = Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE},
    "How many are listed at most.",
)
_IMAGE = Parameter("id", {"type": "string", "format": "uuid"}, "The image's id.", "path")
_CAMPAIGN = Parameter("id", {"type": "string", "format": "uuid"}, "The campaign's id.", "path")
_VERSION = Parameter("version", TEXT, "The model's version.", "path")
_NUMBER = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
_TARGETS = rf"^(({'|'.join(Condition)}):[0-9]+(,({'|'.join(Condition)}):[0-9]+)*)?$"


def _or_none(names: dict[str, Any]) -> dict[str, Any]:
    """A filter by name; an empty one filters nothing, as a form sends it."""
    return {"type": "string", "enum": [*names["enum"], ""], "default": ""}


_UPLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {**BINARY, "description": f"{NAMES}."},
        "condition": {**_CONDITIONS, "description": "What it shows; instead of `labels`."},
        "severity": {**_SEVERITIES, "description": "How strongly; without it, it is present and not graded."},
        "labels": {
            "type": "string",
            "contentMediaType": JSON,
            "description": 'Severities by condition, such as {"acne": "mild", "aging": null}; {} is clear skin.',
        },
        "complete": {
            "type": "boolean",
            "default": True,
            "description": "Whether a condition that is not named is absent.",
        },
        "group": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_GROUP_CHARACTERS,
            "description": "Whose picture it is: those of one group share a root, and so a fold.",
        },
        "fold": {
            "enum": list(Fold),
            "description": "Its fold if it is new, looks like no other and has no group. Without it, ours.",
        },
        "update": {
            "type": "boolean",
            "default": False,
            "description": "Whether what is said replaces what is known, where the same bytes are there already.",
        },
        "skin_tone": {
            "type": "integer",
            "minimum": MONK_TONES[0],
            "maximum": MONK_TONES[-1],
            "description": "Step of the Monk scale, 1 lightest to 10 darkest.",
        },
    },
    "additionalProperties": False,
}
_PICTURES = {media_type: BINARY for media_type in sorted({*MEDIA_TYPES.values()})}
_CACHED = {"ETag": "Changes never: an image's bytes stay as they are.", "Cache-Control": "For a year, and private."}
_WRONG = {422: None}
_MISSING = {404: None}
_BODY: dict[int, str | None] = {413: None, 422: None}
_PROMOTED: dict[int, str | None] = {
    404: "There is no such model: `not_found`.",
    412: None,
    507: None,
}

_OPERATIONS: tuple[Operation, ...] = (
    *COMMON,
    Operation(
        "get",
        "/dermatologist_drag_drop_tool.html",
        "The review page's old name.",
        {302: Answer("To the review page.", headers={"Location": "/"})},
    ),
    Operation(
        "get",
        "/v1/balance",
        "How many images every condition has, by status and severity.",
        {200: Answer("The numbers.", Balance)},
    ),
    Operation(
        "get",
        "/dashboard",
        "The dashboard, a page for people.",
        {200: Answer("HTML.", {"text/html": TEXT}), **OF_A_FILE},
    ),
    Operation(
        "get",
        "/v1/dashboard",
        "The dataset, the rebalance under way and the newest models at one moment: what the dashboard shows.",
        {200: Answer("The document.", Dashboard)},
    ),
    Operation(
        "get",
        "/v1/dashboard/stream",
        "The same document as server-sent events, for as long as somebody listens.",
        {
            200: Answer(
                "An event at every change, at most one a second. Its id stands for its document: where `Last-Event-ID` "
                "names what is still so, nothing is sent until it changes. A comment every 15 seconds shows that "
                "the stream is alive.",
                {"text/event-stream": event_of("dashboard", Dashboard, has_id=True)},
            )
        },
        {
            503: "As many streams as are served are open, or what the service depends on is not there: `overloaded`, "
            "`starting`, `database_unavailable`. Retry-After says when to try again."
        },
    ),
    Operation(
        "get",
        "/v1/plan",
        "What a rebalance would generate, cost and take: a dry run.",
        {200: Answer("The plan.", PlanDocument)},
        {
            422: "No target is named, or a wrong one: `invalid_request`, `unknown_condition`, `invalid_target`; or the "
            "rebalance would ask for more images than one may: `plan_too_large`."
        },
        [
            Parameter(
                "target_per_condition",
                {"type": "integer", "minimum": 0, "maximum": MAX_TARGET},
                "Accepted images that each condition shall have. Without it, `targets` must be there.",
            ),
            Parameter(
                "conditions",
                {"type": "array", "items": _CONDITIONS},
                "The conditions that `target_per_condition` is about; without it, all of them.",
                listed=True,
            ),
            Parameter(
                "targets",
                {"type": "string", "pattern": _TARGETS, "examples": ["acne:130,redness:200"]},
                f"Targets of single conditions, each from 0 to {MAX_TARGET}; they override `target_per_condition`.",
            ),
            Parameter(
                "max_attempts",
                {"type": "integer", "minimum": 1, "maximum": 20, "default": 3},
                "Attempts that one image gets.",
            ),
        ],
    ),
    Operation(
        "post",
        "/v1/rebalances",
        "Start a rebalance.",
        {202: Answer("It is under way. The same `campaign_id` again starts nothing anew.", Campaign)},
        {
            413: None,
            422: "It cannot be started: `invalid_request`, `unknown_condition`, `invalid_target`, `plan_too_large`, "
            "`over_budget`.",
        },
        body=RebalanceRequested,
    ),
    Operation(
        "get",
        "/v1/rebalances",
        "The latest rebalances, newest first, each with the last epoch of its training.",
        {200: Answer("The rebalances.", CampaignList)},
        _WRONG,
        [_LIMIT],
    ),
    Operation(
        "get",
        "/v1/rebalances/{id}",
        "One rebalance with its progress, model and every epoch of its training.",
        {200: Answer("The rebalance.", Campaign)},
        _MISSING,
        [_CAMPAIGN],
    ),
    *(
        Operation(
            "post",
            f"/v1/rebalances/{{id}}/{change}",
            summary,
            {200: Answer("The rebalance as it stands now.", Campaign)},
            {**_BODY, **_MISSING, 409: "It has ended: `conflict`."},
            [_CAMPAIGN],
            body=ChangeRequest,
            body_required=False,
        )
        for change, summary in (
            ("pause", "Ask for no more images until it is resumed; those asked for already are still made, and count."),
            ("resume", "Go on with a rebalance that is paused."),
            ("cancel", "End a rebalance with the images that it has."),
        )
    ),
    Operation(
        "get",
        "/v1/rebalances/{id}/stream",
        "The same document as server-sent events.",
        {
            200: Answer(
                "An event at every change, until nothing more is to come.",
                {"text/event-stream": event_of("campaign", Campaign)},
            )
        },
        _MISSING,
        [_CAMPAIGN],
    ),
    Operation(
        "post",
        "/v1/images",
        "Bring in a picture with its labels.",
        {
            200: Answer(
                "The same bytes are there already, with the same labels or with those of an update.", ImageDetail
            ),
            201: Answer("It is recorded. Its warnings say whether it looks the same as another one.", ImageDetail),
        },
        {
            409: "The same bytes are there with other labels or in another group, or another picture looks the same "
            "and the settings refuse that: `labels_differ`, `group_differs`, `near_duplicate`.",
            413: "Too many bytes: `image_too_large`, `request_too_large`.",
            415: "Not a picture in a format that is read, or animated, or not a form: `image_unsupported`, "
            "`image_animated`, `unsupported_media_type`.",
            422: "The form or the picture is wrong: `invalid_request`, `unknown_condition`, `unknown_severity`, "
            "`image_empty`, `image_broken`, `image_too_small`, `image_too_many_pixels`.",
            408: None,
            503: "As many uploads as are taken are in hand, or what the service depends on is not there: `overloaded`, "
            "`starting`, `store_unavailable`, `database_unavailable`. Retry-After says when to try again.",
            507: None,
        },
        body={"multipart/form-data": _UPLOAD},
        problem=ImageProblem,
    ),
    Operation(
        "get",
        "/v1/images",
        "A page of images, in the order they came.",
        {200: Answer("The page.", ImagePage)},
        {422: "A filter is wrong: `invalid_request`, `unknown_condition`, `unknown_severity`."},
        [
            Parameter("status", _or_none({"enum": list(Status)}), "Only those that stand so."),
            Parameter("condition", _or_none(_CONDITIONS), "Only those that show it."),
            Parameter("severity", _or_none(_SEVERITIES), "Only those that show `condition` so."),
            Parameter("skin_tone", _or_none(_TONES), "Only those of this step of the Monk scale."),
            Parameter("awaiting", TEXT, "Only those that wait for a verdict of this reviewer, who gave none yet."),
            Parameter("disputed", {"type": "boolean", "default": False}, "Only those on which reviewers disagree."),
            Parameter("cursor", {**_NUMBER, "default": 0}, "The `next_cursor` of the page before."),
            _LIMIT,
        ],
    ),
    Operation("get", "/v1/images/{id}", "One image.", {200: Answer("The image.", ImageDetail)}, _MISSING, [_IMAGE]),
    Operation(
        "put",
        "/v1/images/{id}/frame",
        "Correct the square that models see of an image, or go back to what was found.",
        {200: Answer("The image as it stands now.", ImageDetail)},
        {404: None, 409: "No frame is known of it, or the square does not fit the picture: `conflict`.", **_BODY},
        [_IMAGE],
        FrameCorrection,
    ),
    Operation(
        "get",
        "/v1/images/{id}/content",
        "The picture as it came.",
        {
            200: Answer("Its bytes.", _PICTURES, _CACHED),
            304: Answer("It is what `If-None-Match` names.", headers=_CACHED),
        },
        {404: "There is no such image, or its bytes are gone: `not_found`, `blob_not_found`."},
        [_IMAGE],
    ),
    Operation(
        "get",
        "/v1/images/{id}/thumbnail",
        "A small, upright copy as WebP.",
        {
            200: Answer("Its bytes.", {"image/webp": BINARY}, _CACHED),
            304: Answer("It is what `If-None-Match` names.", headers=_CACHED),
        },
        {404: "There is no such image, or its bytes are gone: `not_found`, `blob_not_found`."},
        [_IMAGE],
    ),
    Operation(
        "post",
        "/v1/images/{id}/reviews",
        "A verdict on one image.",
        {201: Answer("The image as it stands now.", ImageDetail)},
        {
            404: None,
            409: "The image is not what the reviewer saw, or the key is another review's: `stale_review`, `conflict`.",
            413: None,
            422: "The review is wrong: `invalid_request`, `unknown_condition`, `unknown_severity`.",
        },
        [_IMAGE],
        Review,
        problem=ReviewProblem,
    ),
    Operation(
        "post",
        "/v1/reviews",
        "Verdicts on many images.",
        {201: Answer("All were taken.", ReviewResults), 207: Answer("Some were refused.", ReviewResults)},
        _BODY,
        body=ReviewBatch,
    ),
    Operation(
        "post",
        "/v1/reviews/undo",
        "Take back a reviewer's last verdict, or the one that a key names.",
        {200: Answer("The image as it stands now.", ImageDetail)},
        {
            404: None,
            409: "There is none, or another review of the image came after it: `conflict`.",
            **_BODY,
        },
        body=UndoRequest,
    ),
    Operation(
        "get",
        "/v1/reviews/agreement",
        "How far reviewers agree.",
        {200: Answer("The agreement of all, and of every two.", AgreementDocument)},
    ),
    Operation(
        "get",
        "/v1/datasets/{version}",
        "One published dataset version.",
        {200: Answer("The dataset.", DatasetDocument)},
        _MISSING,
        [Parameter("version", TEXT, "The dataset's version.", "path")],
    ),
    Operation(
        "get",
        "/v1/export",
        "The accepted dataset in another tool's format, or the audit log.",
        {
            200: Answer(
                "The file. One that ends too early is cut off, so that nobody takes it for whole.",
                {"application/x-tar": BINARY, JSON: {}, "text/csv": TEXT, NDJSON: TEXT},
                {"Content-Disposition": "With the file's name."},
            )
        },
        _WRONG,
        [
            Parameter(
                "format",
                {"type": "string", "enum": list(EXPORTS), "default": "imagefolder"},
                "A tar of folders, Label Studio's JSON, COCO's JSON, CSV; or `audit`: who changed what of which image, "
                "and when, an entry a line.",
            ),
            Parameter(
                "annotators",
                {"type": "boolean", "default": False},
                "Whether reviewers' e-mail addresses are authors of Label Studio's annotations: it must know them.",
            ),
        ],
    ),
    Operation("get", "/v1/models", "Every model, and which one is live.", {200: Answer("The models.", Models)}),
    Operation(
        "get",
        "/v1/models/{version}/files/{name}",
        "A file of one version: its ONNX file, card or evaluation.",
        {
            200: Answer(
                "Its bytes.",
                {"application/octet-stream": BINARY, JSON: {"type": "object"}},
            )
        },
        {404: "There is no such model, or no such file of it: `not_found`."},
        [_VERSION, Parameter("name", {"type": "string", "enum": list(MODEL_FILES)}, "The file.", "path")],
    ),
    Operation(
        "post",
        "/v1/models/{version}/promotions",
        "Serve this version from now on.",
        {202: Answer("It is live.", LiveModelDocument)},
        _PROMOTED | _BODY,
        [_VERSION],
        PromotionRequest,
        body_required=False,
    ),
    Operation(
        "post",
        "/v1/models/rollback",
        "Serve the version that was live before.",
        {202: Answer("It is live.", LiveModelDocument)},
        _PROMOTED,
    ),
    Operation(
        "get",
        "/v1/dead-letters",
        "Messages that were given up, with their errors.",
        {200: Answer("The oldest first.", DeadLetterList)},
        {404: "There is no such queue: `not_found`."},
        [Parameter("queue", {"type": "string", "enum": known_queues()}, "Only those of this consumer's queue.")],
    ),
    Operation(
        "post",
        "/v1/dead-letters/replay",
        "Send dead letters to their queues again.",
        {200: Answer("How many there were.", Replayed)},
        {404: "There is no such queue: `not_found`.", **_BODY},
        body=ReplayRequest,
        body_required=False,
    ),
    Operation(
        "get",
        "/v1/webhooks",
        "How many webhooks wait, and which were given up.",
        {200: Answer("Those that wait or were given up in the last 30 days; older ones are forgotten.", WebhookList)},
    ),
    Operation(
        "post",
        "/v1/webhooks/replay",
        "Send the webhooks that were given up again, with as many tries as at first.",
        {200: Answer("How many there were.", Replayed)},
    ),
)


def _with_guards(operation: Operation) -> Operation:
    """The operation, with what a request is answered that another site's page may have sent."""
    if operation.method == "get":
        return operation
    foreign = "It comes from another site's page, or the Host is not the service's: `foreign_origin`, `foreign_host`."
    return replace(operation, problems={403: foreign, 415: None, **operation.problems})


def _with_roles(operation: Operation) -> Operation:
    """The operation, with what a request is answered whose token is a reviewer's or wrong."""
    if not asks_for_key(operation.path):
        return operation
    forbidden = "Only an operator may: `forbidden`."
    told = f"{said} {forbidden}" if (said := operation.problems.get(403)) else forbidden
    return replace(operation, problems={**operation.problems, 403: told, 429: None})


def openapi(*, secured: bool = False, signs_in: bool = False) -> dict[str, Any]:
    """The OpenAPI 3.1 document. `secured`: whether a key is asked for; `signs_in`: whether people have their own."""
    operations: Iterable[Operation] = map(_with_guards, _OPERATIONS)
    return described(
        "evenskin labeler-api",
        "The one ledger of the dataset: images and their labels, rebalances, reviews, models, dead letters.",
        map(_with_roles, operations) if signs_in else operations,
        secured=secured,
    )
