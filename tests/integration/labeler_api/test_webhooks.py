"""Webhooks: each receiver is told once it listens, and what is told is signed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from pydantic import SecretStr

from shared.events import ModelTrained
from shared.live_model import make_live
from tests.eventually import eventually
from tests.integration.labeler_api.support import Labeler, labeler
from tests.unit.model_server.tiny_model import put_model

SECRET = b"0123456789abcdefghijklmnopqrstuv"
WHSEC = "whsec_" + base64.b64encode(SECRET).decode()


@dataclass
class Receiver:
    """A program that listens for webhooks, and answers as a test says."""

    url: str = ""
    status: int = 204
    bodies: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    async def hear(self, request: web.Request) -> web.Response:
        body = await request.read()
        sent_id, sent_at = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        expected = hmac.digest(SECRET, f"{sent_id}.{sent_at}.".encode() + body, hashlib.sha256)
        assert request.headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
        assert request.content_type == "application/json"
        self.ids.append(sent_id)
        self.bodies.append(json.loads(body))
        return web.Response(status=self.status, headers={"Location": "/elsewhere"} if self.status == 302 else {})

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [body["data"] for body in self.bodies if body["type"] == kind]


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.hear)
    app.router.add_route("*", "/elsewhere", receiver.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def telling(home: Path, *receivers: Receiver, **changes: Any) -> AsyncIterator[Labeler]:
    urls = SecretStr(",".join(receiver.url for receiver in receivers))
    async with labeler(home, webhooks=urls, webhook_secrets=SecretStr(WHSEC), **changes) as running:
        yield running


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.labeler_api.webhooks.sender.POLL_S", 0.05)
    monkeypatch.setattr("services.labeler_api.webhooks.sender.PAUSES_S", (0.01, 0.01))


async def listed(running: Labeler) -> dict[str, Any]:
    found: dict[str, Any] = await running.get("/v1/webhooks")
    return found


async def nothing_waits(running: Labeler) -> None:
    async def none() -> bool:
        return bool((await listed(running))["waiting"] == 0)

    await eventually(none)


async def test_verdicts_met_quotas_and_pauses_are_told_once_to_each_receiver(tmp_path: Path, database_url: str) -> None:
    async with (
        receiving() as one,
        receiving() as other,
        telling(tmp_path, one, other, database_url=database_url) as running,
    ):
        campaign_id = await running.rebalance(targets={"aging": 2}, review="manual")

        async def both_wait() -> list[dict[str, Any]] | None:
            found = await running.images(status="pending")
            return found if len(found) == 2 else None

        images = await eventually(both_wait)
        assert (
            await running.call("POST", f"/v1/rebalances/{campaign_id}/pause", json={"reason": "lunch"})
        ).status == 200
        assert (await running.call("POST", f"/v1/rebalances/{campaign_id}/pause")).status == 200  # already so
        assert (await running.call("POST", f"/v1/rebalances/{campaign_id}/resume")).status == 200
        for image in images:
            await running.review(image["id"], "accepted")
        met = await running.reaches(campaign_id, "met")
        await eventually(lambda: one.of("QuotaMet") and other.of("QuotaMet"))
        await nothing_waits(running)
        for receiver in (one, other):
            assert {told["image_id"] for told in receiver.of("ImageLabeled")} == {image["id"] for image in images}
            assert {(told["verdict"], told["reviewer"]) for told in receiver.of("ImageLabeled")} == {
                ("accepted", "Dr. Skin")
            }
            assert receiver.of("CampaignPaused") == [{"campaign_id": campaign_id, "reason": "lunch"}]
            assert [told["dataset_version"] for told in receiver.of("QuotaMet")] == [met["dataset_version"]]
            assert len(receiver.bodies) == 4
            assert len(set(receiver.ids)) == 4
        assert sorted(one.ids) == sorted(other.ids)


async def test_a_model_that_goes_live_is_told_whoever_promotes_it(tmp_path: Path) -> None:
    async with receiving() as receiver, telling(tmp_path, receiver) as running:
        campaign_id = UUID(await running.rebalance(targets={"aging": 0}))
        for version in ("v1", "v2"):
            await put_model(running.blobs, version, live=False)
        await make_live(running.blobs, version="v1", sha256="0" * 64, reason="the first")
        for version, promoted in (("v1", True), ("v2", False), ("v0", True)):  # of which v0 is not live any more
            model = ModelTrained(
                run_id="r",
                campaign_id=campaign_id,
                dataset_version="ds",
                version=version,
                key=f"models/{version}/model.onnx",
                sha256="0" * 64,
                metrics={},
                promoted=promoted,
            )
            await running.publish(model)
            await running.publish(model)  # as another message
        await eventually(lambda: running.handled("ModelTrained", "done") == 6)
        assert (await running.call("POST", "/v1/models/v2/promotions", json={"reason": "better"})).status == 202
        await eventually(lambda: len(receiver.of("ModelPromoted")) == 2)
        await nothing_waits(running)
        told = [(model["version"], model["generation"], model["reason"]) for model in receiver.of("ModelPromoted")]
        assert sorted(told) == [("v1", 1, "the first"), ("v2", 2, "better")]


async def test_who_does_not_take_it_is_told_again_with_the_same_id_also_after_a_restart(tmp_path: Path) -> None:
    async with receiving() as receiver, telling(tmp_path, receiver) as running:
        receiver.status = 503
        campaign_id = await running.rebalance(targets={"aging": 1})
        await eventually(lambda: len(receiver.ids) >= 2)
        await running.restart()
        await running.reaches(campaign_id, "met")
        receiver.status = 200
        await nothing_waits(running)
        await running.call("POST", "/v1/webhooks/replay")  # what was given up meanwhile
        await nothing_waits(running)
        assert {body["type"] for body in receiver.bodies} >= {"ImageLabeled", "QuotaMet"}
        assert len({json.dumps(body) for body in receiver.bodies}) == len(set(receiver.ids)) < len(receiver.ids)


@pytest.mark.parametrize("status", [302, 410, 500])
async def test_what_nobody_takes_is_given_up_and_can_be_replayed(tmp_path: Path, status: int) -> None:
    async with receiving() as receiver, telling(tmp_path, receiver) as running:
        receiver.status = status
        campaign_id = await running.rebalance(targets={"aging": 0})  # whose only webhook is its QuotaMet
        await running.reaches(campaign_id, "met")

        async def given_up() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = (await listed(running))["given_up"]
            return found or None

        (webhook,) = await eventually(given_up)
        assert (webhook["event"], webhook["error"]) == ("QuotaMet", f"It answered {status}.")
        assert webhook["tries"] == (1 if status == 410 else 3)  # a redirect is not followed: nobody else was told
        assert receiver.ids == [webhook["id"]] * webhook["tries"]
        metrics = (await running.call("GET", "/metrics")).body.decode()
        assert 'evenskin_webhooks{state="given_up"} 1.0' in metrics

        receiver.status = 200
        assert (await running.call("POST", "/v1/webhooks/replay")).json == {"replayed": 1}
        await eventually(lambda: receiver.ids[webhook["tries"] :] == [webhook["id"]])
        await nothing_waits(running)
        assert (await listed(running))["given_up"] == []


@pytest.mark.parametrize("host", ["127.0.0.1:1", "hooks..example.com"])
async def test_a_receiver_that_is_away_or_silent_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr("services.labeler_api.webhooks.sender.TIMEOUT_S", 0.2)
    away = Receiver(url=f"http://{host}/hook?token=geheim")
    async with receiving() as receiver, telling(tmp_path, away, receiver) as running:
        campaign_id = await running.rebalance(targets={"aging": 0})
        await running.reaches(campaign_id, "met")
        await eventually(lambda: receiver.of("QuotaMet"))

        async def given_up() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = (await listed(running))["given_up"]
            return found or None

        (webhook,) = await eventually(given_up)
        assert webhook["target"].startswith(f"{host.partition(':')[0]}/")
        assert webhook["error"].startswith("It ")
        assert "geheim" not in json.dumps(await running.rows("webhooks"))


async def test_what_a_process_had_in_hand_when_it_died_is_sent_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.labeler_api.webhooks.sender.LEASE_S", 0.0)
    async with receiving() as receiver, telling(tmp_path, receiver) as running:

        async def dies(*_: object) -> None:
            raise RuntimeError("killed")

        with monkeypatch.context() as dying:
            dying.setattr("services.labeler_api.webhooks.sender.WebhookSender._record", dies)
            campaign_id = await running.rebalance(targets={"aging": 0})
            await running.reaches(campaign_id, "met")
            await eventually(lambda: receiver.of("QuotaMet"))
        await nothing_waits(running)
        assert set(receiver.ids) == {receiver.ids[0]}


async def test_without_a_receiver_nothing_is_kept(one: Labeler) -> None:
    await one.reaches(await one.rebalance(targets={"aging": 1}), "met")
    assert await one.rows("webhooks") == []
