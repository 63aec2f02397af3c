"""The dashboard's document and its stream."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from shared.events import FailureReason, ImageRequested, ModelTrained, TrainingProgressed
from shared.message import Wire
from shared.taxonomy import Condition
from tests.eventually import LIMIT_S, eventually
from tests.fakes.pictures import png
from tests.integration.labeler_api.support import Labeler, labeler

STREAM = "/v1/dashboard/stream"


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dashboard.LOOK_S", "routes.dashboard.LOOK_S"):
        monkeypatch.setattr(f"services.labeler_api.web.{name}", 0.02)
    monkeypatch.setattr("services.labeler_api.web.dashboard.LOOK_SHARE", 1.0)
    monkeypatch.setattr("services.labeler_api.web.dashboard.DEAD_LETTERS_S", 0.0)


async def shown(labeler: Labeler) -> dict[str, Any]:
    found: dict[str, Any] = await labeler.get("/v1/dashboard")
    return found


async def progress_of(labeler: Labeler, **expected: int) -> dict[str, Any]:
    """Wait for a progress with these numbers."""

    async def there() -> dict[str, Any] | None:
        document = await shown(labeler)
        found = document["progress"]
        return document if found is not None and expected.items() <= found.items() else None

    found: dict[str, Any] = await eventually(there, f"{expected}")
    return found


async def event(response: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    """The id and the document of the next event; comments are passed over."""
    while True:
        block = (await asyncio.wait_for(response.content.readuntil(b"\n\n"), LIMIT_S)).decode()
        if block != ":\n\n":
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line)
            assert fields["event"] == "dashboard"
            return fields["id"], json.loads(fields["data"])


async def test_an_empty_ledger_has_nothing_under_way(both: Labeler) -> None:
    found = await shown(both)
    assert (found["campaign"], found["progress"], found["models"], found["dead_letters"]) == (None, None, [], 0)
    assert found["balance"] == await both.get("/v1/balance")
    assert found["tones"]["acne"] == [0] * 10


async def test_every_step_of_a_campaign_is_counted(both: Labeler) -> None:
    broken: list[UUID] = []

    def answer(request: ImageRequested) -> bytes | FailureReason | None:
        if not broken:
            broken.append(request.slot_id)
            return b"broken"  # which the gate rejects: its slot asks again
        return png(request.image_id.int % 2**32)

    both.generator.answer = answer
    campaign_id = await both.rebalance(targets={"aging": 3}, review="manual")
    found = await progress_of(both, in_review=3)
    steps = {name: found["progress"][name] for name in ("requested", "generated", "accepted", "rejected", "augmented")}
    assert steps == {"requested": 4, "generated": 4, "accepted": 0, "rejected": 1, "augmented": 0}
    assert found["progress"]["remaining_s"] is None  # nothing has come through yet

    pending = await both.images(status="pending")
    assert (await both.review(pending[0]["id"], "accepted")).status == 201
    found = await progress_of(both, augmented=1)
    assert found["campaign"]["id"] == campaign_id
    assert (found["progress"]["accepted"], found["progress"]["in_review"]) == (1, 2)
    assert found["progress"]["images_per_minute"] > 0
    assert found["progress"]["remaining_s"] > 0
    price = both.generator.price_usd
    assert found["campaign"]["spent_usd"] == pytest.approx(4 * price)
    assert found["progress"]["committed_usd"] == pytest.approx(4 * price)
    assert 4 * price <= found["progress"]["projected_usd"] <= found["campaign"]["worst_cost_usd"]
    assert sum(found["tones"]["aging"]) == 1
    await both.imported(1, labels="{}", skin_tone="3")  # clear skin has tones of its own
    assert list((await both.get("/v1/dashboard"))["tones"]) == list(Condition)

    await both.call("POST", f"/v1/rebalances/{campaign_id}/pause", json={"reason": "lunch"})

    async def paused() -> dict[str, Any] | None:  # a look that was just taken is shown a moment longer
        document = await shown(both)
        return document if document["campaign"]["state"] == "paused" else None

    found = await eventually(paused)
    assert found["campaign"]["reason"] == "lunch"
    assert found["progress"]["remaining_s"] is None


async def test_the_campaign_under_way_is_shown_before_newer_ones_that_have_ended(one: Labeler) -> None:
    one.generator.answer = lambda request: None
    under_way = await one.rebalance(targets={"aging": 2})
    await one.send("RebalanceRequested", {"targets": {"acne": 4}, "max_cost_usd": 0.01})

    async def both_known() -> bool:
        return len((await one.get("/v1/rebalances"))["rebalances"]) == 2

    await eventually(both_known)
    assert (await shown(one))["campaign"]["id"] == under_way
    await one.call("POST", f"/v1/rebalances/{under_way}/cancel")

    async def newest() -> bool:
        return bool((await shown(one))["campaign"]["state"] == "rejected")

    await eventually(newest)


async def test_the_training_and_the_last_two_models_are_shown(one: Labeler) -> None:
    campaign_id = UUID(await one.rebalance(targets={"aging": 0}))
    await one.reaches(str(campaign_id), "met")
    for epoch in (1, 2):
        losses = {"train_loss": 1 / epoch, "validation_loss": 2 / epoch}
        await one.publish(TrainingProgressed(run_id="r", campaign_id=campaign_id, epoch=epoch, epochs=9, **losses))

    async def trained() -> bool:
        training = (await shown(one))["campaign"]["training"]
        return training is not None and [one_["epoch"] for one_ in training["history"]] == [1, 2]

    await eventually(trained)
    for number in (1, 2, 3):
        model = ModelTrained(
            run_id="r",
            campaign_id=campaign_id,
            dataset_version="ds",
            version=f"v{number}",
            key=f"models/v{number}/model.onnx",
            sha256="0" * 64,
            metrics={"test": {"overall": {"recall": number / 10}}},
            promoted=number != 3,
            reason="It is worse." if number == 3 else "",
        )
        await one.publish(model)

        async def there(version: str = model.version) -> bool:
            return bool((await shown(one))["models"] and (await shown(one))["models"][0]["version"] == version)

        await eventually(there)
    models = (await shown(one))["models"]
    assert [(model["version"], model["promoted"], model["reason"]) for model in models] == [
        ("v3", False, "It is worse."),
        ("v2", True, ""),
    ]


async def test_dead_letters_are_counted_and_a_broker_that_is_away_is_said(
    one: Labeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.bus.publish_wire(Wire("RebalanceRequested", "application/json", {}, b'["a lot"]'))

    async def one_letter() -> bool:
        return bool((await shown(one))["dead_letters"] == 1)

    await eventually(one_letter)

    async def silent(_: str | None) -> list[Any]:
        await asyncio.sleep(LIMIT_S)
        return []

    monkeypatch.setattr("services.labeler_api.web.dashboard.BROKER_S", 0.01)
    monkeypatch.setattr(one.bus, "dead_letters", silent)

    async def not_known() -> bool:
        return (await shown(one))["dead_letters"] is None

    await eventually(not_known)


async def test_a_stream_says_every_change_and_goes_on_where_it_was(one: Labeler) -> None:
    async with one.session.get(one.url + STREAM) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        empty_id, empty = await event(response)
        assert empty["balance"]["images"]["accepted"] == 0
        await one.imported(1, condition="acne", severity="mild", skin_tone="7")
        document = empty
        while document["balance"]["variants"] == 0:
            last_id, document = await event(response)
        assert document["tones"]["acne"][6] == 1
    # Who knows the newest one already is told nothing until something changes.
    async with one.session.get(one.url + STREAM, headers={"Last-Event-ID": last_id}) as response:
        await one.imported(1, condition="acne", severity="mild")
        next_id, document = await event(response)
        assert next_id not in (last_id, empty_id)
        assert document["balance"]["images"]["accepted"] == 2
    async with one.session.get(one.url + STREAM, headers={"Last-Event-ID": "of another time"}) as response:
        assert (await event(response))[1]["balance"]["images"]["accepted"] == 2


async def test_a_silent_stream_shows_that_it_is_alive(one: Labeler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.labeler_api.web.routes.dashboard.HEARTBEAT_S", 0.0)
    async with one.session.get(one.url + STREAM) as response:
        await event(response)
        assert await asyncio.wait_for(response.content.readuntil(b"\n\n"), LIMIT_S) == b":\n\n"


async def test_no_more_streams_are_open_than_there_are_places_for(
    one: Labeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.labeler_api.web.routes.dashboard.MAX_STREAMS", 1)
    async with one.session.get(one.url + STREAM) as response:
        await event(response)
        refused = await one.call("GET", STREAM)
        assert (refused.status, refused.code) == (503, "overloaded")
        assert refused.headers["Retry-After"]

    async def free() -> bool:
        async with one.session.get(one.url + STREAM) as again:
            return again.status == 200

    await eventually(free, "A place")


async def test_the_key_is_asked_for_but_not_for_the_page(tmp_path: Path) -> None:
    async with labeler(tmp_path, api_key="secret") as running:
        for path in ("/v1/dashboard", STREAM):
            assert (await running.call("GET", path)).code == "unauthorized"
        page = await running.call("GET", "/dashboard")
        assert (page.status, "script-src 'self'" in page.headers["Content-Security-Policy"]) == (200, True)
        headers = {"Authorization": "Bearer secret"}
        async with running.session.get(running.url + STREAM, headers=headers) as response:
            await event(response)


async def test_open_dashboards_do_not_hold_up_the_end(tmp_path: Path) -> None:
    async with (
        labeler(tmp_path, drain_s=2 * LIMIT_S) as running,
        running.session.get(running.url + STREAM) as response,
    ):
        await event(response)
        await asyncio.wait_for(running.service.stop(), LIMIT_S)
        await response.read()  # it ends as it should, not cut off


async def test_many_who_look_at_once_are_answered_by_one_look(one: Labeler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.labeler_api.web.dashboard.LOOK_S", LIMIT_S)
    first = await shown(one)
    await one.imported(1, condition="acne")
    await one.settled()
    assert await asyncio.gather(*(shown(one) for _ in range(5))) == [first] * 5  # the look is not over yet
