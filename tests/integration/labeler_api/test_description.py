"""labeler-api's OpenAPI description: every route is in it, and what every route answers is as it says."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import sqlalchemy as sa
from aiohttp import web
from openapi_spec_validator import validate

from services.labeler_api.campaigns.campaign import CampaignState
from services.labeler_api.ledger.tables import image_table
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.web.openapi import openapi
from shared.events import ModelTrained, TrainingProgressed
from shared.message import Wire
from tests.eventually import eventually
from tests.fakes.pictures import png
from tests.integration.description import Description, routes
from tests.integration.labeler_api.support import Answer, Labeler, labeler
from tests.unit.model_server.tiny_model import put_model

KEY = "secret"
OPEN = {
    ("get", path)
    for path in (
        "/",
        "/dashboard",
        "/healthz",
        "/readyz",
        "/metrics",
        "/dermatologist_drag_drop_tool.html",
        "/static/{file}",
    )
}


class Asker:
    """Asks a running service, and holds every answer to the description."""

    def __init__(self, running: Labeler) -> None:
        self.running = running
        self.description = Description(openapi(secured=True))

    async def ask(self, method: str, path: str, status: int, **options: Any) -> Answer:
        """One request with the key, which must be answered so."""
        options["headers"] = {"X-API-Key": KEY, **options.get("headers", {})}
        answer = await self.running.call(method, path, allow_redirects=False, **options)
        self.description.check(method, path, answer.status, answer.headers, answer.body)
        assert answer.status == status, answer.body
        return answer

    async def upload(self, data: bytes, status: int, **fields: str) -> Answer:
        """One upload."""
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(data), filename="picture")
        for name, value in fields.items():
            form.add_field(name, value)
        return await self.ask("POST", "/v1/images", status, data=form)


def test_the_description_is_proper_openapi() -> None:
    validate(openapi())
    validate(openapi(secured=True))


def test_the_states_that_are_described_are_those_that_there_are() -> None:
    state = openapi()["components"]["schemas"]["Campaign"]["properties"]["state"]
    assert set(state["enum"]) == set(CampaignState)


async def test_every_route_is_described(one: Labeler) -> None:
    runner = one.service._runner
    assert isinstance(runner, web.AppRunner)
    assert Description(await one.get("/openapi.json")).operations == routes(runner.app)


async def test_every_answer_is_as_described(tmp_path: Path) -> None:
    async with labeler(tmp_path, api_key=KEY) as running:
        asker = Asker(running)
        assert (await asker.ask("GET", "/openapi.json", 200)).json == asker.description.document
        images = await _images(asker)
        await _reviews(asker, images)
        await _rebalances(asker)
        await _models(asker)
        await _dead_letters(asker)
        await _pages(asker)
        await _dashboard(asker)
        await asker.ask("GET", "/v1/webhooks", 200)
        await asker.ask("POST", "/v1/webhooks/replay", 200)
        assert asker.description.unseen(below=400) == set()

        for method, path in asker.description.operations - OPEN:
            answer = await running.call(method.upper(), path.replace("{id}", str(uuid4())))
            asker.description.check(method, path, answer.status, answer.headers, answer.body)
            assert answer.code == "unauthorized"
        (tmp_path / "store").rename(tmp_path / "elsewhere")
        (tmp_path / "store").write_text("no directory")
        await asker.ask("GET", "/readyz", 503)
        without_problems = {
            ("get", path) for path in ("/", "/dashboard", "/healthz", "/metrics", "/dermatologist_drag_drop_tool.html")
        }
        assert asker.description.unseen(least=400) == without_problems


async def _images(asker: Asker) -> list[str]:
    ids = [
        (await asker.upload(png(1), 201, condition="textured_skin", severity="mild", skin_tone="3")).json["id"],
        (await asker.upload(png(2), 201, labels='{"acne": "severe", "aging": null}', complete="false")).json["id"],
        (await asker.upload(png(3), 201, labels="{}", group="Anna")).json["id"],
    ]
    await asker.upload(png(1), 409, condition="acne")
    await asker.upload(png(1), 200, condition="textured_skin", severity="mild", update="true")
    await asker.upload(b"text", 415, condition="acne")
    await asker.upload(b"", 422, condition="acne")
    await asker.upload(png(4), 422, condition="freckles")
    await eventually(lambda: _quiet(asker))
    await asker.ask("GET", "/v1/balance", 200)
    await asker.ask("GET", "/v1/images?limit=2&status=accepted", 200)
    await asker.ask("GET", "/v1/images?condition=acne&severity=severe&skin_tone=10&cursor=0", 200)
    for query in (
        "status=gone",
        "condition=freckles",
        "severity=mild",
        "skin_tone=0",
        "skin_tone=x",
        "cursor=x",
        "cursor=-1",
        "limit=0",
    ):
        await asker.ask("GET", f"/v1/images?{query}", 422)
    for image_id in ids:
        await asker.running.blobs.put(f"images/{image_id}/hflip.png", b"flipped")
        await asker.ask("GET", f"/v1/images/{image_id}", 200)
        for part in ("content", "thumbnail"):
            tag = (await asker.ask("GET", f"/v1/images/{image_id}/{part}", 200)).headers["ETag"]
            await asker.ask("GET", f"/v1/images/{image_id}/{part}", 304, headers={"If-None-Match": tag})
    square = {"x": 20, "y": 20, "side": 32}
    for said in ({"square": square, "reviewer": "Dr. Skin"}, {"square": None, "reviewer": "Dr. Skin"}):
        await asker.ask("PUT", f"/v1/images/{ids[0]}/frame", 200, json=said)
        await asker.ask("PUT", f"/v1/images/{uuid4()}/frame", 404, json=said)
    await asker.ask("PUT", f"/v1/images/{ids[0]}/frame", 422, json={"square": square})
    await _forget_frame(asker, ids[2])
    await asker.ask("PUT", f"/v1/images/{ids[2]}/frame", 409, json={"square": square, "reviewer": "Dr. Skin"})
    for missing in (uuid4(), "none"):
        for part in ("", "/content", "/thumbnail"):
            await asker.ask("GET", f"/v1/images/{missing}{part}", 404)
    for format in ("imagefolder", "labelstudio", "coco", "csv", "audit"):
        await asker.ask("GET", f"/v1/export?format={format}", 200)
    await asker.ask("GET", "/v1/export?format=excel", 422)
    return ids


async def _forget_frame(asker: Asker, image_id: str) -> None:
    async def forget(transaction: Transaction) -> None:
        of_image = sa.update(image_table).where(image_table.c.id == UUID(image_id))
        await transaction.execute(of_image.values(frame=None))

    await asker.running.database.write(forget)


async def _quiet(asker: Asker) -> bool:
    return bool((await asker.ask("GET", "/v1/balance", 200)).json["unaugmented"] == 0)


async def _reviews(asker: Asker, images: list[str]) -> None:
    said = {"verdict": "rejected", "reviewer": "Dr. Skin", "reason": "blurred"}
    labels = {"acne": "mild", "redness": 2, "aging": None}
    await asker.ask("POST", f"/v1/images/{images[0]}/reviews", 201, json=said)
    await asker.ask("POST", f"/v1/images/{images[0]}/reviews", 422, json={"verdict": "fine"})
    await asker.ask("POST", f"/v1/images/{uuid4()}/reviews", 404, json=said)
    stale = {**said, "key": str(uuid4()), "seen": {"status": "pending", "labels": {"acne": None}}}
    await asker.ask("POST", f"/v1/images/{images[0]}/reviews", 409, json=stale)
    await asker.ask("POST", "/v1/reviews", 207, json={"reviews": [{**stale, "image_id": images[0]}]})
    several = [
        {**said, "image_id": images[0], "verdict": "accepted", "labels": labels, "confidence": 3, "seconds": 2.5}
    ]
    await asker.ask("POST", "/v1/reviews", 201, json={"reviews": several})
    wrong: list[Any] = [7, {"image_id": images[0]}, {"image_id": ["x"]}, {**several[0], "image_id": str(uuid4())}]
    await asker.ask("POST", "/v1/reviews", 207, json={"reviews": [*several, *wrong]})
    await asker.ask("POST", "/v1/reviews", 422, json={"reviews": []})
    await asker.ask("POST", "/v1/reviews/undo", 200, json={"reviewer": "Dr. Skin"})
    await asker.ask("GET", "/v1/reviews/agreement", 200)
    await asker.ask("POST", "/v1/reviews/undo", 409, json={"reviewer": "Nobody"})
    await asker.ask("POST", "/v1/reviews/undo", 409, json={"reviewer": "Dr. Skin", "key": str(uuid4())})
    await asker.ask("POST", "/v1/reviews/undo", 422, json={"reviewer": ""})


async def _rebalances(asker: Asker) -> None:
    await asker.ask("GET", "/v1/plan?target_per_condition=4&conditions=acne,redness&targets=aging:3", 200)
    for query in ("", "target_per_condition=x", "targets=freckles:3", "target_per_condition=1&max_attempts=0"):
        await asker.ask("GET", f"/v1/plan?{query}", 422)
    await asker.ask("POST", "/v1/rebalances", 422, json={"target_per_condition": 10, "max_cost_usd": 0.01})
    asker.running.generator.answer = lambda request: b"broken"
    await _ended(asker, {"targets": {"acne": 3}, "max_attempts": 1}, "exhausted")
    asker.running.generator.answer = lambda request: png(request.image_id.int % 2**32)
    campaign = await _ended(asker, {"targets": {"redness": 2}, "max_cost_usd": 5}, "met")
    for epoch in (1, 2):
        progress = TrainingProgressed(
            run_id="r", campaign_id=UUID(campaign["id"]), epoch=epoch, epochs=9, train_loss=0.5, validation_loss=0.6
        )
        await asker.running.publish(progress)
    model = ModelTrained(
        run_id="r",
        campaign_id=UUID(campaign["id"]),
        dataset_version=campaign["dataset_version"],
        version="v1",
        key="models/v1/model.onnx",
        sha256="0" * 64,
        metrics={"test": {"overall": {"f1": 0.5}}},
        comparison={"fold": "test"},
        promoted=False,
    )
    await asker.running.publish(model)
    path = f"/v1/rebalances/{campaign['id']}"

    async def told() -> bool:
        document = (await asker.ask("GET", path, 200)).json
        return document["model"] is not None and len((document["training"] or {}).get("history", [])) == 2

    await eventually(told)
    await asker.ask("GET", f"{path}/stream", 200)
    for change in ("pause", "resume", "cancel"):
        await asker.ask("POST", f"{path}/{change}", 409, json={"reason": "too late"})
        await asker.ask("POST", f"/v1/rebalances/{uuid4()}/{change}", 404)
        await asker.ask("POST", f"{path}/{change}", 422, json={"reason": 7})
    asker.running.generator.answer = lambda _: None
    open_one = (await asker.ask("POST", "/v1/rebalances", 202, json={"targets": {"redness": 90}})).json["id"]
    for change in ("pause", "resume", "cancel"):
        await asker.ask("POST", f"/v1/rebalances/{open_one}/{change}", 200)
    await asker.ask("GET", "/v1/rebalances?limit=3", 200)
    await asker.ask("GET", "/v1/rebalances?limit=none", 422)
    await asker.ask("GET", f"/v1/datasets/{campaign['dataset_version']}", 200)
    for missing in (f"/v1/rebalances/{uuid4()}", f"/v1/rebalances/{uuid4()}/stream", "/v1/datasets/ds-0"):
        await asker.ask("GET", missing, 404)


async def _ended(asker: Asker, request: dict[str, Any], state: str) -> dict[str, Any]:
    path = f"/v1/rebalances/{(await asker.ask('POST', '/v1/rebalances', 202, json=request)).json['id']}"

    async def there() -> dict[str, Any] | None:
        document: dict[str, Any] = (await asker.ask("GET", path, 200)).json
        return document if document["state"] == state else None

    found: dict[str, Any] = await eventually(there)
    return found


async def _models(asker: Asker) -> None:
    await asker.ask("GET", "/v1/models", 200)
    await asker.ask("POST", "/v1/models/rollback", 404)
    for version in ("v1", "v2"):
        await put_model(asker.running.blobs, version, live=False)
        await asker.ask("POST", f"/v1/models/{version}/promotions", 202, json={"reason": "it is better"})
    for name in ("model.onnx", "card.json"):
        await asker.ask("GET", f"/v1/models/v1/files/{name}", 200)
    for path in ("v1/files/evaluation.json", "v1/files/weights.bin", "v9/files/card.json"):
        await asker.ask("GET", f"/v1/models/{path}", 404)
    await asker.ask("POST", "/v1/models/v9/promotions", 404)
    await asker.ask("POST", "/v1/models/v1/promotions", 422, json={"reason": 5})
    await asker.ask("POST", "/v1/models/rollback", 202)
    await asker.ask("GET", "/v1/models", 200)


async def _dead_letters(asker: Asker) -> None:
    await asker.running.bus.publish_wire(Wire("RebalanceRequested", "application/json", {}, b'["a lot"]'))

    async def died() -> bool:
        return bool((await asker.ask("GET", "/v1/dead-letters", 200)).json["dead_letters"])

    await eventually(died)
    await asker.ask("GET", "/v1/dead-letters?queue=trainer.QuotaMet", 200)
    await asker.ask("GET", "/v1/dead-letters?queue=none", 404)
    await asker.ask("POST", "/v1/dead-letters/replay", 200)
    await asker.ask("POST", "/v1/dead-letters/replay", 200, json={"queue": "trainer.QuotaMet"})
    await asker.ask("POST", "/v1/dead-letters/replay", 404, json={"queue": "none"})
    await asker.ask("POST", "/v1/dead-letters/replay", 422, json={"queue": 5})


async def _dashboard(asker: Asker) -> None:
    await asker.ask("GET", "/v1/dashboard", 200)
    path = "/v1/dashboard/stream"
    async with asker.running.session.get(asker.running.url + path, headers={"X-API-Key": KEY}) as response:
        first = b"".join([await response.content.readuntil(b"\n\n") for _ in range(2)])  # a comment, and an event
        asker.description.check("GET", path, response.status, response.headers, first)


async def _pages(asker: Asker) -> None:
    files = ("page.js", "style.css", "icon.svg", "dashboard.js", "dashboard.css")
    for path in ("/", "/dashboard", "/healthz", "/readyz", "/metrics", *(f"/static/{name}" for name in files)):
        await asker.ask("GET", path, 200)
    await asker.ask("GET", "/dermatologist_drag_drop_tool.html", 302)
    await asker.ask("GET", "/static/none.js", 404)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/nothing", (200, b"{}")),
        ("/v1/balance", (418, b"{}")),
        ("/v1/balance", (200, b"[]")),
        ("/healthz", (200, b'{"status": "ok", "colour": "red"}')),
        ("/healthz", (200, b"{}")),
    ],
)
def test_what_is_not_described_is_noticed(path: str, answer: tuple[int, bytes]) -> None:
    with pytest.raises(Exception, match=r"described|418|not of type|were unexpected|required"):
        Description(openapi()).check("GET", path, answer[0], {"Content-Type": "application/json"}, answer[1])
