"""Campaigns that are paused, resumed and cancelled: by an operator, or by a failure that is the account's."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from shared.events import (
    ACCOUNT_FAILURES,
    CampaignChange,
    FailureReason,
    ImageFailed,
    ImageRequested,
    RebalanceChangeRequested,
)
from tests.eventually import eventually
from tests.fakes.pictures import png
from tests.fakes.workers import seed_of
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Labeler


def failed(request: ImageRequested, reason: FailureReason) -> ImageFailed:
    """The generator could not make it."""
    fields = request.model_dump(include={"campaign_id", "slot_id", "attempt", "image_id"})
    return ImageFailed(**fields, reason=reason, detail="as the test asked")


async def state_of(labeler: Labeler, campaign_id: str) -> str:
    """Where it stands."""
    return str((await labeler.campaign(campaign_id))["state"])


async def paused_by(labeler: Labeler) -> dict[str, float]:
    """Paused campaigns by why, as Prometheus sees them."""
    text = (await labeler.call("GET", "/metrics")).body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families["evenskin_campaigns_paused"].samples
    assert {sample.labels["reason"] for sample in samples} == {*ACCOUNT_FAILURES, "operator"}
    return {sample.labels["reason"]: sample.value for sample in samples if sample.value}


@pytest.mark.parametrize("reason", sorted(ACCOUNT_FAILURES))
async def test_what_the_account_lacks_pauses_the_campaign_and_burns_no_attempt(
    both: Labeler, reason: FailureReason
) -> None:
    both.generator.answer = lambda request: None
    campaign_id = await both.rebalance(targets={"acne": 5}, max_attempts=1)
    await eventually(lambda: len(both.generator.requests) == 5)
    requests = list(both.generator.requests)
    for request in requests:
        await both.publish(failed(request, reason))
    paused = await both.reaches(campaign_id, "paused")
    assert paused["reason"] == f"{reason}: as the test asked"
    assert await paused_by(both) == {reason.value: 1}
    assert paused["slots"] == {"total": 5, "counted": 0, "failed": 0, "open": 5}

    async def postponed() -> bool:
        return [row["deadline"] for row in await both.rows("slots")] == [0.0] * 5

    await eventually(postponed)
    assert len(both.generator.requests) == 5  # nothing is asked for meanwhile
    both.generator.answer = lambda request: png(seed_of(request.image_id))
    resumed = await both.call("POST", f"/v1/rebalances/{campaign_id}/resume")
    assert (resumed.status, resumed.json["state"], resumed.json["reason"]) == (200, "running", None)
    done = await both.reaches(campaign_id, "met")
    assert done["slots"]["counted"] == 5
    assert [request.attempt for request in both.generator.requests] == [1] * 10
    (row,) = [row for row in await both.rows("campaigns") if str(row["id"]) == campaign_id]
    assert row["committed_micro_usd"] == 5 * 30_000
    await assert_counters(both)


async def test_while_it_is_paused_what_is_under_way_counts_and_what_is_lost_waits(both: Labeler) -> None:
    both.generator.answer = lambda request: None
    campaign_id = await both.rebalance(targets={"acne": 2})
    await eventually(lambda: len(both.generator.requests) == 2)
    good, bad = both.generator.requests
    await both.send("RebalanceChangeRequested", {"campaign_id": campaign_id, "change": "pause", "reason": "lunch"})
    assert (await both.reaches(campaign_id, "paused"))["reason"] == "lunch"
    await both.publish(await both.generator.made(good, png(1)))
    await both.publish(await both.generator.made(bad, b"no picture"))

    async def counted() -> bool:
        slots = sorted((row["state"], row["attempt"]) for row in await both.rows("slots"))
        return slots == [("counted", 1), ("open", 2)]

    await eventually(counted)
    assert len(both.generator.requests) == 2
    both.generator.answer = lambda request: png(seed_of(request.image_id))
    await both.send("RebalanceChangeRequested", {"campaign_id": campaign_id, "change": "resume"})
    await both.reaches(campaign_id, "met")
    assert [request.attempt for request in both.generator.requests] == [1, 1, 2]
    await assert_counters(both)


async def test_a_cancelled_campaign_ends_with_what_it_has(both: Labeler) -> None:
    both.generator.answer = lambda request: None
    campaign_id = await both.rebalance(targets={"acne": 3})
    await eventually(lambda: len(both.generator.requests) == 3)
    first, late, _ = both.generator.requests
    await both.publish(await both.generator.made(first, png(1)))
    await eventually(lambda: both.images(status="accepted"))
    await both.settled()
    answer = await both.call("POST", f"/v1/rebalances/{campaign_id}/cancel", json={"reason": "enough"})
    assert (answer.status, answer.json["state"], answer.json["reason"]) == (200, "cancelled", "enough")

    assert answer.json["slots"] == {"total": 3, "counted": 1, "failed": 2, "open": 0}
    assert (await both.get("/v1/plan", params={"targets": "acne:3"}))["total"] == 2  # nothing is reserved any more
    await both.publish(await both.generator.made(late, png(2)))  # it is paid for, and nobody's
    (nobodys,) = await eventually(lambda: both.images(status="rejected"))
    assert nobodys["reason"] == "given_up: its slot waits for no image any more"
    assert (await both.campaign(campaign_id))["spent_usd"] == pytest.approx(0.06)
    await both.settled()
    await assert_counters(both)


async def test_changes_come_twice_and_late_without_harm(both: Labeler) -> None:
    both.generator.answer = lambda request: None
    campaign_id = await both.rebalance(targets={"acne": 1})
    path = f"/v1/rebalances/{campaign_id}"
    for change, state in (("pause", "paused"), ("pause", "paused"), ("resume", "running"), ("resume", "running")):
        answer = await both.call("POST", f"{path}/{change}")
        assert (answer.status, answer.json["state"]) == (200, state)
    both.generator.answer = lambda request: png(seed_of(request.image_id))
    await both.call("POST", f"{path}/cancel")
    for change in ("pause", "resume"):
        answer = await both.call("POST", f"{path}/{change}")
        assert (answer.status, answer.code) == (409, "conflict")
        await both.send("RebalanceChangeRequested", {"campaign_id": campaign_id, "change": change})
    assert (await both.call("POST", f"/v1/rebalances/{uuid4()}/pause")).status == 404
    await both.send("RebalanceChangeRequested", {"campaign_id": str(uuid4()), "change": "pause"})
    letters = await eventually(both.bus.dead_letters)
    assert [letter.event for letter in letters] == ["RebalanceChangeRequested"]
    assert await state_of(both, campaign_id) == "cancelled"


async def test_two_changes_at_once_leave_one_of_their_states(both: Labeler) -> None:
    both.generator.answer = lambda request: None
    campaign_id = await both.rebalance(targets={"acne": 1})
    path = f"/v1/rebalances/{campaign_id}"
    answers = await asyncio.gather(*(both.call("POST", f"{path}/{change}") for change in ("pause", "cancel") * 4))
    assert {answer.status for answer in answers} <= {200, 409}
    assert await state_of(both, campaign_id) == "cancelled"


async def test_why_may_be_as_long_over_http_as_over_the_bus(one: Labeler) -> None:
    one.generator.answer = lambda request: None
    campaign_id = await one.rebalance(targets={"acne": 1})
    path = f"/v1/rebalances/{campaign_id}"
    for change in ("pause", "resume", "cancel"):
        assert (await one.call("POST", f"{path}/{change}", json={"reason": "x" * 501})).code == "invalid_request"
        with pytest.raises(ValidationError):
            RebalanceChangeRequested(campaign_id=UUID(campaign_id), change=CampaignChange(change), reason="x" * 501)
    assert (await one.call("POST", f"{path}/pause", json={"reason": "x" * 500})).json["reason"] == "x" * 500
    assert await paused_by(one) == {"operator": 1}
    event = RebalanceChangeRequested(campaign_id=UUID(campaign_id), change=CampaignChange.CANCEL, reason="y" * 500)
    await one.publish(event)
    assert (await one.reaches(campaign_id, "cancelled"))["reason"] == "y" * 500
