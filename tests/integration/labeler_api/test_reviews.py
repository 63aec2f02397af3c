"""Reviews by people: what a verdict does to the image, its slot and the dataset, and how it is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from services.labeler_api.campaigns import reviews
from services.labeler_api.ledger.tables import slot_table
from services.labeler_api.ledger.transaction import Transaction
from shared.documents.requests import Review
from shared.events import FailureReason, ImageRequested, QuotaMet, Verdict
from shared.taxonomy import Severity
from tests.eventually import eventually
from tests.fakes.pictures import png
from tests.fakes.workers import Answer, seed_of
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Answer as HttpAnswer
from tests.integration.labeler_api.support import Labeler, labeler


def first_attempts_only() -> Callable[[ImageRequested], Answer]:
    """Answers first attempts; what is asked for again stays under way."""
    return lambda request: png(seed_of(request.image_id)) if request.attempt == 1 else None


async def pending(labeler: Labeler, count: int) -> list[dict[str, Any]]:
    """Wait until so many images wait for a person."""

    async def there() -> list[dict[str, Any]] | None:
        found = await labeler.images(status="pending")
        return found if len(found) == count else None

    found: list[dict[str, Any]] = await eventually(there, f"{count} pending images")
    return found


async def states(labeler: Labeler) -> list[str]:
    """The slots' states, in order."""
    return [row["state"] for row in sorted(await labeler.rows(slot_table.name), key=lambda row: int(row["position"]))]


async def test_a_manual_campaign_waits_for_people(both: Labeler) -> None:
    campaign_id = await both.rebalance(targets={"redness": 3}, review="manual")
    first, second, third = await pending(both, 3)
    assert (await both.campaign(campaign_id))["slots"]["open"] == 3
    assert both.augmenter.labeled == []
    assert (await both.get("/v1/plan", params={"targets": "redness:3"}))["total"] == 0

    assert (await both.review(first["id"], "accepted", confidence=4)).status == 201
    refused = await both.review(second["id"], "rejected", reason="hands in the face")
    assert refused.json["status"] == "rejected"
    assert (refused.json["reviewer"], refused.json["reason"]) == ("Dr. Skin", "hands in the face")
    # A good picture of something else stays, and the slot still lacks its own.
    relabeled = await both.review(third["id"], "accepted", labels={"acne": "severe", "redness": None})
    assert relabeled.json["labels"] == {"acne": "severe", "redness": None}
    assert relabeled.json["labels_text"] == {"acne": "severe", "redness": "unknown"}

    retried = await pending(both, 2)
    reasons = {r.earlier_rejections for r in both.generator.requests if r.attempt == 2}
    assert reasons == {("hands in the face",), ("showed severe acne, redness instead",)}
    await assert_counters(both)
    many = [{"image_id": found["id"], "verdict": "accepted", "reviewer": "B"} for found in retried]
    answer = await both.call("POST", "/v1/reviews", json={"reviews": many})
    assert answer.status == 201
    assert all(result["ok"] for result in answer.json["results"])
    done = await both.reaches(campaign_id, "met")
    assert done["slots"]["counted"] == 3
    await both.settled()
    balance = await both.get("/v1/balance")
    assert balance["images"] == {"accepted": 4, "pending": 0, "rejected": 1}
    assert balance["variants"] == 4
    verdicts = [event.verdict for event in both.augmenter.labeled]
    assert (verdicts.count(Verdict.ACCEPTED), verdicts.count(Verdict.REJECTED)) == (4, 1)
    await assert_counters(both)


async def test_the_gate_comes_before_people(one: Labeler) -> None:
    one.generator.answer = lambda request: b"broken" if request.attempt == 1 else png(1)
    await one.rebalance(targets={"redness": 1}, review="manual")
    (waiting,) = await pending(one, 1)
    (refused,) = await one.images(status="rejected")
    assert refused["reviewer"] == "gate"
    assert waiting["reviewer"] is None


async def test_an_undone_rejection_gives_the_slot_back(both: Labeler) -> None:
    both.generator.answer = first_attempts_only()
    both.augmenter.silent = True
    campaign_id = await both.rebalance(targets={"redness": 1}, review="auto")
    (image,) = await eventually(lambda: both.images(status="accepted"))
    await both.review(image["id"], "rejected")
    assert await states(both) == ["open"]
    await assert_counters(both)

    answer = await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. Skin"})
    assert (answer.status, answer.json["id"], answer.json["status"]) == (200, image["id"], "accepted")
    assert (answer.json["reviewer"], answer.json["reason"]) == ("gate", None)
    assert await states(both) == ["augmenting"]
    await assert_counters(both)
    # The attempt that the rejection asked for comes too late: paid, but not one too many.
    again = await eventually(lambda: [r for r in both.generator.requests if r.attempt == 2])
    await both.publish(await both.generator.made(again[0], png(7)))
    (superseded,) = await eventually(lambda: both.images(status="rejected"))
    assert "superseded" in superseded["reason"]
    both.augmenter.silent = False
    await both.review(image["id"], "accepted")
    await both.reaches(campaign_id, "met")
    assert (await both.get("/v1/balance"))["images"] == {"accepted": 1, "pending": 0, "rejected": 1}
    (met,) = await eventually(lambda: both.listener.events(QuotaMet))
    assert met.images == 1
    await assert_counters(both)


@pytest.mark.parametrize("review", ["manual", "auto"])
async def test_a_rejection_that_is_taken_back_within_its_grace_costs_no_image(
    tmp_path: Path, database_url: str, review: str
) -> None:
    async with labeler(tmp_path, database_url=database_url, rejection_grace_s=3600.0) as running:
        running.augmenter.silent = True
        campaign_id = await running.rebalance(targets={"redness": 2}, review=review)
        status = "pending" if review == "manual" else "accepted"
        first, second = await eventually(lambda: _so_many(running, 2, status=status))
        for image in (first, second):
            await running.review(image["id"], "rejected")
            assert (await running.get(f"/v1/images/{image['id']}"))["status"] == "rejected"
        assert await states(running) == ["review", "review"]  # nothing is counted meanwhile
        await assert_counters(running)

        await running.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. Skin"})
        await running.review(second["id"], "accepted")
        await running.review(first["id"], "accepted", labels={"aging": "mild"})  # not what its slot is for
        await running.review(first["id"], "accepted", labels=first["labels"])
        running.augmenter.silent = False
        for image in (first, second):
            await running.review(image["id"], "accepted", labels=image["labels"])
        met = await running.reaches(campaign_id, "met")
        assert [request.attempt for request in running.generator.requests] == [1, 1]
        assert (met["slots"]["counted"], met["slots"]["failed"]) == (2, 0)
        assert all(row["deadline"] is None for row in await running.rows(slot_table.name))
        await assert_counters(running)


async def test_a_rejection_that_stands_after_its_grace_asks_for_the_next_image(
    tmp_path: Path, database_url: str
) -> None:
    async with labeler(tmp_path, database_url=database_url, rejection_grace_s=0.3) as running:
        campaign_id = await running.rebalance(targets={"redness": 1}, review="manual")
        (image,) = await pending(running, 1)
        await running.review(image["id"], "rejected", reason="a hand in the face")
        assert (await running.call("POST", f"/v1/rebalances/{campaign_id}/pause")).status == 200
        await running.review(image["id"], "rejected", reason="two hands")  # its grace begins anew
        assert len(running.generator.requests) == 1
        assert (await running.call("POST", f"/v1/rebalances/{campaign_id}/resume")).status == 200
        (again,) = await pending(running, 1)
        assert [request.attempt for request in running.generator.requests] == [1, 2]
        assert running.generator.requests[-1].earlier_rejections == ("two hands",)
        # Too late for an undo to spare it; the image is there again all the same, and only one is counted.
        await running.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. Skin"})
        await running.review(again["id"], "accepted")
        await running.reaches(campaign_id, "met")
        await assert_counters(running)


async def test_a_campaign_that_is_cancelled_within_a_grace_asks_for_nothing_more(
    tmp_path: Path, database_url: str
) -> None:
    async with labeler(tmp_path, database_url=database_url, rejection_grace_s=3600.0) as running:
        campaign_id = await running.rebalance(targets={"redness": 1}, review="manual")
        (image,) = await pending(running, 1)
        await running.review(image["id"], "rejected")
        answer = await running.call("POST", f"/v1/rebalances/{campaign_id}/cancel")
        assert answer.status == 200, answer.body
        assert await states(running) == ["failed"]
        (row,) = await running.rows(slot_table.name)
        assert (row["deadline"], row["attempt"]) == (None, 1)
        await assert_counters(running)


async def _so_many(labeler: Labeler, count: int, **filters: Any) -> list[dict[str, Any]] | None:
    found = await labeler.images(**filters)
    return found if len(found) == count else None


async def test_an_undone_acceptance_waits_for_a_person_again(both: Labeler) -> None:
    both.augmenter.silent = True
    campaign_id = await both.rebalance(targets={"redness": 1}, review="manual")
    (image,) = await pending(both, 1)
    await both.review(image["id"], "accepted", labels={"redness": "mild"})
    assert await states(both) == ["augmenting"]
    await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. Skin"})
    assert await states(both) == ["review"]
    assert [found["id"] for found in await both.images(status="pending")] == [image["id"]]
    await assert_counters(both)
    assert (await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. Skin"})).code == "conflict"
    both.augmenter.silent = False
    await both.review(image["id"], "accepted")
    await both.reaches(campaign_id, "met")


async def test_only_the_last_word_on_an_image_can_be_undone(one: Labeler) -> None:
    (image_id,) = await one.imported(1, condition="acne", severity="mild")
    await one.review(image_id, "rejected", reviewer="A")
    await one.review(image_id, "accepted", reviewer="B")
    answer = await one.call("POST", "/v1/reviews/undo", json={"reviewer": "A"})
    assert (answer.status, answer.code) == (409, "conflict")
    await one.call("POST", "/v1/reviews/undo", json={"reviewer": "B"})
    await one.call("POST", "/v1/reviews/undo", json={"reviewer": "A"})
    assert (await one.get(f"/v1/images/{image_id}"))["status"] == "accepted"
    await one.settled()
    await assert_counters(one)


async def waiting_for_locks(labeler: Labeler) -> int:
    """How many of PostgreSQL's transactions wait for another one's rows."""
    waiting = sa.select(sa.func.count()).select_from(sa.text("pg_stat_activity"))
    waiting = waiting.where(sa.text("datname = current_database() AND wait_event_type = 'Lock'"))
    async with labeler.database.reading() as connection:
        return int((await connection.execute(waiting)).scalar_one())


async def undos_that_wait(labeler: Labeler, count: int) -> list[asyncio.Task[HttpAnswer]]:
    """So many undos by Dr. Skin, once all of them wait for the image that somebody else holds."""
    body = {"reviewer": "Dr. Skin"}
    undos = [asyncio.create_task(labeler.call("POST", "/v1/reviews/undo", json=body)) for _ in range(count)]

    async def all_wait() -> bool:
        return await waiting_for_locks(labeler) >= count

    await eventually(all_wait, f"{count} undos that wait")
    return undos


async def test_undos_at_once_take_back_a_review_each(tmp_path: Path, postgres_url: str) -> None:
    async with labeler(tmp_path, database_url=postgres_url) as running:
        first, second = await running.imported(2, condition="acne", severity="mild")
        await running.settled()
        for image_id in (first, second):
            await running.review(image_id, "rejected")

        async def hold_the_image(transaction: Transaction) -> list[asyncio.Task[HttpAnswer]]:
            await transaction.image(UUID(second))
            return await undos_that_wait(running, 3)

        answers = await asyncio.gather(*await running.database.write(hold_the_image))
        assert sorted(answer.status for answer in answers) == [200, 200, 409]
        assert {answer.json["id"] for answer in answers if answer.status == 200} == {first, second}
        assert {row["status"] for row in await running.rows("images")} == {"accepted"}
        assert all(row["undone_at"] is not None for row in await running.rows("reviews"))
        await assert_counters(running)


async def test_a_review_sent_again_under_its_key_is_one_review_and_one_undo_takes_it_back(both: Labeler) -> None:
    (image_id,) = await both.imported(1, condition="acne", severity="mild")
    key = str(uuid4())
    said = {"image_id": image_id, "verdict": "rejected", "reviewer": "Ada", "key": key}
    for _ in range(2):
        assert (await both.call("POST", "/v1/reviews", json={"reviews": [said, said]})).status == 201
    assert len(await both.rows("reviews")) == 1
    for _ in range(2):  # the undo's answer may be lost as well
        undone = await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Ada", "key": key})
        assert (undone.status, undone.json["status"]) == (200, "accepted")
    # What comes late is known still, and changes nothing.
    assert (await both.call("POST", "/v1/reviews", json={"reviews": [said]})).status == 201
    assert (await both.get(f"/v1/images/{image_id}"))["status"] == "accepted"
    assert (await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Ada"})).code == "conflict"
    await both.settled()
    await assert_counters(both)


async def test_a_key_is_one_reviews_of_one_image(one: Labeler) -> None:
    first, second = await one.imported(2, condition="acne", severity="mild")
    key = str(uuid4())
    assert (await one.review(first, "rejected", key=key)).status == 201
    assert (await one.review(second, "rejected", key=key)).code == "conflict"
    assert (await one.review(first, "rejected", key=key, reviewer="Somebody else")).code == "conflict"
    undo = await one.call("POST", "/v1/reviews/undo", json={"reviewer": "Somebody else", "key": key})
    assert undo.code == "conflict"
    assert [row["image_id"] for row in await one.rows("reviews")] == [UUID(first)]
    assert (await one.review(second, "rejected", key="mine")).code == "invalid_request"


async def test_a_key_names_the_review_that_is_taken_back_unless_another_came_after_it(both: Labeler) -> None:
    first, second = await both.imported(2, condition="acne", severity="mild")
    keys = [str(uuid4()) for _ in range(3)]
    for image_id, key in zip((first, second, second), keys, strict=True):
        assert (await both.review(image_id, "rejected", key=key)).status == 201
    later = await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. Skin", "key": keys[1]})
    assert later.code == "conflict"
    undone = await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. Skin", "key": keys[0]})
    assert (undone.json["id"], undone.json["status"]) == (first, "accepted")
    assert (await both.get(f"/v1/images/{second}"))["status"] == "rejected"


async def test_a_review_of_what_its_reviewer_did_not_see_is_refused_with_what_is_there(both: Labeler) -> None:
    (image_id,) = await both.imported(1, condition="acne", severity="mild")
    seen = {"status": "accepted", "labels": {"acne": "mild"}}
    assert (await both.review(image_id, "rejected", seen=seen, reviewer="Bob")).status == 201
    stale = await both.review(image_id, "accepted", seen=seen)
    assert (stale.status, stale.code) == (409, "stale_review")
    assert stale.json["detail"] == "Meanwhile the image is rejected by Bob: mild acne."
    stored = {"status": "rejected", "labels": {"acne": "mild"}, "reviewer": "Bob"}
    assert (stale.json["image_id"], stale.json["stored"]) == (image_id, stored)
    many = {"image_id": image_id, "verdict": "accepted", "reviewer": "Ada", "seen": {**seen, "status": "rejected"}}
    relabelled = {**many, "seen": {"status": "rejected", "labels": {"acne": "severe"}}}
    answer = await both.call("POST", "/v1/reviews", json={"reviews": [relabelled, many]})
    refused, taken = answer.json["results"]
    assert (refused["problem"]["code"], refused["problem"]["stored"], taken["ok"]) == ("stale_review", stored, True)
    assert len(await both.rows("reviews")) == 2


async def test_an_undo_sees_the_review_that_it_waited_for(tmp_path: Path, postgres_url: str) -> None:
    async with labeler(tmp_path, database_url=postgres_url) as running:
        (image_id,) = await running.imported(1, condition="acne", severity="mild")
        await running.settled()
        await running.review(image_id, "rejected")

        async def review_meanwhile(transaction: Transaction) -> list[asyncio.Task[HttpAnswer]]:
            await transaction.image(UUID(image_id))
            undos = await undos_that_wait(running, 1)
            said = Review(verdict=Verdict.ACCEPTED, reviewer="B")
            await reviews.review(transaction, UUID(image_id), said, None, running.settings)
            return undos

        (answer,) = await asyncio.gather(*await running.database.write(review_meanwhile))
        assert (answer.status, answer.code) == (409, "conflict")
        assert (await running.get(f"/v1/images/{image_id}"))["reviewer"] == "B"
        await running.settled()
        await assert_counters(running)


async def test_variants_share_the_fate_of_their_source(both: Labeler) -> None:
    both.generator.answer = lambda request: None
    (image_id,) = await both.imported(1, condition="acne", severity="mild")
    await both.settled()
    assert (await both.get("/v1/balance"))["variants"] == 1
    await both.review(image_id, "rejected")
    assert (await both.get("/v1/balance"))["variants"] == 0
    await both.review(image_id, "accepted", labels={})
    balance = await both.get("/v1/balance")
    assert (balance["variants"], balance["unaugmented"]) == (1, 0)
    assert balance["conditions"]["acne"]["accepted"] == 0
    await assert_counters(both)


async def test_a_rejected_image_reopens_its_slot_while_the_campaign_runs(both: Labeler) -> None:
    both.augmenter.silent = True
    campaign_id = await both.rebalance(targets={"aging": 2})
    images = await eventually(lambda: _accepted(both, 2))
    await eventually(lambda: len(both.augmenter.labeled) == 2)  # or it would answer what it hears late
    both.augmenter.silent = False
    await both.review(images[0]["id"], "accepted")  # said again: nothing changes but that the augmenter hears it again
    await eventually(lambda: _states_are(both, {"counted", "augmenting"}))
    await both.review(images[0]["id"], "rejected", reason="not after all")
    await eventually(lambda: _accepted(both, 2))
    await both.review(images[1]["id"], "accepted")
    done = await both.reaches(campaign_id, "met")
    assert done["slots"]["counted"] == 2
    assert (await both.get("/v1/balance"))["conditions"]["aging"] == {
        "accepted": 2,
        "pending": 0,
        "rejected": 1,
        "severities": {"mild": 1, "moderate": 1, "severe": 0, "unknown": 0},
    }
    await assert_counters(both)


async def _accepted(labeler: Labeler, count: int) -> list[dict[str, Any]] | None:
    found = await labeler.images(status="accepted")
    return found if len(found) == count else None


async def _states_are(labeler: Labeler, expected: set[str]) -> bool:
    return set(await states(labeler)) == expected


async def test_a_campaign_that_ended_is_left_alone(both: Labeler) -> None:
    met = await both.rebalance(targets={"aging": 1})
    await both.reaches(met, "met")
    both.generator.answer = lambda request: b"broken"
    exhausted = await both.rebalance(targets={"acne": 1}, max_attempts=1)
    await both.reaches(exhausted, "exhausted")
    asked = len(both.generator.requests)
    (accepted,) = await both.images(status="accepted")
    (rejected,) = await both.images(status="rejected")
    await both.review(accepted["id"], "rejected")
    for verdict in ("accepted", "rejected", "accepted"):  # a person wants it in the dataset, whatever the gate said
        await both.review(rejected["id"], verdict)
    await both.settled()
    assert (await both.campaign(met))["state"] == "met"
    assert (await both.campaign(exhausted))["slots"] == {"total": 1, "counted": 0, "failed": 1, "open": 0}
    assert len(both.generator.requests) == asked
    assert (await both.get("/v1/plan", params={"targets": "aging:1,acne:1"}))["missing"] == {"aging": 1, "acne": 0}
    await assert_counters(both)


async def test_an_answer_to_an_earlier_attempt_is_superseded(both: Labeler) -> None:
    both.generator.answer = lambda request: None
    campaign_id = await both.rebalance(targets={"aging": 1})
    (request,) = await eventually(lambda: list(both.generator.requests))
    await both.publish(both.generator.failed(request, FailureReason.TIMEOUT))
    await eventually(lambda: len(both.generator.requests) == 2)
    await both.publish(await both.generator.made(request, png(1)))  # it had worked, only slowly
    (late,) = await eventually(lambda: both.images(status="rejected"))
    assert late["reason"] == "superseded: another attempt answers its slot"
    await both.publish(await both.generator.made(both.generator.requests[1], png(2)))
    done = await both.reaches(campaign_id, "met")
    assert done["spent_usd"] == 0.06
    await assert_counters(both)


async def test_a_superseded_attempt_is_committed_once(both: Labeler) -> None:
    both.augmenter.silent = (
        True  # so that the slot is not counted, and its campaign not met, before its image is rejected
    )
    both.generator.answer = lambda request: None
    campaign_id = await both.rebalance(targets={"aging": 1}, max_cost_usd=0.10, max_attempts=3)
    (request,) = await eventually(lambda: list(both.generator.requests))
    await both.publish(await both.generator.made(request, b"no picture"))
    await eventually(lambda: len(both.generator.requests) == 2)
    (lost,) = await both.images(status="rejected")
    await both.review(lost["id"], "accepted")  # it is good enough after all, while its successor is being paid for
    await both.publish(await both.generator.made(both.generator.requests[1], png(2)))
    await eventually(lambda: both.images(status="rejected"))
    await both.review(lost["id"], "rejected")  # it is not: there is room for the third attempt
    await eventually(lambda: len(both.generator.requests) == 3)
    await both.publish(both.generator.failed(both.generator.requests[2], FailureReason.TIMEOUT))
    done = await both.reaches(campaign_id, "exhausted")
    (row,) = await both.rows("campaigns")
    assert done["spent_usd"] == pytest.approx(0.06)
    assert row["committed_micro_usd"] == 60_000  # what was asked for and cost nothing is given back
    await assert_counters(both)


async def test_reviews_that_make_no_sense_are_refused_one_by_one(both: Labeler) -> None:
    (image_id,) = await both.imported(1, condition="acne", severity="mild")
    await both.settled()
    for body, status, code in [
        ({"verdict": "maybe", "reviewer": "A"}, 422, "invalid_request"),
        ({"verdict": "accepted"}, 422, "invalid_request"),
        ({"verdict": "accepted", "reviewer": ""}, 422, "invalid_request"),
        ({"verdict": "accepted", "reviewer": "A\0"}, 422, "invalid_request"),
        ({"verdict": "accepted", "reviewer": "A", "reason": "a\nb\0"}, 422, "invalid_request"),
        ({"verdict": "accepted", "reviewer": "\ud800"}, 422, "invalid_request"),
        ({"verdict": "accepted", "reviewer": "A", "confidence": 6}, 422, "invalid_request"),
        ({"verdict": "accepted", "reviewer": "A", "labels": {"freckles": "mild"}}, 422, "unknown_condition"),
        ({"verdict": "accepted", "reviewer": "A", "labels": {"acne": "deadly"}}, 422, "unknown_severity"),
        ({"verdict": "accepted", "reviewer": "A", "comment": "typo"}, 422, "invalid_request"),
        ([], 422, "invalid_request"),
    ]:
        answer = await both.call("POST", f"/v1/images/{image_id}/reviews", json=body)
        assert (answer.status, answer.code) == (status, code), body
    assert (await both.review(str(uuid4()), "accepted")).code == "not_found"
    assert (await both.review("nothing", "accepted")).code == "not_found"
    for undo in ({}, {"reviewer": 5}, {"reviewer": "\0"}):
        assert (await both.call("POST", "/v1/reviews/undo", json=undo)).code == "invalid_request"
    assert (await both.call("POST", "/v1/reviews/undo", json={"reviewer": "nobody"})).status == 409
    bodies: list[dict[str, Any]] = [{}, {"reviews": []}, {"reviews": "all"}, {"reviews": [{}] * 501}]
    for wrong in bodies:
        assert (await both.call("POST", "/v1/reviews", json=wrong)).code == "invalid_request"
    several = [
        {"image_id": image_id, "verdict": "rejected", "reviewer": "A", "reason": "two\nlines"},
        {"image_id": str(uuid4()), "verdict": "accepted", "reviewer": "A"},
        {"image_id": image_id, "verdict": "?", "reviewer": "A"},
        {"image_id": image_id, "verdict": "accepted", "reviewer": "A", "labels": {"freckles": "mild"}},
        {"verdict": "accepted"},
        "text",
    ]
    answer = await both.call("POST", "/v1/reviews", json={"reviews": several})
    assert answer.status == 207
    assert [result["ok"] for result in answer.json["results"]] == [True] + [False] * 5
    codes = [result["problem"]["code"] for result in answer.json["results"][1:]]
    assert codes == ["not_found", "invalid_request", "unknown_condition", "invalid_request", "invalid_request"]
    assert (await both.get(f"/v1/images/{image_id}"))["reason"] == "two\nlines"
    assert len(await both.rows("reviews")) == 1
    await assert_counters(both)


async def test_people_who_review_at_the_same_time(both: Labeler) -> None:
    both.generator.answer = lambda request: png(seed_of(request.image_id))
    campaign_id = await both.rebalance(targets={"aging": 2}, review="manual", max_attempts=1)
    images = await pending(both, 2)
    verdicts = ["accepted", "rejected"] * 4
    answers = await asyncio.gather(
        *(both.review(image["id"], verdict, reviewer=str(n)) for n, verdict in enumerate(verdicts) for image in images)
    )
    assert {answer.status for answer in answers} == {201}

    async def ended() -> bool:
        return (await both.campaign(campaign_id))["state"] in ("exhausted", "met")

    for image in images:
        await both.review(image["id"], "accepted")
    await eventually(ended)
    await both.settled()
    await assert_counters(both)
    assert {image["status"] for image in await both.images()} == {"accepted"}
    labels = {tuple(image["labels"].items()) for image in await both.images()}
    assert labels == {(("aging", severity.label),) for severity in (Severity.MILD, Severity.MODERATE)}
