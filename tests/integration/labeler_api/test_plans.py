"""Plans over HTTP: the seed's table to the cent, datasets that have nothing, too much, or nothing of one condition."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shared.taxonomy import Condition
from tests.fakes.pictures import png
from tests.fakes.workers import seed_of
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Labeler, labeler

SEED_TABLE = {"redness": 66, "pore_size": 66, "textured_skin": 70, "hyperpigmentation": 78}


async def bring_in(running: Labeler, counts: dict[str, int]) -> None:
    """Bring in as few images as give each condition its number: one image shows several."""
    for number in range(max(counts.values())):
        labels = {condition: "mild" for condition, count in counts.items() if number < count}
        await running.imported(1, labels=json.dumps(labels))


def shares(plan: dict[str, Any]) -> dict[str, list[int]]:
    """A plan's quotas by condition, in the order of severities."""
    found: dict[str, list[int]] = {}
    for quota in plan["quotas"]:
        found.setdefault(quota["condition"], []).append(quota["count"])
    return found


async def test_the_seed_s_table_is_planned_to_the_cent(tmp_path: Path) -> None:
    async with labeler(tmp_path, image_price_usd=0.03, images_per_minute=50.0) as running:
        await bring_in(running, SEED_TABLE)
        plan = await running.get(
            "/v1/plan", params={"target_per_condition": "200", "conditions": ",".join(SEED_TABLE), "max_attempts": "3"}
        )
        assert plan["missing"] == {"redness": 134, "pore_size": 134, "textured_skin": 130, "hyperpigmentation": 122}
        assert shares(plan) == {
            "redness": [45, 45, 44],
            "pore_size": [45, 45, 44],
            "textured_skin": [44, 43, 43],
            "hyperpigmentation": [41, 41, 40],
        }
        assert (plan["total"], plan["price_usd"], plan["cost_usd"], plan["worst_cost_usd"]) == (520, 0.03, 15.6, 46.8)
        assert plan["duration_s"] == 624.0
        for tones in plan["tones"]:
            assert [*map(sum, tones["missing"].values())] == shares(plan)[tones["condition"]]
            for row in [*tones["missing"].values(), [*map(sum, zip(*tones["missing"].values(), strict=True))]]:
                assert max(row) - min(row) <= 1


async def test_a_dataset_that_has_nothing_lacks_everything(tmp_path: Path) -> None:
    async with labeler(tmp_path, image_price_usd=0.19, images_per_minute=5.0) as running:
        plan = await running.get("/v1/plan", params={"target_per_condition": "10", "max_attempts": "2"})
        assert plan["missing"] == dict.fromkeys(Condition, 10)
        assert shares(plan) == {condition: [4, 3, 3] for condition in Condition}
        assert (plan["total"], plan["cost_usd"], plan["worst_cost_usd"], plan["duration_s"]) == (70, 13.3, 26.6, 840.0)
        for tones in plan["tones"]:
            assert tones["there"] == [0] * 10
            assert [*map(sum, zip(*tones["missing"].values(), strict=True))] == [1] * 10


async def test_a_dataset_that_has_too_much_lacks_nothing_and_loses_nothing(one: Labeler) -> None:
    await bring_in(one, dict.fromkeys(Condition, 3) | {"acne": 5})
    for target in ("0", "2", "3"):
        plan = await one.get("/v1/plan", params={"target_per_condition": target})
        assert plan["missing"] == dict.fromkeys(Condition, 0)
        assert (plan["quotas"], plan["tones"]) == ([], [])
        assert (plan["total"], plan["cost_usd"], plan["worst_cost_usd"], plan["duration_s"]) == (0, 0, 0, 0)
    done = await one.reaches(await one.rebalance(target_per_condition=3), "met")
    assert done["slots"]["total"] == 0
    assert (await one.get("/v1/balance"))["conditions"]["acne"]["accepted"] == 5


async def test_one_empty_condition_alone_is_filled(one: Labeler) -> None:
    await bring_in(one, {condition.value: 4 for condition in Condition if condition != "fine_lines"})
    plan = await one.get("/v1/plan", params={"target_per_condition": "4"})
    assert {name: number for name, number in plan["missing"].items() if number} == {"fine_lines": 4}
    assert shares(plan) == {"fine_lines": [2, 1, 1]}
    assert (plan["total"], plan["cost_usd"], plan["worst_cost_usd"]) == (4, 0.12, 0.36)
    assert [tones["condition"] for tones in plan["tones"]] == ["fine_lines"]


async def test_a_campaign_fills_the_tones_that_the_dataset_lacks_as_its_plan_says(both: Labeler) -> None:
    for tone, count in {1: 3, 2: 2, 9: 1}.items():
        await both.imported(count, condition="redness", severity="severe", skin_tone=str(tone))
    await both.imported(1, condition="redness")  # of no known tone
    # Every other picture is refused at its first attempt, which changes no tone.
    both.generator.answer = lambda request: (
        b"no picture" if request.attempt == 1 and request.image_id.int % 2 else png(seed_of(request.image_id))
    )
    both.generator.jitter_s = 0.01
    (planned,) = (await both.get("/v1/plan", params={"targets": "redness:24"}))["tones"]
    assert planned["there"] == [3, 2, 0, 0, 0, 0, 0, 0, 1, 0]
    campaign_id = await both.rebalance(targets={"redness": 24})
    # What is on its way counts as there, before a picture has come.
    (more,) = (await both.get("/v1/plan", params={"targets": "redness:31"}))["tones"]
    missing = [*map(sum, zip(*more["missing"].values(), strict=True))]
    assert sum(more["there"]) == 23
    assert [there + new for there, new in zip(more["there"], missing, strict=True)] == [3] * 10
    await both.reaches(campaign_id, "met")
    await both.settled()
    rows = [row for row in await both.rows("images") if row["status"] == "accepted" and row["skin_tone"]]
    tones = Counter(row["skin_tone"] for row in rows)
    assert set(tones.values()) <= {2, 3}
    made = Counter((row["labels"]["redness"], row["skin_tone"]) for row in rows if row["slot_id"])
    assert [[made[severity, tone] for tone in range(1, 11)] for severity in (1, 2, 3)] == [*planned["missing"].values()]
    await assert_counters(both)


@pytest.mark.parametrize("facts", [{"skin_tone": "8"}, {"condition": "aging"}])
async def test_what_is_corrected_is_counted_under_its_new_tone(one: Labeler, facts: dict[str, str]) -> None:
    picture = png(7)
    said = {"condition": "acne", "severity": "mild", "skin_tone": "2"}
    image_id = (await one.upload(picture, **said)).json["id"]
    assert (await one.upload(picture, **said | facts, update="true")).status == 200
    await one.settled()
    await assert_counters(one)
    review = {"verdict": "rejected", "reviewer": "anna"}
    assert (await one.call("POST", f"/v1/images/{image_id}/reviews", json=review)).status == 201
    await assert_counters(one)
    assert not [row for row in await one.rows("counters") if row["name"].startswith("tones/") and row["value"]]
