"""Errors in the dialects of servers that speak the OpenAI API."""

from __future__ import annotations

import pytest

from services.generator.error_documents import error_document
from shared.events import FailureReason

FILTERED = {"hate": {"filtered": False, "severity": "safe"}, "sexual": {"filtered": True, "severity": "high"}}
LITELLM = "litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException - filtered"


def of(code: object, **more: object) -> dict[str, object]:
    return {"error": {"message": "no", "code": code, **more}}


@pytest.mark.parametrize(
    "body",
    [
        of("moderation_blocked", moderation_details={"categories": ["sexual"]}),
        of("content_policy_violation"),
        of("content_filter", type=None, param="prompt", status=400),
        of("contentFilter"),
        of("400", innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": FILTERED}),
        of(None, inner_error={"code": "ResponsibleAIPolicyViolation", "content_filter_results": FILTERED}),
        of("400", provider_specific_fields={"innererror": {"code": "ResponsibleAIPolicyViolation"}}),
        {"error": {"message": LITELLM, "type": None, "param": None, "code": "400"}},
        {"error": {"type": "image_generation_user_error", "code": "moderation_blocked", "message": "no"}},
        {"code": "content_filter", "message": "no"},
    ],
)
def test_a_filter_s_refusal_is_one_in_every_dialect(body: object) -> None:
    told = error_document(body)
    assert told.reason(400) is FailureReason.MODERATION_BLOCKED
    assert not told.may_pass(400)
    assert not told.may_pass(500)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "no memory", "code": 500}}, "no memory"),
        ({"error": "no memory"}, "no memory"),
        ({"detail": "no memory"}, "no memory"),
        ({"object": "error", "message": "no memory", "type": "InternalError", "code": 500}, "no memory"),
        ({"error": {"error": {"message": "no memory"}}}, "no memory"),
        ("no memory", "no memory"),
        (["no memory", {"message": "none at all"}], "no memory; none at all"),
        ({"error": {"message": "", "code": "out_of_memory"}}, "out_of_memory"),
        ({}, "no reason given"),
        (None, "no reason given"),
        (17, "no reason given"),
        ({"error": {"message": {"deep": {"deeper": "no"}}}}, "no reason given"),
    ],
)
def test_the_message_is_found(body: object, message: str) -> None:
    assert error_document(body).message == message


def test_a_message_is_bounded() -> None:
    assert len(error_document({"error": "x" * 10_000}).message) == 500


def test_a_body_that_is_nested_without_end_is_read_to_a_depth() -> None:
    body: dict[str, object] = {"code": "content_filter"}
    for _ in range(900):
        body = {"error": body}
    assert error_document(body).reason(400) is FailureReason.INVALID_REQUEST


@pytest.mark.parametrize(
    ("detail", "reason", "param"),
    [
        (
            [{"type": "extra_forbidden", "loc": ["body", "quality"], "msg": "Extra inputs are not permitted"}],
            FailureReason.SETTINGS_REFUSED,
            "quality",
        ),
        ([{"type": "value_error", "loc": ["body", "size"], "msg": "bad"}], FailureReason.SETTINGS_REFUSED, "size"),
        ([{"type": "missing", "loc": ["body", "prompt"], "msg": "none"}], FailureReason.INVALID_REQUEST, "prompt"),
        ("Prompt is too long", FailureReason.INVALID_REQUEST, None),
    ],
)
def test_what_fastapi_finds_wrong_is_a_setting_unless_it_is_the_prompt(
    detail: object, reason: FailureReason, param: str | None
) -> None:
    told = error_document({"detail": detail})
    assert (told.reason(422), told.param) == (reason, param)


@pytest.mark.parametrize(
    ("body", "status"), [(of(429), 429), (of("503"), 503), (of("no"), 500), (of(7), 500), ("text", 500)]
)
def test_a_status_is_read_from_the_codes(body: object, status: int) -> None:
    assert error_document(body).status(otherwise=500) == status
