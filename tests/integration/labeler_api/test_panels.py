"""Images that need several reviewers' verdicts: none counts before, disagreement comes back, one more decides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Labeler, labeler
from tests.integration.labeler_api.test_reviews import pending, states


@pytest.fixture
async def two(tmp_path: Path, database_url: str) -> AsyncIterator[Labeler]:
    """A running labeler-api that asks two reviewers, on either database."""
    async with labeler(tmp_path, database_url=database_url, reviews_per_image=2) as running:
        yield running


async def waiting(labeler: Labeler, count: int = 1) -> list[dict[str, Any]]:
    """A manual campaign's images, so many."""
    await labeler.rebalance(targets={"redness": count}, review="manual")
    return await pending(labeler, count)


async def told(labeler: Labeler, image: dict[str, Any]) -> tuple[str, bool, dict[str, Any]]:
    """An image's status, whether it is disputed, and its labels."""
    document = await labeler.get(f"/v1/images/{image['id']}")
    return document["status"], document["disputed"], document["labels"]


async def log_of(labeler: Labeler) -> list[str]:
    """The actions that were logged."""
    answer = await labeler.call("GET", "/v1/export", params={"format": "audit"})
    return [json.loads(line)["action"] for line in answer.body.splitlines()]


async def undo(labeler: Labeler, reviewer: str) -> int:
    """Take back a reviewer's last review; the answer's status."""
    return (await labeler.call("POST", "/v1/reviews/undo", json={"reviewer": reviewer})).status


async def test_nothing_counts_before_both_verdicts_are_there(two: Labeler) -> None:
    (image,) = await waiting(two)
    proposed = image["labels"]
    seen = {"status": "pending", "labels": proposed}
    first = await two.review(image["id"], "accepted", reviewer="A", seen=seen)
    assert (first.json["status"], first.json["reviewer"], first.json["disputed"]) == ("pending", None, False)
    await two.review(image["id"], "accepted", reviewer="A", key=str(uuid4()))  # again: it is one reviewer
    assert (await two.get("/v1/balance"))["images"] == {"accepted": 0, "pending": 1, "rejected": 0}
    assert two.augmenter.labeled == []
    assert await states(two) == ["review"]

    second = await two.review(image["id"], "accepted", reviewer="B", seen=seen)
    assert (second.json["status"], second.json["reviewer"]) == ("accepted", "B")
    await two.settled()
    assert [event.reviewer for event in two.augmenter.labeled] == ["B"]
    assert await states(two) == ["counted"]
    await assert_counters(two)


async def test_two_rejections_ask_for_the_next_image(two: Labeler) -> None:
    (image,) = await waiting(two)
    await two.review(image["id"], "rejected", reviewer="A", reason="hands")
    assert [request.attempt for request in two.generator.requests] == [1]
    await two.review(image["id"], "rejected", reviewer="B", reason="blurred")
    (another,) = await pending(two, 1)
    assert another["id"] != image["id"]
    assert two.generator.requests[-1].earlier_rejections == ("blurred",)
    await assert_counters(two)


async def test_a_disagreement_comes_back_and_another_reviewer_decides(two: Labeler) -> None:
    image, other = await waiting(two, 2)
    await two.review(image["id"], "accepted", reviewer="A", labels={"redness": "mild"})
    await two.review(image["id"], "accepted", reviewer="B", labels={"redness": "severe"})
    assert await told(two, image) == ("pending", True, image["labels"])
    assert [found["id"] for found in await two.images(disputed="true")] == [image["id"]]
    assert [found["id"] for found in await two.images(awaiting="A")] == [other["id"]]
    assert {found["id"] for found in await two.images(awaiting="C")} == {image["id"], other["id"]}
    assert (await two.get("/v1/reviews/agreement"))["disputed"] == 1

    await two.review(image["id"], "accepted", reviewer="C", labels={"redness": "moderate", "acne": None})
    assert await told(two, image) == ("accepted", False, {"acne": None, "redness": "moderate"})
    assert await two.images(disputed="true") == []
    assert await log_of(two) == ["review", "review", "adjudication"]
    # What is decided is corrected by one, as ever.
    await two.review(image["id"], "rejected", reviewer="D")
    assert await told(two, image) == ("rejected", False, {"acne": None, "redness": "moderate"})
    await two.settled()
    await assert_counters(two)


async def test_verdicts_are_taken_back_out_of_any_state(two: Labeler) -> None:
    (image,) = await waiting(two)
    await two.review(image["id"], "rejected", reviewer="A")
    await two.review(image["id"], "accepted", reviewer="B")
    assert (await told(two, image))[:2] == ("pending", True)
    assert await undo(two, "A") == 200  # though B reviewed it after: nothing is decided yet
    assert (await told(two, image))[:2] == ("pending", False)
    assert [found["id"] for found in await two.images(awaiting="A")] == [image["id"]]
    await two.review(image["id"], "accepted", reviewer="A")
    assert (await told(two, image))[0] == "accepted"
    await two.settled()
    assert await undo(two, "B") == 409  # now it is: A's verdict came after
    assert await undo(two, "A") == 200
    assert (await told(two, image))[:2] == ("pending", False)
    await two.review(image["id"], "rejected", reviewer="C")
    await two.review(image["id"], "accepted", reviewer="D")  # adjudicates
    assert (await told(two, image))[0] == "accepted"
    assert await undo(two, "D") == 200
    assert (await told(two, image))[:2] == ("pending", True)
    await assert_counters(two)


async def test_what_the_gate_or_an_import_accepted_is_corrected_by_one(two: Labeler) -> None:
    (image_id,) = await two.imported(1, condition="acne", severity="mild")
    corrected = await two.review(image_id, "accepted", reviewer="A", labels={"acne": "severe"})
    assert (corrected.json["status"], corrected.json["labels"]) == ("accepted", {"acne": "severe"})
    assert await undo(two, "A") == 200
    assert (await two.get(f"/v1/images/{image_id}"))["labels"] == {"acne": "mild"}
    assert (await two.get("/v1/reviews/agreement"))["pairs"] == []  # nobody reviewed it unaware of the other
    await two.settled()
    await assert_counters(two)


async def test_agreement_is_told_of_those_who_did_not_know_the_others_verdict(two: Labeler) -> None:
    images = await waiting(two, 4)
    two.generator.answer = lambda _: None  # what is asked for again stays under way
    grades = [("mild", "mild"), ("severe", "severe"), ("mild", "severe"), ("moderate", None)]
    for image, (one, other) in zip(images, grades, strict=True):
        await two.review(image["id"], "accepted", reviewer="A", labels={"redness": one})
        if other is None:
            await two.review(image["id"], "rejected", reviewer="B")
        else:
            await two.review(image["id"], "accepted", reviewer="B", labels={"redness": other})
    await two.review(images[2]["id"], "accepted", reviewer="C", labels={"redness": "mild"})  # knows both
    document = await two.get("/v1/reviews/agreement")
    assert (document["reviews_per_image"], document["pending"], document["disputed"]) == (2, 1, 1)
    (pair,) = document["pairs"]
    assert pair["reviewers"] == ["A", "B"]
    assert pair["verdicts"] == {"images": 4, "kappa": 0.0}
    # Grades (1,1), (3,3), (1,3): observed 3 * 4; expected 3 * (11 + 19) - 2 * 5 * 7 = 20.
    assert pair["conditions"]["redness"] == {"images": 3, "kappa": pytest.approx(1 - 12 / 20)}
    assert document["conditions"]["redness"] == pair["conditions"]["redness"]
    assert pair["conditions"]["acne"] == {"images": 3, "kappa": None}  # always absent
    await two.settled()


async def test_one_verdict_is_enough_unless_more_are_asked_for(both: Labeler) -> None:
    (image,) = await waiting(both)
    assert [found["id"] for found in await both.images(awaiting="A")] == [image["id"]]
    assert (await both.review(image["id"], "accepted", reviewer="A")).json["status"] == "accepted"
    assert await both.images(awaiting="B") == []
    assert (await both.call("GET", "/v1/images", params={"awaiting": "A\0"})).code == "invalid_request"
    await both.settled()
