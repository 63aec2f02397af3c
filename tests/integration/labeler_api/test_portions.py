"""Campaigns whose slots are made and asked for in portions, as those before are answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
import sqlalchemy as sa

from services.labeler_api.campaigns.plan import Quota
from services.labeler_api.campaigns.portions import GATHER_S, PORTION
from services.labeler_api.campaigns.subjects import subjects_between
from services.labeler_api.ledger.tables import campaign_table, counter_table
from services.labeler_api.ledger.transaction import Transaction
from shared.events import FailureReason, ImageRequested, RebalanceRejected
from shared.taxonomy import Condition
from tests.eventually import eventually
from tests.fakes.pictures import png
from tests.fakes.workers import Answer, seed_of
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Labeler, labeler

WINDOW = 3  # requests under way at most
TARGETS = {"acne": 5, "redness": 4}
TOTAL = 9


def picture(request: ImageRequested) -> Answer:
    """A picture of its own for every request."""
    return png(seed_of(request.image_id))


def silence(_: ImageRequested) -> Answer:
    """Nothing."""
    return None


@pytest.fixture
async def few(tmp_path: Path, database_url: str) -> AsyncIterator[Labeler]:
    """A running labeler-api with few requests under way; its generator answers nothing yet."""
    async with labeler(tmp_path, database_url=database_url, requests_under_way=WINDOW) as running:
        running.generator.answer = silence
        yield running


async def asked(labeler: Labeler, requests: int) -> list[ImageRequested]:
    """The requests, once there are so many; there are no more of them for a while."""
    await eventually(lambda: len(labeler.generator.requests) >= requests, f"{requests} requests")
    await asyncio.sleep(3 * GATHER_S)
    assert len(labeler.generator.requests) == requests
    return list(labeler.generator.requests)


async def answer(labeler: Labeler, *requests: ImageRequested) -> None:
    """Answer requests with pictures, from now on every one."""
    for request in requests:
        await labeler.publish(await labeler.generator.made(request, png(seed_of(request.image_id))))


async def go_on(labeler: Labeler) -> None:
    """Answer what is under way, and from now on every request at once."""
    labeler.generator.answer = picture
    await answer(labeler, *labeler.generator.requests)


async def row_of(labeler: Labeler, campaign_id: str) -> dict[str, Any]:
    """A campaign's row."""
    (row,) = [row for row in await labeler.rows("campaigns") if str(row["id"]) == campaign_id]
    return row


async def test_so_many_requests_are_under_way_and_the_next_comes_for_one_that_is_answered(few: Labeler) -> None:
    campaign_id = await few.rebalance(targets=TARGETS)
    requests = await asked(few, WINDOW)
    document = await few.campaign(campaign_id)
    assert document["slots"] == {"total": TOTAL, "counted": 0, "failed": 0, "open": TOTAL}
    assert len(await few.rows("slots")) == WINDOW
    assert (await few.get("/v1/plan", params={"targets": "acne:5,redness:4"}))["total"] == 0  # all are on their way
    await answer(few, *requests[:2])
    await asked(few, WINDOW + 2)
    assert (await few.campaign(campaign_id))["slots"] == {"total": TOTAL, "counted": 2, "failed": 0, "open": 7}
    await assert_counters(few)

    await go_on(few)
    done = await few.reaches(campaign_id, "met")
    assert done["slots"] == {"total": TOTAL, "counted": TOTAL, "failed": 0, "open": 0}
    assert len({request.image_id for request in few.generator.requests}) == len(few.generator.requests) == TOTAL
    assert (await row_of(few, campaign_id))["committed_micro_usd"] == TOTAL * 30_000
    await few.settled()
    await assert_counters(few)


async def test_slots_are_the_same_whatever_the_portions(few: Labeler) -> None:
    few.generator.answer = picture
    campaign_id = await few.rebalance(targets=TARGETS)
    await few.reaches(campaign_id, "met")
    slots = sorted(await few.rows("slots"), key=lambda row: int(row["position"]))
    kinds = [("acne", 1)] * 2 + [("acne", 2)] * 2 + [("acne", 3)] + [("redness", 1)] * 2
    kinds += [("redness", 2), ("redness", 3)]
    assert [(row["condition"], row["severity"]) for row in slots] == kinds
    quotas = [Quota.of_document(document) for document in (await row_of(few, campaign_id))["quotas"]]
    whole = list(subjects_between(UUID(campaign_id), quotas, 0, TOTAL))
    for position, (row, (_, _, subject)) in enumerate(zip(slots, whole, strict=True)):
        assert (row["position"], row["id"]) == (position, uuid5(UUID(campaign_id), f"slot-{position}"))
        assert row["subject"] == subject.model_dump(mode="json")


async def test_a_portion_is_not_all_that_may_be_under_way(tmp_path: Path, database_url: str) -> None:
    slots = 2 * PORTION + 10
    async with labeler(tmp_path, database_url=database_url, requests_under_way=slots) as running:
        running.generator.answer = silence
        campaign_id = await running.rebalance(targets={"acne": slots})
        requests = await eventually(lambda: len(running.generator.requests) == slots and running.generator.requests)
        assert len({request.slot_id for request in requests}) == slots

        cancelled = await running.call("POST", f"/v1/rebalances/{campaign_id}/cancel")
        assert cancelled.json["slots"]["failed"] == PORTION  # at once; the others soon

        async def given_up() -> bool:
            return bool((await running.campaign(campaign_id))["slots"]["open"] == 0)

        await eventually(given_up)
        assert Counter(row["state"] for row in await running.rows("slots")) == {"failed": slots}
        await assert_counters(running)


async def test_what_fails_makes_room_and_ends_the_campaign_only_with_the_last_slot(few: Labeler) -> None:
    def hardly(request: ImageRequested) -> Answer:
        hopeless = request.condition == Condition.ACNE  # the first slots of all
        return FailureReason.TIMEOUT if hopeless or request.attempt == 1 else picture(request)

    few.generator.answer = hardly
    campaign_id = await few.rebalance(targets=TARGETS, max_attempts=2)
    done = await few.reaches(campaign_id, "exhausted")
    assert done["slots"] == {"total": TOTAL, "counted": 4, "failed": 5, "open": 0}
    assert len(few.generator.requests) == 2 * TOTAL
    await few.settled()
    await assert_counters(few)


async def test_a_pause_leaves_no_more_than_what_is_under_way(few: Labeler) -> None:
    campaign_id = await few.rebalance(targets=TARGETS)
    await asked(few, WINDOW)
    assert (await few.call("POST", f"/v1/rebalances/{campaign_id}/pause")).json["state"] == "paused"
    await go_on(few)

    async def counted() -> bool:
        return bool((await few.campaign(campaign_id))["slots"]["counted"] == WINDOW)

    await eventually(counted)
    await asked(few, WINDOW)
    assert (await few.call("POST", f"/v1/rebalances/{campaign_id}/resume")).json["state"] == "running"
    assert (await few.reaches(campaign_id, "met"))["slots"]["counted"] == TOTAL
    await assert_counters(few)


async def test_a_cancelled_campaign_gives_back_what_was_never_asked_for(few: Labeler) -> None:
    campaign_id = await few.rebalance(targets=TARGETS)
    first, *_ = await asked(few, WINDOW)
    await answer(few, first)
    *_, late = await asked(few, WINDOW + 1)
    await few.settled()
    change = {"campaign_id": campaign_id, "change": "cancel"}
    await few.send("RebalanceChangeRequested", change)
    document = await few.reaches(campaign_id, "cancelled")
    await few.send("RebalanceChangeRequested", change)  # again: nothing is given back twice
    assert (await few.call("POST", f"/v1/rebalances/{campaign_id}/cancel")).status == 200
    assert document["slots"] == {"total": TOTAL, "counted": 1, "failed": TOTAL - 1, "open": 0}
    assert [(quota["counted"], quota["failed"]) for quota in document["quotas"]][:3] == [(1, 1), (0, 2), (0, 1)]
    assert (await few.get("/v1/plan", params={"targets": "acne:5,redness:4"}))["total"] == TOTAL - 1
    assert (await row_of(few, campaign_id))["committed_micro_usd"] == (WINDOW + 1) * 30_000  # of what was asked for
    await go_on(few)  # what is under way may still be paid
    await eventually(lambda: few.images(status="rejected"))
    await few.settled()
    await asked(few, WINDOW + 1)
    spent = (await few.campaign(campaign_id))["spent_usd"]
    assert spent == pytest.approx((await few.campaign(campaign_id))["worst_cost_usd"])
    assert late.slot_id in {row["id"] for row in await few.rows("slots")}
    assert len(await few.rows("slots")) == WINDOW + 1
    await assert_counters(few)


async def test_several_campaigns_are_filled_side_by_side(few: Labeler) -> None:
    campaigns = [await few.rebalance(targets=targets) for targets in ({"acne": 7}, {"redness": 7}, {"aging": 1})]
    requests = await asked(few, 2 * WINDOW + 1)
    assert sorted(Counter(request.campaign_id for request in requests).values()) == [1, WINDOW, WINDOW]
    await go_on(few)
    for campaign_id in campaigns:
        await few.reaches(campaign_id, "met")
    await few.settled()
    await assert_counters(few)


async def test_a_new_process_goes_on_where_the_last_one_was(few: Labeler) -> None:
    campaign_id = await few.rebalance(targets=TARGETS)
    await asked(few, WINDOW)
    few.generator.answer = picture
    await few.restart()
    assert (await few.reaches(campaign_id, "met"))["slots"]["counted"] == TOTAL
    assert set(few.generator.paid.values()) == {1}
    assert len(few.generator.paid) == TOTAL
    await few.settled()
    await assert_counters(few)


async def test_slots_that_an_older_version_made_are_not_made_again(few: Labeler) -> None:
    campaign_id = await few.rebalance(targets={"acne": WINDOW})
    first, *_ = await asked(few, WINDOW)

    async def forget(transaction: Transaction) -> None:
        await transaction.execute(sa.update(campaign_table).values(slots_made=0))

    async def remembered() -> bool:
        return bool((await row_of(few, campaign_id))["slots_made"] > 0)

    await few.database.write(forget)
    await answer(few, first)
    await eventually(remembered)
    await go_on(few)
    assert (await few.reaches(campaign_id, "met"))["slots"]["counted"] == WINDOW
    await few.settled()
    assert set(few.generator.paid.values()) == {1}
    await assert_counters(few)


async def test_a_campaign_of_an_older_version_gets_tones_as_its_slots_are_made(few: Labeler) -> None:
    """It planned none: they are reserved as the slots are made, and given back as those are answered or given up."""
    campaigns = [await few.rebalance(targets={condition: 9}) for condition in ("acne", "redness")]
    await asked(few, 2 * WINDOW)

    async def forget(transaction: Transaction) -> None:
        for row in await few.rows("campaigns"):
            quotas = [{name: quota[name] for name in ("condition", "severity", "count")} for quota in row["quotas"]]
            await transaction.execute(
                sa.update(campaign_table).where(campaign_table.c.id == row["id"]).values(quotas=quotas)
            )
        unmade = sa.delete(counter_table).where(counter_table.c.name.like("reserved_tones/%"))
        await transaction.execute(unmade)
        for slot in await few.rows("slots"):
            name = f"reserved_tones/{slot['condition']}/{slot['severity']}/{slot['subject']['skin_tone']}"
            transaction.count({name: 1})

    await few.database.write(forget)
    await assert_counters(few)
    assert (await few.call("POST", f"/v1/rebalances/{campaigns[1]}/cancel")).status == 200
    await go_on(few)
    await few.reaches(campaigns[0], "met")
    await few.settled()
    await assert_counters(few)
    tones = Counter(row["subject"]["skin_tone"] for row in await few.rows("slots") if row["condition"] == "acne")
    assert sum(tones.values()) == 9


async def test_what_an_older_version_made_is_given_up_once(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url, requests_under_way=TOTAL) as running:
        running.generator.answer = silence
        campaign_id = await running.rebalance(targets=TARGETS)
        await asked(running, TOTAL)

        async def forget(transaction: Transaction) -> None:
            await transaction.execute(sa.update(campaign_table).values(slots_made=0))

        await running.database.write(forget)
        cancelled = await running.call("POST", f"/v1/rebalances/{campaign_id}/cancel")
        assert cancelled.json["slots"] == {"total": TOTAL, "counted": 0, "failed": TOTAL, "open": 0}
        assert (await row_of(running, campaign_id))["committed_micro_usd"] == TOTAL * 30_000
        await assert_counters(running)


async def test_what_an_older_version_cancels_gives_back_what_was_never_made_once(few: Labeler) -> None:
    """It knows nothing of slots that are still to be made: its campaigns had them all."""
    campaign_id = await few.rebalance(targets=TARGETS)
    await asked(few, WINDOW)

    async def cancel(transaction: Transaction) -> None:
        await transaction.execute(sa.update(campaign_table).values(state="cancelled", reason="by an older one"))

    async def given_back() -> bool:
        return bool((await row_of(few, campaign_id))["slots_made"] == TOTAL)

    await few.database.write(cancel)
    for _ in range(2):
        await eventually(given_back)
        document = await few.reaches(campaign_id, "cancelled")
        await assert_counters(few)
        assert document["slots"]["open"] == 0
        assert (await few.campaign(campaign_id))["slots"]["failed"] == TOTAL
        assert (await few.get("/v1/plan", params={"targets": "acne:5,redness:4"}))["total"] == TOTAL
        assert (await row_of(few, campaign_id))["committed_micro_usd"] == WINDOW * 30_000  # of what was asked for

        async def forget(transaction: Transaction) -> None:  # as one leaves it that gives back, and does not say so
            await transaction.execute(sa.update(campaign_table).values(slots_made=WINDOW))

        await few.database.write(forget)
    assert len(few.generator.requests) == WINDOW


async def test_replicas_make_no_slot_twice(tmp_path: Path, postgres_url: str) -> None:
    async with labeler(tmp_path, database_url=postgres_url, requests_under_way=WINDOW) as running:
        await asyncio.gather(running.replica(), running.replica())
        running.generator.jitter_s = running.augmenter.jitter_s = 0.02
        campaigns = [await running.rebalance(targets={condition: 20}) for condition in ("acne", "aging")]
        for campaign_id in campaigns:
            assert (await running.reaches(campaign_id, "met"))["slots"]["counted"] == 20
        requested = [request.image_id for request in running.generator.requests]
        assert len(requested) == len(set(requested)) == 40
        assert await running.bus.dead_letters() == []
        await running.settled()
        await assert_counters(running)


async def test_a_plan_beyond_the_limit_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    async with labeler(tmp_path, max_slots=TOTAL) as running:
        too_many = {"targets": {**TARGETS, "aging": 1}}
        started = await running.call("POST", "/v1/rebalances", json=too_many)
        planned = await running.call("GET", "/v1/plan", params={"targets": "acne:5,redness:4,aging:1"})
        for refused in (started, planned):
            assert (refused.status, refused.code) == (422, "plan_too_large")
            assert "EVENSKIN_MAX_SLOTS" in refused.json["advice"]
        campaign_id = str(uuid4())
        await running.send("RebalanceRequested", {**too_many, "campaign_id": campaign_id})
        (rejected,) = await eventually(lambda: running.listener.events(RebalanceRejected))
        assert (str(rejected.campaign_id), rejected.code) == (campaign_id, "plan_too_large")
        assert rejected.reason == (
            "The rebalance would ask for 10 images; one may ask for 9. "
            "Lower the targets, or raise EVENSKIN_MAX_SLOTS of labeler-api."
        )
        assert (await running.campaign(campaign_id))["state"] == "rejected"
        assert await running.rows("slots") == []
        await running.reaches(await running.rebalance(targets=TARGETS), "met")
