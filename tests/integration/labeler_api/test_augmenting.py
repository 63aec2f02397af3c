"""What is being augmented: a dataset waits for it, but not for ever, and nobody asks for it without a bound."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.events import ImageAugmented, QuotaMet, Variant
from tests.eventually import eventually
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Labeler, labeler


async def met(running: Labeler, campaign_id: str) -> tuple[QuotaMet, dict[str, Any]]:
    """The QuotaMet of a campaign, and the document of its dataset."""
    await running.reaches(campaign_id, "met")
    (event,) = await eventually(lambda: running.listener.events(QuotaMet))
    return event, await running.get(f"/v1/datasets/{event.dataset_version}")


async def test_what_was_just_imported_is_trained_on_with_its_variants(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url, augment_deadline_s=0.2) as running:
        running.augmenter.silent = True
        await running.imported(3, condition="acne")
        campaign_id = await running.rebalance(target_per_condition=0)
        await running.reaches(campaign_id, "closing")
        await eventually(lambda: len(running.augmenter.labeled) > 3, "ImageLabeled again")
        assert (await running.campaign(campaign_id))["state"] == "closing"
        running.augmenter.silent = False
        event, document = await met(running, campaign_id)
        assert (event.images, event.variants, event.without_variants) == (3, 3, 0)
        assert (document["images"], document["variants"], document["without_variants"]) == (3, 3, 0)


async def test_a_dataset_waits_no_longer_than_it_is_told(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url, augment_wait_s=0.3) as running:
        await running.imported(1, condition="acne")
        await running.settled()
        running.augmenter.silent = True
        await running.imported(2, condition="acne")
        event, document = await met(running, await running.rebalance(target_per_condition=0))
        assert (event.images, event.variants, event.without_variants) == (3, 1, 2)
        assert document["without_variants"] == 2
        entries = await running.manifest(event.dataset_version)
        assert Counter(len(entry.variants) for entry in entries) == {0: 2, 1: 1}


async def test_it_does_not_wait_for_what_cannot_be_augmented_or_is_not_in_it(both: Labeler) -> None:
    both.augmenter.refuses = lambda event: True
    await both.imported(1, condition="acne")
    await both.settled()
    both.augmenter.silent = True
    (rejected,) = await both.imported(1, condition="acne")
    assert (await both.review(rejected, "rejected", reason="blurred")).status == 201
    event, _ = await met(both, await both.rebalance(target_per_condition=0))
    assert (event.images, event.variants, event.without_variants) == (1, 0, 1)


async def test_it_does_not_wait_for_what_comes_in_meanwhile(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url, augment_deadline_s=0.2) as running:
        running.augmenter.silent = True
        await running.imported(1, condition="acne")
        campaign_id = await running.rebalance(target_per_condition=0)
        await running.reaches(campaign_id, "closing")
        (later,) = await running.imported(1, condition="acne")
        running.augmenter.silent_of = frozenset({later})
        running.augmenter.silent = False
        event, _ = await met(running, campaign_id)
        assert (event.images, event.variants, event.without_variants) == (2, 1, 1)


async def test_it_waits_for_a_slots_own_images_too(tmp_path: Path, database_url: str) -> None:
    """Those that another campaign brought in, and that are not counted yet."""
    async with labeler(tmp_path, database_url=database_url, augment_deadline_s=0.2) as running:
        running.augmenter.silent = True
        first = await running.rebalance(targets={"acne": 2})
        await eventually(lambda: len(running.augmenter.labeled) >= 2)
        second = await running.rebalance(target_per_condition=0)
        await running.reaches(second, "closing")
        running.augmenter.silent = False
        for campaign_id in (first, second):
            await running.reaches(campaign_id, "met")
        events = await eventually(lambda: len(found := running.listener.events(QuotaMet)) == 2 and found)
        assert [event.without_variants for event in events] == [0, 0]


async def test_an_image_whose_variants_never_come_is_asked_for_a_bounded_number_of_times(
    tmp_path: Path, database_url: str
) -> None:
    async with labeler(tmp_path, database_url=database_url, augment_deadline_s=0.05, augment_asks=2) as running:
        running.augmenter.silent = True
        await running.imported(1, condition="acne", severity="mild")
        campaign_id = await running.rebalance(targets={"aging": 1})
        event, _ = await met(running, campaign_id)
        assert (event.images, event.variants, event.without_variants) == (2, 0, 2)
        assert (await running.campaign(campaign_id))["slots"] == {"total": 1, "counted": 1, "failed": 0, "open": 0}
        await running.settled()
        assert set(Counter(labeled.image_id for labeled in running.augmenter.labeled).values()) == {3}
        assert [row["augment_due_at"] for row in await running.rows("images")] == [None, None]
        await asyncio.sleep(0.5)  # longer than any deadline: nothing is overdue any more
        assert len(running.augmenter.labeled) == 6
        await assert_counters(running)

        image_id = running.augmenter.labeled[0].image_id
        variant = Variant(operation="hflip", key=f"images/{image_id}/hflip.png", sha256="0" * 64, width=3, height=3)
        for number in range(2):  # late, and late again
            await running.publish(ImageAugmented(image_id=image_id, variants=(variant,)), id=f"late-{number}")

        async def listed() -> bool:
            return bool((await running.get("/v1/balance"))["variants"])

        await eventually(listed)
        await eventually(lambda: running.handled("ImageAugmented", "done") == 2)
        assert [row["image_id"] for row in await running.rows("variants")] == [UUID(str(image_id))]
        await assert_counters(running)


async def test_a_review_starts_the_count_anew(tmp_path: Path) -> None:
    async with labeler(tmp_path, augment_deadline_s=0.05, augment_asks=5) as running:
        running.augmenter.silent = True
        (image_id,) = await running.imported(1, condition="acne")
        await eventually(lambda: len(running.augmenter.labeled) >= 2)
        assert (await running.review(image_id, "rejected")).status == 201
        (row,) = await running.rows("images")
        assert (row["augment_asks"], row["augment_due_at"]) == (0, None)
