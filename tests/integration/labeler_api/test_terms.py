"""The terms of a campaign travel with every request for one of its images: what it reckons with, and the quality."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.events import FailureReason
from tests.eventually import eventually
from tests.fakes.pictures import png
from tests.fakes.workers import seed_of
from tests.integration.labeler_api.support import labeler


async def test_every_attempt_is_asked_for_at_the_campaign_s_price_and_quality(tmp_path: Path) -> None:
    async with labeler(tmp_path, image_price_usd=0.19, image_quality="high") as running:
        running.generator.price_usd = 0.19
        running.generator.answer = lambda request: (
            FailureReason.TIMEOUT if request.attempt == 1 else png(seed_of(request.image_id))
        )
        await running.reaches(await running.rebalance(targets={"acne": 2}, max_attempts=2), "met")
        asked = [(request.attempt, request.price_usd, request.quality) for request in running.generator.requests]
    assert sorted(asked) == [(1, 0.19, "high")] * 2 + [(2, 0.19, "high")] * 2


async def test_a_campaign_keeps_its_price_where_the_setting_changes(tmp_path: Path) -> None:
    async with labeler(tmp_path, image_price_usd=0.03, request_deadline_s=0.2) as running:
        running.generator.answer = lambda request: None
        campaign_id = await running.rebalance(targets={"acne": 1})
        await running.restart(image_price_usd=0.19)
        running.generator.answer = lambda request: png(seed_of(request.image_id))
        await running.reaches(campaign_id, "met")
        assert {(request.price_usd, request.quality) for request in running.generator.requests} == {(0.03, None)}


async def test_the_price_list_s_price_is_planned_and_asked_for_with_what_to_know_about_it(tmp_path: Path) -> None:
    async with labeler(tmp_path, provider="openai", image_model="gpt-image-1-mini", image_quality="low") as running:
        plan = await running.get("/v1/plan", params={"targets": "acne:2", "target_per_condition": "0"})
        assert plan["price_usd"] == pytest.approx(0.005 + 400 * 2e-6)
        assert plan["warnings"][0]["code"] == "model_retired"
        assert "EVENSKIN_IMAGE_MODEL" in plan["warnings"][0]["message"]
        await running.rebalance(targets={"acne": 2})
        await eventually(lambda: running.generator.requests)
        assert {request.price_usd for request in running.generator.requests} == {plan["price_usd"]}


async def test_no_start_without_a_price(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unheard-of"):
        async with labeler(tmp_path, provider="openai", image_model="unheard-of"):
            pass
