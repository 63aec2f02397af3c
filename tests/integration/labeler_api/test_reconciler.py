"""The ledger heals: what was lost on the way is asked for again, and a process that ends loses nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.labeler_api.app import build
from shared.embedded.bus import InProcessBus
from shared.events import (
    FailureReason,
    ImageLabeled,
    ImageRequested,
    ModelTrained,
    QuotaMet,
    RebalanceRequested,
    TrainingFailed,
    TrainingFailure,
)
from shared.message import Message
from shared.tracing import trace_id
from tests.eventually import eventually
from tests.fakes.bus import Listener
from tests.fakes.pictures import png
from tests.fakes.workers import seed_of
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Labeler, labeler

SOON: dict[str, Any] = {"request_deadline_s": 0.2, "augment_deadline_s": 0.2, "training_deadline_s": 0.2}


def trained(campaign_id: str) -> ModelTrained:
    """News of a model."""
    return ModelTrained(
        run_id="r1",
        campaign_id=UUID(campaign_id),
        dataset_version="ds-1",
        version="v1",
        key="models/v1/model.onnx",
        sha256="0" * 64,
        metrics={"overall": {"accuracy": 0.5}},
        promoted=True,
    )


async def test_what_was_lost_is_asked_for_again(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url, **SOON) as running:
        running.generator.answer = lambda request: None
        running.augmenter.silent = True
        campaign_id = await running.rebalance(targets={"aging": 3})
        await eventually(lambda: len(running.generator.requests) > 6, "Requests again")
        asked = {request.image_id for request in running.generator.requests}
        assert len(asked) == 3  # the same ones
        running.generator.answer = lambda request: png(seed_of(request.image_id))

        await eventually(lambda: len(running.augmenter.labeled) > 6, "ImageLabeled again")
        assert {event.image_id for event in running.augmenter.labeled} == asked
        assert set(running.generator.paid.values()) == {1}
        running.augmenter.silent = False

        await running.reaches(campaign_id, "met")
        await eventually(lambda: len(running.listener.events(QuotaMet)) > 2, "QuotaMet again")
        assert len({event.model_dump_json() for event in running.listener.events(QuotaMet)}) == 1
        await running.publish(trained(campaign_id))

        async def done() -> bool:
            return (await running.campaign(campaign_id))["model"] is not None

        await eventually(done)
        await running.settled()
        heard = len(running.listener.events(QuotaMet))
        await asyncio.sleep(0.4)  # two deadlines: nothing is overdue any more
        assert len(running.listener.events(QuotaMet)) == heard
        assert (await running.campaign(campaign_id))["slots"]["counted"] == 3
        await assert_counters(running)


async def test_a_training_that_was_given_up_is_not_asked_for_again(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url, **SOON) as running:
        campaign_id = await running.rebalance(target_per_condition=0)
        await eventually(lambda: len(running.listener.events(QuotaMet)) > 1, "QuotaMet again")
        failed = TrainingFailed(
            run_id="run-1",
            campaign_id=UUID(campaign_id),
            dataset_version="ds-1",
            reason=TrainingFailure.DATASET_TOO_SMALL,
            detail="The test fold has 0 images\0; 2 are needed.",
        )
        await running.publish(failed)
        await running.publish(failed)

        async def given_up() -> bool:
            return (await running.campaign(campaign_id))["reason"] is not None

        await eventually(given_up)
        document = await running.campaign(campaign_id)
        assert document["state"] == "met"
        assert document["model"] is None
        assert document["reason"] == "not trained: dataset_too_small: The test fold has 0 images\ufffd; 2 are needed."
        await running.settled()
        heard = len(running.listener.events(QuotaMet))
        await asyncio.sleep(0.4)  # two deadlines: nothing is overdue any more
        assert len(running.listener.events(QuotaMet)) == heard

        another = await running.rebalance(target_per_condition=0)
        await eventually(lambda: str(running.listener.events(QuotaMet)[-1].campaign_id) == another, "A new try")
        await running.publish(trained(campaign_id))  # a try that was under way elsewhere ended well after all

        async def has_model() -> bool:
            return (await running.campaign(campaign_id))["model"] is not None

        await eventually(has_model)
        assert (await running.campaign(campaign_id))["reason"] is None


async def test_an_image_that_cannot_be_augmented_ends_its_campaign_and_is_not_asked_for_again(
    tmp_path: Path, database_url: str
) -> None:
    async with labeler(tmp_path, database_url=database_url, augment_deadline_s=0.3) as running:
        refused: set[UUID] = set()

        def refuse(event: ImageLabeled) -> bool:  # the import, and the first generated image
            if len(refused) < 2:
                refused.add(event.image_id)
            return event.image_id in refused

        running.augmenter.refuses = refuse
        await running.imported(1, condition="acne", severity="mild")
        await running.settled()
        campaign_id = await running.rebalance(targets={"aging": 3})
        done = await running.reaches(campaign_id, "met")
        assert done["slots"] == {"total": 3, "counted": 3, "failed": 0, "open": 0}
        await running.settled()
        (met,) = await eventually(lambda: running.listener.events(QuotaMet))
        assert (met.images, met.variants) == (4, 2)
        manifest = await running.manifest(met.dataset_version)
        assert {image.image_id for image in manifest if not image.variants} == refused
        assert len(await running.images(status="accepted")) == 4
        assert [row["augment_due_at"] for row in await running.rows("images")] == [None] * 4
        asked = len(running.augmenter.labeled)
        await asyncio.sleep(0.7)  # two deadlines: nothing is overdue any more
        assert len(running.augmenter.labeled) == asked
        assert await running.bus.dead_letters() == []
        await assert_counters(running)


async def test_an_attempt_whose_answer_never_comes_is_given_up_and_booked(tmp_path: Path, database_url: str) -> None:
    """The picture of each first attempt is gone from the store: its answer can never be handled."""
    async with labeler(tmp_path, database_url=database_url, request_deadline_s=0.4, request_asks=2) as running:
        first = {}

        def answer(request: ImageRequested) -> bytes | None:
            if request.attempt > 1:
                return png(seed_of(request.image_id))
            first[request.slot_id] = request
            return None

        running.generator.answer = answer
        campaign_id = await running.rebalance(targets={"aging": 2}, max_cost_usd=0.13)
        done = await running.reaches(campaign_id, "met")
        assert [request.attempt for request in running.generator.requests].count(1) == 2 * 3
        assert done["slots"] == {"total": 2, "counted": 2, "failed": 0, "open": 0}
        assert done["spent_usd"] == pytest.approx(0.12)  # two pictures, and two that may have been paid
        for row in await running.rows("slots"):
            assert row["rejections"] == ["unanswered: asked for 3 times, and no answer came"]
            assert (row["attempt"], row["given_up"], row["unsettled"]) == (2, [1], [])

        # One answer comes after all: a refusal that cost nothing. It is settled once, however often it comes.
        late = running.generator.failed(next(iter(first.values())), FailureReason.MODERATION_BLOCKED)
        message = Message(late, "generator", id="late")
        for _ in range(2):
            await running.bus.publish(message)

        async def settled() -> bool:
            return sorted(row["given_up"] for row in await running.rows("slots")) == [[], [1]]

        await eventually(settled)
        await running.settled()
        assert (await running.campaign(campaign_id))["spent_usd"] == pytest.approx(0.09)
        (campaign,) = await running.rows("campaigns")
        assert campaign["committed_micro_usd"] == 90_000
        await assert_counters(running)


async def test_attempts_that_nobody_ever_answers_end_the_campaign(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url, request_deadline_s=0.02, request_asks=1) as running:
        running.generator.answer = lambda request: None
        campaign_id = await running.rebalance(targets={"aging": 2}, max_attempts=2)
        done = await running.reaches(campaign_id, "exhausted")
        assert len(running.generator.requests) == 2 * 2 * 2
        assert done["spent_usd"] == pytest.approx(4 * 0.03)
        await assert_counters(running)


async def test_a_pause_uses_up_no_ask(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url, request_asks=1) as running:
        running.generator.answer = lambda request: FailureReason.QUOTA_EXHAUSTED
        campaign_id = await running.rebalance(targets={"aging": 1})
        await running.reaches(campaign_id, "paused")
        await asyncio.sleep(5 * running.settings.reconcile_s)
        (row,) = await running.rows("slots")
        assert (row["attempt"], row["asks"], row["deadline"], row["given_up"]) == (1, 0, 0.0, [])
        assert len(running.generator.requests) == 1
        running.generator.answer = lambda request: png(1)
        assert (await running.call("POST", f"/v1/rebalances/{campaign_id}/resume")).status == 200
        assert (await running.reaches(campaign_id, "met"))["slots"]["counted"] == 1
        (row,) = await running.rows("slots")
        assert (row["attempt"], row["asks"]) == (1, 0)


async def test_nothing_is_asked_again_before_its_deadline(one: Labeler) -> None:
    one.generator.answer = lambda request: None
    await one.rebalance(targets={"aging": 2})
    await eventually(lambda: len(one.generator.requests) == 2)
    await asyncio.sleep(5 * one.settings.reconcile_s)
    assert len(one.generator.requests) == 2


async def test_a_request_waits_for_the_pace_of_its_provider(tmp_path: Path) -> None:
    async with labeler(tmp_path, request_deadline_s=0.1, images_per_minute=1.0, requests_under_way=3) as running:
        running.generator.answer = lambda request: None if request.attempt == 2 else FailureReason.PROVIDER_ERROR
        before = time.time()
        await running.rebalance(targets={"aging": 3}, max_attempts=2)
        await eventually(lambda: len(running.generator.requests) == 6)
        await asyncio.sleep(5 * running.settings.reconcile_s)
        # Behind all of this campaign, and of another one, a minute each; one that is asked for anew as well.
        assert len(running.generator.requests) == 6
        assert all(before + 360 <= row["deadline"] <= time.time() + 361 for row in await running.rows("slots"))


async def test_a_restart_goes_on_with_what_was_under_way(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url) as running:  # deadlines are far away
        await running.imported(1, condition="aging", severity="mild")
        await running.settled()
        running.generator.answer = lambda request: None
        running.augmenter.silent = True
        campaign_id = await running.rebalance(targets={"aging": 4})
        await eventually(lambda: len(running.generator.requests) == 3)
        first = running.generator.requests[0]
        await running.publish(await running.generator.made(first, png(seed_of(first.image_id))))
        await eventually(lambda: len(running.augmenter.labeled) == 2)

        running.generator.answer = lambda request: png(seed_of(request.image_id))
        running.augmenter.silent = False
        await running.restart()

        done = await running.reaches(campaign_id, "met")
        assert done["slots"] == {"total": 3, "counted": 3, "failed": 0, "open": 0}
        assert set(running.generator.paid.values()) == {1}
        await eventually(lambda: running.listener.events(QuotaMet))
        await running.restart()
        await eventually(lambda: len(running.listener.events(QuotaMet)) > 1, "QuotaMet without a model, again")
        await running.settled()
        await assert_counters(running)


async def test_events_wait_in_the_outbox_until_somebody_takes_them(tmp_path: Path) -> None:
    async with labeler(tmp_path) as running:
        await running.restart()
        await running.service.stop()  # nobody listens to ImageRequested but a bus that is about to go
        await running.bus.close()
        running.bus = running.generator.bus = running.augmenter.bus = running.listener.bus = InProcessBus()
        await running.bus.start()
        running.service = build(running.settings, bus=running.bus, blobs=running.blobs)
        await running.service.start()
        campaign_id = await running.rebalance(targets={"aging": 1})
        assert await eventually(lambda: running.rows("outbox"))
        await running.generator.start()
        await running.augmenter.start()
        await running.listener.start(QuotaMet)
        await running.reaches(campaign_id, "met")


async def test_replicas_share_a_campaign(tmp_path: Path, postgres_url: str) -> None:
    async with labeler(tmp_path, database_url=postgres_url) as running:
        await asyncio.gather(running.replica(), running.replica())
        running.generator.jitter_s = running.augmenter.jitter_s = 0.02
        running.generator.answer = lambda request: (
            b"broken" if request.attempt == 1 and request.image_id.int % 3 == 0 else png(seed_of(request.image_id))
        )
        heard = Listener(running.bus)
        await heard.start(ImageRequested, ImageLabeled)
        campaigns = [await running.rebalance(targets={"aging": 8}), await running.rebalance(targets={"acne": 4})]
        for campaign_id in campaigns:
            assert (await running.reaches(campaign_id, "met"))["slots"]["failed"] == 0
        await running.settled()
        assert (await running.get("/v1/balance"))["images"]["accepted"] == 12
        requested = [event.image_id for event in heard.events(ImageRequested)]
        assert len(requested) == len(set(requested))  # the relays shared the outbox
        assert len(running.listener.events(QuotaMet)) == 2
        await assert_counters(running)


async def test_the_trace_of_a_request_goes_through_to_its_end(one: Labeler) -> None:
    heard = Listener(one.bus)
    await heard.start(ImageRequested, ImageLabeled)
    request = RebalanceRequested(targets={"aging": 1})
    trace = "0af7651916cd43dd8448eb211c80319c"
    await one.publish(request, correlation_id="c-1", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    await one.reaches(str(request.campaign_id), "met")
    await eventually(lambda: one.listener.events(QuotaMet))
    messages = heard.heard + one.listener.heard
    assert {type(message.event) for message in messages} == {ImageRequested, ImageLabeled, QuotaMet}
    assert {(m.correlation_id, trace_id(m.traceparent), m.source) for m in messages} == {("c-1", trace, "labeler-api")}


async def test_what_is_asked_for_again_belongs_to_its_campaign(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url, augment_deadline_s=0.05) as running:
        heard = Listener(running.bus)
        await heard.start(ImageLabeled)
        running.augmenter.silent = True
        request = RebalanceRequested(targets={"aging": 1})
        await running.publish(request, correlation_id="c-2")
        await eventually(lambda: len(heard.heard) >= 3, "The same image again and again")
        assert {message.correlation_id for message in heard.heard} == {"c-2"}
        assert len({trace_id(message.traceparent) for message in heard.heard}) == 1
