"""Signing in: a reviewer's token reviews in its owner's name and does nothing else; an operator's does everything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from openapi_spec_validator import validate

from services.labeler_api.app import build
from services.labeler_api.web.openapi import openapi
from shared.errors import ConfigurationError
from shared.sign_in import FAILURES, Role, new_token
from tests.integration.description import Description
from tests.integration.labeler_api.support import Answer, Labeler, labeler, settings_of


@dataclass
class Door:
    """A labeler-api that asks who is there, with a token of each role."""

    running: Labeler
    reviewer: str
    operator: str

    async def ask(self, token: str, method: str, path: str, **options: Any) -> Answer:
        """One request with a token; its answer is one that is described."""
        answer = await self.running.call(method, path, headers={"Authorization": f"Bearer {token}"}, **options)
        Description(openapi(secured=True, signs_in=True)).check(
            method, path, answer.status, answer.headers, answer.body
        )
        return answer


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """The door, and the key `secret` beside the tokens."""
    reviewer, one = new_token("Dr. A", Role.REVIEWER)
    operator, other = new_token("Olga", Role.OPERATOR)
    async with labeler(tmp_path, reviewers=f"{one},{other}", api_key="secret") as running:
        yield Door(running, reviewer, operator)


async def imported(door: Door) -> str:
    """An image."""
    database = door.running
    database.session.headers["Authorization"] = "Bearer secret"
    (image_id,) = await database.imported(1, condition="acne", severity="mild")
    del database.session.headers["Authorization"]
    return image_id


def test_the_description_is_proper() -> None:
    validate(openapi(secured=True, signs_in=True))


async def test_verdicts_are_in_the_name_of_who_signed_in(door: Door) -> None:
    image_id = await imported(door)
    said = {"verdict": "rejected", "reviewer": "Somebody else"}
    one = await door.ask(door.reviewer, "POST", f"/v1/images/{image_id}/reviews", json=said)
    assert (one.status, one.json["reviewer"]) == (201, "Dr. A")
    item = {"image_id": image_id, "verdict": "accepted"}
    assert (await door.ask(door.operator, "POST", "/v1/reviews", json={"reviews": [item]})).status == 201
    # Nobody takes back another's, whatever name they give.
    wrong = await door.ask(door.reviewer, "POST", "/v1/reviews/undo", json={"reviewer": "Olga"})
    assert (wrong.status, wrong.code) == (409, "conflict")
    undone = await door.ask(door.operator, "POST", "/v1/reviews/undo", json={})
    assert (undone.status, undone.json["reviewer"]) == (200, "Dr. A")
    square = (await door.ask(door.reviewer, "GET", f"/v1/images/{image_id}")).json["frame"]["square"]
    corrected = {"square": {**square, "x": square["x"] + 1}, "reviewer": "Olga"}
    assert (await door.ask(door.reviewer, "PUT", f"/v1/images/{image_id}/frame", json=corrected)).status == 200
    # The key's owner brings in others' verdicts, as an import of corrections does.
    brought = await door.ask("secret", "POST", f"/v1/images/{image_id}/reviews", json=said)
    assert brought.json["reviewer"] == "Somebody else"
    log = (await door.ask(door.operator, "GET", "/v1/export?format=audit")).body
    assert [json.loads(line)["by"] for line in log.splitlines()] == ["Dr. A", "Olga", "Olga", "Dr. A", "Somebody else"]


async def test_a_reviewer_reads_and_reviews_and_does_nothing_else(door: Door) -> None:
    queue = {"queue": "trainer.QuotaMet"}
    for path in ("/v1/balance", "/v1/images", "/v1/rebalances", "/v1/models", "/v1/reviews/agreement"):
        assert (await door.ask(door.reviewer, "GET", path)).status == 200
    changes = [
        ("POST", "/v1/rebalances", {"targets": {"acne": 0}}, 202),
        ("POST", f"/v1/rebalances/{uuid4()}/pause", {}, 404),
        ("POST", "/v1/images", None, 422),
        ("POST", "/v1/models/rollback", {}, 404),
        ("POST", "/v1/models/v1/promotions", {}, 404),
        ("POST", "/v1/dead-letters/replay", queue, 200),
        ("GET", "/v1/dead-letters", None, 200),
        ("GET", "/v1/export?format=csv", None, 200),
    ]
    for method, path, body, status in changes:
        options = {} if body is None else {"json": body}
        refused = await door.ask(door.reviewer, method, path, **options)
        assert (refused.status, refused.code) == (403, "forbidden"), path
        for token in (door.operator, "secret"):
            assert (await door.ask(token, method, path, **options)).status == status, path


async def test_without_a_token_only_the_page_is_there(door: Door) -> None:
    for path in ("/", "/healthz", "/readyz", "/metrics", "/static/page.js"):
        assert (await door.running.call("GET", path)).status == 200
    for path in ("/v1/balance", f"/v1/images/{uuid4()}/content", "/openapi.json", "/v1/export"):
        assert (await door.running.call("GET", path)).code == "unauthorized"
        assert (await door.ask("wrong", "GET", path)).code == "unauthorized"
    refused = await door.running.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. A"})
    assert refused.code == "unauthorized"


async def test_an_address_that_guesses_waits_and_who_is_in_goes_on(door: Door) -> None:
    assert (await door.ask(door.reviewer, "GET", "/v1/balance")).status == 200
    for number in range(FAILURES):
        assert (await door.ask(f"guess {number}", "GET", "/v1/balance")).code == "unauthorized"
    refused = await door.ask("guess", "GET", "/v1/balance")
    assert (refused.status, refused.code) == (429, "too_many_failures")
    assert refused.headers["Retry-After"] == "60"
    assert (await door.ask(door.operator, "GET", "/v1/balance")).status == 429
    for token in (door.reviewer, "secret"):
        assert (await door.ask(token, "GET", "/v1/balance")).status == 200


async def test_reviewers_that_are_none_are_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="EVENSKIN_REVIEWERS"):
        build(settings_of(tmp_path, reviewers="Dr. A:hunter2"))
