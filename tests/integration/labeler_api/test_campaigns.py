"""Campaigns from outside: what is asked for comes about exactly once, whatever happens to the messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.events import (
    FailureReason,
    ImageRequested,
    QuotaMet,
    RebalanceRejected,
    RebalanceRequested,
    TrainingProgressed,
)
from shared.taxonomy import CLEAR, Condition, Fold, Severity, fold_of, generated_image_id
from tests.eventually import eventually
from tests.fakes.bus import TwiceBus
from tests.fakes.pictures import encoded, noise, png
from tests.fakes.workers import Answer, seed_of
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import SUBJECT, Labeler, labeler


async def test_a_campaign_ends_with_exactly_its_quota(both: Labeler) -> None:
    clear = (await both.upload(png(1), labels="{}")).json["id"]
    await both.imported(3, condition="redness", severity="mild")
    await both.imported(1, condition="acne")
    campaign_id = await both.rebalance(targets={"redness": 8, "acne": 5})

    done = await both.reaches(campaign_id, "met")

    assert done["slots"] == {"total": 9, "counted": 9, "failed": 0, "open": 0}
    assert [(q["condition"], q["severity"], q["count"]) for q in done["quotas"]] == [
        ("acne", "mild", 2),
        ("acne", "moderate", 1),
        ("acne", "severe", 1),
        ("redness", "mild", 2),
        ("redness", "moderate", 2),
        ("redness", "severe", 1),
    ]
    assert all(quota["counted"] == quota["count"] for quota in done["quotas"])
    assert done["spent_usd"] == pytest.approx(0.27)
    assert done["worst_cost_usd"] >= done["spent_usd"]
    await both.settled()
    balance = await both.get("/v1/balance")
    assert balance["images"] == {"accepted": 14, "pending": 0, "rejected": 0}
    assert balance["conditions"]["redness"]["accepted"] == 8
    assert balance["conditions"]["acne"]["severities"] == {"mild": 2, "moderate": 1, "severe": 1, "unknown": 1}
    assert balance["variants"] == 14
    await assert_counters(both)

    (met,) = await eventually(lambda: both.listener.events(QuotaMet))
    assert (str(met.campaign_id), met.dataset_version) == (campaign_id, done["dataset_version"])
    assert met.counts == {c: {"redness": 8, "acne": 5}.get(c, 0) for c in Condition}
    entries = await both.manifest(met.dataset_version)
    assert len(entries) == met.images == 14
    assert sum(len(entry.variants) for entry in entries) == met.variants
    assert [entry.image_id for entry in entries] == sorted((e.image_id for e in entries), key=str)
    for entry in entries:
        assert entry.fold is fold_of(entry.root_id)  # and a flip has no fold of its own
        assert entry.root_id == entry.image_id
    assert next(entry for entry in entries if str(entry.image_id) == clear).labels == {}
    generated = [entry for entry in entries if entry.provider == "fake"]
    assert Counter((next(iter(e.labels.items()))) for e in generated) == {
        (Condition(q["condition"]), Severity[q["severity"].upper()]): q["count"] for q in done["quotas"]
    }
    assert all(entry.skin_tone in range(1, 11) for entry in generated)
    assert all(entry.age_band and entry.sex for entry in generated)  # who was asked for
    assert {(entry.age_band, entry.sex) for entry in entries if entry.provider is None} == {(None, None)}
    dataset = await both.get(f"/v1/datasets/{met.dataset_version}")
    assert dataset["folds"] == {fold.value: sum(entry.fold is fold for entry in entries) for fold in Fold}
    assert set(both.generator.paid.values()) == {1}


async def test_clear_skin_is_a_target_of_its_own(both: Labeler) -> None:
    await both.upload(png(1), labels="{}")
    await both.upload(png(2), labels="{}", complete="false")  # who knows what else it shows
    campaign_id = await both.rebalance(targets={"clear": 4, "acne": 1})
    done = await both.reaches(campaign_id, "met")
    assert [(q["condition"], q["severity"], q["count"], q["counted"]) for q in done["quotas"]] == [
        ("acne", "mild", 1, 1),
        ("clear", None, 3, 3),
    ]
    asked = {(request.condition, request.severity) for request in both.generator.requests}
    assert asked == {(Condition.ACNE, Severity.MILD), (CLEAR, None)}
    await both.settled()
    balance = await both.get("/v1/balance")
    assert balance["clear"] == {"accepted": 4, "pending": 0, "rejected": 0}
    made = [image for image in await both.images() if image["provider"] == "fake" and not image["labels"]]
    assert [image["complete"] for image in made] == [True] * 3
    (met,) = await eventually(lambda: both.listener.events(QuotaMet))
    entries = [entry for entry in await both.manifest(met.dataset_version) if not entry.labels and entry.complete]
    assert len(entries) == 4
    await assert_counters(both)


async def test_a_picture_for_clear_skin_that_shows_a_condition_is_kept_and_its_slot_asks_again(one: Labeler) -> None:
    campaign_id = await one.rebalance(targets={"clear": 1}, review="manual")
    (image,) = await eventually(lambda: one.images(status="pending"))
    assert (await one.review(image["id"], "accepted", labels={"acne": "mild"})).status == 201
    (second,) = await eventually(lambda: one.images(status="pending"))
    assert one.generator.requests[-1].earlier_rejections == ("showed mild acne instead",)
    await assert_counters(one)
    assert (await one.review(second["id"], "accepted")).status == 201
    await one.reaches(campaign_id, "met")
    balance = await one.get("/v1/balance")
    assert (balance["clear"]["accepted"], balance["conditions"]["acne"]["accepted"]) == (1, 1)
    await assert_counters(one)


async def test_every_event_twice_and_out_of_order_changes_nothing(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, bus=TwiceBus(), database_url=database_url) as running:
        running.generator.jitter_s = running.augmenter.jitter_s = 0.03
        fails: dict[int, Answer] = {1: FailureReason.MODERATION_BLOCKED, 2: b"no picture"}
        running.generator.answer = lambda request: (
            fails.get(request.attempt, png(seed_of(request.image_id)))
            if request.condition is Condition.AGING
            else png(seed_of(request.image_id))
        )
        await running.send("RebalanceRequested", {"targets": {"redness": 7, "aging": 4}, "campaign_id": str(uuid4())})
        met = (await eventually(lambda: running.listener.events(QuotaMet)))[0]
        await running.settled()
        campaign = await running.campaign(str(met.campaign_id))
        assert campaign["slots"] == {"total": 11, "counted": 11, "failed": 0, "open": 0}
        assert campaign["spent_usd"] == pytest.approx((11 + 4) * 0.03)  # 4 were unreadable, 4 cost nothing
        balance = await running.get("/v1/balance")
        assert balance["images"] == {"accepted": 11, "pending": 0, "rejected": 4}
        assert balance["variants"] == 11
        assert len(running.listener.events(QuotaMet)) == 1
        assert await running.bus.dead_letters() == []
        await assert_counters(running)


async def test_failures_reopen_the_slot_for_another_subject_until_attempts_are_used_up(both: Labeler) -> None:
    both.generator.answer = lambda request: FailureReason.MODERATION_BLOCKED if request.attempt % 2 else b"broken"
    campaign_id = await both.rebalance(targets={"redness": 1}, max_attempts=3)
    done = await both.reaches(campaign_id, "exhausted")
    assert done["slots"] == {"total": 1, "counted": 0, "failed": 1, "open": 0}
    assert done["reason"].startswith("1 of 1 slots")
    assert done["reason"].endswith("; one of them ended with moderation_blocked: as the test asked")
    first, second, third = both.generator.requests
    assert [r.attempt for r in both.generator.requests] == [1, 2, 3]
    assert [r.image_id for r in both.generator.requests] == [generated_image_id(first.slot_id, n) for n in (1, 2, 3)]
    subjects = [r.subject for r in both.generator.requests]
    assert len({(subject.skin_tone, subject.age_band) for subject in subjects}) == 1  # planned, and still to be had
    for before, after in pairwise(subjects):
        assert before.sex != after.sex
        assert before.light != after.light
        assert before.view != after.view
    assert first.earlier_rejections == ()
    assert second.earlier_rejections == ("moderation_blocked: as the test asked",)
    assert len(third.earlier_rejections) == 2
    assert third.earlier_rejections[1].startswith("unreadable")
    assert done["spent_usd"] == pytest.approx(0.03)
    await assert_counters(both)
    assert both.listener.events(QuotaMet) == []
    # What it did not get is missing again, not reserved for ever.
    assert (await both.get("/v1/plan", params={"targets": "redness:1"}))["total"] == 1


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (b"", "unreadable"),
        (png(1)[:3000], "unreadable"),
        (png(1, width=200), "too_small"),
        (png(1, width=900), "wrong_shape"),
        (encoded(noise(1).resize((8, 8)).resize((256, 256))), "blurred"),
        (encoded(noise(1).point(lambda value: 0)), "flat"),
    ],
)
async def test_the_gate_says_why_it_refuses(one: Labeler, picture: bytes, reason: str) -> None:
    one.generator.answer = lambda request: picture if request.attempt == 1 else png(2)
    await one.reaches(await one.rebalance(targets={"aging": 1}), "met")
    (rejected,) = await one.images(status="rejected")
    assert rejected["reason"].startswith(reason)
    assert rejected["reviewer"] == "gate"
    assert one.generator.requests[1].earlier_rejections[0].startswith(reason)


async def test_a_near_duplicate_is_refused(one: Labeler) -> None:
    await one.upload(png(5), condition="acne", severity="mild")
    again = encoded(noise(5).resize((300, 300)), "JPEG", quality=80)
    one.generator.answer = lambda request: again if request.attempt == 1 else png(6)
    await one.reaches(await one.rebalance(targets={"redness": 1}), "met")
    (rejected,) = await one.images(status="rejected")
    assert rejected["reason"].startswith("near_duplicate")


async def test_bytes_that_are_not_those_that_were_generated_are_refused(one: Labeler) -> None:
    one.generator.answer = lambda request: None
    campaign_id = await one.rebalance(targets={"acne": 1})
    (request,) = await eventually(lambda: one.generator.requests)
    event = await one.generator.made(request, png(1))
    await one.blobs.put(f"images/{request.image_id}/original.png", png(2))
    one.generator.answer = lambda request: png(3)
    await one.publish(event)
    await one.reaches(campaign_id, "met")
    (rejected,) = await one.images(status="rejected")
    assert "not those that were generated" in rejected["reason"]


async def test_the_budget_is_never_exceeded(both: Labeler) -> None:
    both.generator.answer = lambda request: b"broken" if request.attempt == 1 else png(seed_of(request.image_id))
    campaign_id = await both.rebalance(targets={"acne": 4}, max_cost_usd=0.18, max_attempts=5)
    done = await both.reaches(campaign_id, "exhausted")
    assert done["slots"] == {"total": 4, "counted": 2, "failed": 2, "open": 0}
    assert done["spent_usd"] == pytest.approx(0.18)
    assert done["worst_cost_usd"] <= 0.18
    assert sum(both.generator.paid.values()) == 6
    await assert_counters(both)


async def test_what_cost_nothing_leaves_its_price_in_the_budget(one: Labeler) -> None:
    one.generator.answer = lambda request: (
        FailureReason.MODERATION_BLOCKED if request.attempt <= 2 else png(seed_of(request.image_id))
    )
    done = await one.reaches(await one.rebalance(targets={"acne": 3}, max_cost_usd=0.09), "met")
    assert done["spent_usd"] == pytest.approx(0.09)


async def test_what_cost_more_than_planned_counts_against_the_budget(one: Labeler) -> None:
    one.generator.price_usd = 0.05
    one.generator.answer = lambda request: b"broken"
    done = await one.reaches(await one.rebalance(targets={"acne": 1}, max_cost_usd=0.12, max_attempts=9), "exhausted")
    assert done["spent_usd"] == pytest.approx(0.10)  # a third one could have cost 0.03 more, and there is 0.02


async def test_nothing_missing_is_met_at_once(both: Labeler) -> None:
    await both.imported(2, condition="acne", severity="mild")
    await both.settled()
    campaign_id = await both.rebalance(target_per_condition=0)
    done = await both.reaches(campaign_id, "met")
    assert done["slots"]["total"] == 0
    (met,) = await eventually(lambda: both.listener.events(QuotaMet))
    assert (met.images, met.variants) == (2, 2)
    # The same images are the same version; an empty campaign asks for another training of it.
    await both.reaches(await both.rebalance(target_per_condition=2, conditions=["acne"]), "met")
    assert {event.dataset_version for event in both.listener.events(QuotaMet)} == {met.dataset_version}
    assert await both.bus.dead_letters() == []
    assert both.generator.requests == []


async def test_the_same_campaign_twice_is_one(both: Labeler) -> None:
    request = {"targets": {"aging": 3}, "campaign_id": str(uuid4())}
    answers = await asyncio.gather(*(both.call("POST", "/v1/rebalances", json=request) for _ in range(5)))
    await both.send("RebalanceRequested", request)
    assert [answer.status for answer in answers] == [202] * 5
    await both.reaches(request["campaign_id"], "met")  # type: ignore[arg-type]
    assert (await both.get("/v1/balance"))["images"]["accepted"] == 3
    assert len((await both.get("/v1/rebalances"))["rebalances"]) == 1
    await assert_counters(both)


async def test_campaigns_at_the_same_time_do_not_get_the_same_images_twice(both: Labeler) -> None:
    await both.imported(1, condition="aging", severity="mild")
    campaigns = await asyncio.gather(*(both.rebalance(target_per_condition=n, conditions=["aging"]) for n in (4, 6, 6)))
    for campaign_id in campaigns:
        await both.reaches(campaign_id, "met")
    await both.settled()
    assert (await both.get("/v1/balance"))["conditions"]["aging"]["accepted"] == 6
    await assert_counters(both)


WRONG_REBALANCES: list[tuple[dict[str, object], str]] = [
    ({"target_per_condition": 5, "conditions": ["freckles"]}, "unknown_condition"),
    ({"targets": {"frec\0kles": 5}}, "unknown_condition"),
    ({"target_per_condition": -1}, "invalid_target"),
    ({"target_per_condition": 10**9}, "invalid_target"),
    ({"targets": {"acne": 10**30}}, "invalid_target"),
    ({}, "invalid_request"),
    ({"conditions": ["acne"]}, "invalid_request"),
    ({"target_per_condition": 10, "max_cost_usd": 0.29}, "over_budget"),
]


async def test_a_wrong_rebalance_is_answered(both: Labeler) -> None:
    expected = {str(uuid4()): wrong for wrong in WRONG_REBALANCES}
    for campaign_id, (request, _) in expected.items():
        await both.send("RebalanceRequested", {**request, "campaign_id": campaign_id})
    await eventually(lambda: len(both.listener.events(RebalanceRejected)) == len(expected))
    for rejected in both.listener.events(RebalanceRejected):
        assert rejected.code == expected[str(rejected.campaign_id)][1]
        assert rejected.reason
        document = await both.campaign(str(rejected.campaign_id))
        assert (document["state"], document["slots"]["total"]) == ("rejected", 0)
    for request, code in WRONG_REBALANCES:
        answer = await both.call("POST", "/v1/rebalances", json=request)
        assert (answer.status, answer.code) == (422, code)
    # The service is up, and no trace of them is left in the way.
    await both.reaches(await both.rebalance(targets={"acne": 1}), "met")
    assert await both.bus.dead_letters() == []


async def test_a_malformed_rebalance_is_a_dead_letter(one: Labeler) -> None:
    for body in (b"{", b"\xff", b'"text"', b"[1]"):
        await one.send("RebalanceRequested", body)

    async def dead() -> bool:
        letters = (await one.get("/v1/dead-letters", params={"queue": "labeler-api.RebalanceRequested"}))[
            "dead_letters"
        ]
        return len(letters) == 4 and all(letter["error"] for letter in letters)

    await eventually(dead)
    assert (await one.call("POST", "/v1/dead-letters/replay")).json == {"replayed": 4}
    await eventually(dead)


async def test_a_request_that_does_not_fit_is_answered(both: Labeler) -> None:
    ids = []
    for wrong in ({"target_per_condition": "many"}, {"target": 5}, {"target_per_condition": 5, "review": "\0"}):
        ids.append(str(uuid4()))
        await both.send("RebalanceRequested", {**wrong, "campaign_id": ids[-1]})
        assert (await both.reaches(ids[-1], "rejected"))["reason"].startswith("RebalanceRequested: ")

    async def answered() -> bool:
        rejected = both.listener.events(RebalanceRejected)
        return {(str(event.campaign_id), event.code) for event in rejected} == {(i, "invalid_request") for i in ids}

    await eventually(answered)
    assert await both.bus.dead_letters() == []


async def test_envelopes_of_any_length_are_taken(both: Labeler) -> None:
    for letter in "ab":  # ids that differ only at their ends are two messages
        request = RebalanceRequested(targets={"acne": 1 if letter == "a" else 2})
        await both.publish(request, id="x" * 5000 + letter, correlation_id="c\0" * 500, traceparent="t" * 900)
        await both.reaches(str(request.campaign_id), "met")
    assert await both.bus.dead_letters() == []


async def test_a_budget_beyond_all_numbers_is_no_limit(both: Labeler) -> None:
    await both.reaches(await both.rebalance(targets={"acne": 1}, max_cost_usd=1e308), "met")


MALFORMED = [
    b"",
    b"{",
    b"[]",
    b'"text"',
    b'{"target_per_condition": 1.5}',
    b'{"target_per_condition": "5"}',
    b'{"target_per_condition": NaN}',
    b'{"target_per_condition": 5, "review": "sometimes"}',
    b'{"target_per_condition": 5, "max_attempts": 0}',
    b'{"target_per_condition": 5, "max_attempts": 1000}',
    b'{"target_per_condition": 5, "max_cost_usd": -1}',
    b'{"target_per_condition": 5, "max_cost_usd": Infinity}',
    b'{"target_per_condition": 5, "campaign_id": "mine"}',
    b'{"target": 5}',
    b'{"targets": {"acne": null}}',
    b'{"targets": {"\\ud800": 5}}',
]


async def test_a_malformed_request_is_answered(one: Labeler) -> None:
    for body in MALFORMED:
        answer = await one.call("POST", "/v1/rebalances", data=body, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.code) in {(422, "invalid_request"), (422, "unknown_condition")}, body
    assert (await one.get("/v1/rebalances"))["rebalances"] == []


async def test_a_plan_is_a_dry_run(one: Labeler) -> None:
    await one.imported(1, condition="acne", severity="mild")
    query = {"target_per_condition": "3", "conditions": "acne,redness", "targets": "redness:2", "max_attempts": "2"}
    plan = await one.get("/v1/plan", params=query)
    assert plan["missing"] == {"acne": 2, "redness": 2}
    assert (plan["total"], plan["cost_usd"], plan["worst_cost_usd"]) == (4, 0.12, 0.24)
    assert plan["duration_s"] == round(4 * 60 / one.settings.images_per_minute, 1)
    for wrong, code in [
        ({"target_per_condition": "x"}, "invalid_request"),
        ({"target_per_condition": "9" * 5000}, "invalid_request"),
        ({"target_per_condition": "-1"}, "invalid_target"),
        ({"targets": "acne"}, "invalid_request"),
        ({"targets": "freckles:3"}, "unknown_condition"),
        ({}, "invalid_request"),
    ]:
        answer = await one.call("GET", "/v1/plan", params=wrong)
        assert (answer.status, answer.code) == (422, code)
    assert (await one.get("/v1/rebalances"))["rebalances"] == []


async def test_events_of_things_that_do_not_exist_are_dead_letters(both: Labeler) -> None:
    request = ImageRequested(
        campaign_id=uuid4(),
        slot_id=uuid4(),
        attempt=1,
        image_id=uuid4(),
        condition=Condition.ACNE,
        severity=Severity.MILD,
        subject=SUBJECT,
    )
    await both.publish(await both.generator.made(request, png(1)))
    await both.publish(both.generator.failed(request, FailureReason.TIMEOUT))
    await both.send(
        "ImageAugmented",
        {"image_id": str(uuid4()), "variants": []},
        **{"ce-type": "ImageAugmented", "ce-source": "/t", "ce-id": "1", "ce-specversion": "1.0"},
    )

    async def dead() -> bool:
        return len(await both.bus.dead_letters()) == 3

    await eventually(dead)
    await assert_counters(both)
    assert await both.images() == []


async def test_training_is_kept_for_the_progress_page(both: Labeler) -> None:
    campaign_id = await both.rebalance(target_per_condition=0)
    await both.reaches(campaign_id, "met")
    for epoch in (1, 2, 2):
        progress = TrainingProgressed(
            run_id="r1",
            campaign_id=UUID(campaign_id),
            epoch=epoch,
            epochs=5,
            train_loss=1 / epoch,
            validation_loss=0.5,
            metrics={"accuracy": 0.1 * epoch},
        )
        await both.publish(progress)

    async def noted() -> bool:
        training = (await both.campaign(campaign_id))["training"]
        return training is not None and len(training["history"]) == 2 and training["epoch"] == 2

    await eventually(noted)
