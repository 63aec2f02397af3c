"""labeler-api's other routes: the key, exports, datasets, models, the stream and the pages."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from PIL import Image

from shared.blobs import Blobs
from shared.errors import StoreUnavailable
from shared.events import ImageLabeled, ModelPromoted, ModelTrained, TrainingFailed, TrainingFailure, TrainingProgressed
from shared.imaging import MAX_BYTES, open_checked
from shared.live_model import make_live, read_live
from shared.model_card import LIVE_KEY, LiveModel, card_key, model_key
from shared.pictures.provenance import Marks, SourceType, marks_of, with_marks
from shared.taxonomy import Condition, Fold, fold_of
from tests.eventually import LIMIT_S, eventually
from tests.fakes.bus import Listener
from tests.fakes.pictures import png
from tests.integration.labeler_api.support import Labeler, labeler
from tests.unit.model_server.tiny_model import put_model


async def test_pages_and_operations(one: Labeler) -> None:
    page = await one.call("GET", "/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html")
    moved = await one.call("GET", "/dermatologist_drag_drop_tool.html", allow_redirects=False)
    assert (moved.status, moved.headers["Location"]) == (302, "/")
    assert (await one.get("/healthz")) == {"status": "ok"}
    assert (await one.get("/readyz")) == {"status": "ready"}
    assert b"evenskin_events_handled" in (await one.call("GET", "/metrics")).body
    assert (await one.call("GET", "/v1/nothing")).code == "not_found"
    wrong = await one.call("DELETE", "/v1/images")
    assert (wrong.status, wrong.code) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


async def test_a_key_is_asked_for_where_one_is_set(tmp_path: Path) -> None:
    async with labeler(tmp_path, api_key="secret") as running:
        for path in ("/v1/balance", "/v1/images", "/v1/export", "/openapi.json"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}):
                answer = await running.call("GET", path, headers=headers)
                assert (answer.status, answer.code) == (401, "unauthorized")
                assert answer.headers["WWW-Authenticate"] == "Bearer"
            for headers in ({"Authorization": "Bearer secret"}, {"X-API-Key": "secret"}):
                assert (await running.call("GET", path, headers=headers)).status == 200
        assert (await running.call("POST", "/v1/rebalances", json={"target_per_condition": 0})).status == 401
        for path in ("/", "/healthz", "/readyz", "/metrics"):
            assert (await running.call("GET", path)).status == 200


async def test_a_request_that_is_too_large_is_refused(one: Labeler) -> None:
    headers = {"Content-Type": "application/json"}
    body = io.BytesIO(b"[" * (MAX_BYTES + 2 * 1024 * 1024))
    answer = await one.call("POST", "/v1/reviews", data=body, headers=headers)
    assert (answer.status, answer.code) == (413, "request_too_large")
    assert (await one.call("POST", "/v1/reviews", data=b"[" * 100_000, headers=headers)).code == "invalid_request"


async def dataset(labeler: Labeler) -> dict[str, list[str]]:
    """A small dataset: ids by what they show."""
    ids = {
        "mild": await labeler.imported(2, condition="textured_skin", severity="mild", skin_tone="3"),
        "two": await labeler.imported(1, labels='{"acne": "severe", "aging": null}', complete="false"),
        "clear": await labeler.imported(1, labels="{}"),
        "refused": await labeler.imported(1, condition="acne"),
    }
    await labeler.review(ids["refused"][0], "rejected")
    for image_id in (i for kind in ids.values() for i in kind):
        await labeler.blobs.put(f"images/{image_id}/hflip.png", image_id.encode())
    await labeler.settled()
    return ids


async def test_export_as_folders(one: Labeler) -> None:
    ids = await dataset(one)
    answer = await one.call("GET", "/v1/export")
    assert answer.headers["Content-Type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        files = {info.name: archive.extractfile(info) for info in archive}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    folders = {
        "textured_skin/slight": ids["mild"],
        "acne/severe": ids["two"],
        "aging/unknown": ids["two"],
        "clear": ids["clear"],
    }
    expected = {f"{folder}/{i}{end}.png" for folder, found in folders.items() for i in found for end in ("", "_hflip")}
    assert set(contents) == expected
    for name, data in contents.items():
        stem = Path(name).stem
        if stem.endswith("_hflip"):
            assert data == stem.removesuffix("_hflip").encode()
        else:
            assert Image.open(io.BytesIO(data)).size == (256, 256)


async def test_export_as_tables(one: Labeler) -> None:
    ids = await dataset(one)
    answer = await one.call("GET", "/v1/export", params={"format": "csv"})
    assert answer.headers["Content-Type"] == "text/csv"
    lines = {line["image_id"]: line for line in csv.DictReader(io.StringIO(answer.body.decode()))}
    assert set(lines) == {*ids["mild"], *ids["two"], *ids["clear"]}
    assert lines[ids["mild"][0]]["textured_skin"] == "1"
    assert lines[ids["mild"][0]]["acne"] == "0"
    assert lines[ids["mild"][0]]["skin_tone"] == "3"
    assert {c: lines[ids["two"][0]][c] for c in Condition} == dict.fromkeys(Condition, "") | {
        "acne": "3",
        "aging": "unknown",
    }
    assert {lines[ids["clear"][0]][c] for c in Condition} == {"0"}

    tasks = await one.get("/v1/export", params={"format": "labelstudio"})
    choices = {task["data"]["image_id"]: task["annotations"][0]["result"][0]["value"]["choices"] for task in tasks}
    assert choices[ids["two"][0]] == ["acne:severe", "aging:unknown"]
    assert choices[ids["clear"][0]] == ["clear"]
    for task in tasks:
        async with one.session.get(task["data"]["image"]) as picture:
            assert (picture.status, picture.content_type) == (200, "image/png")

    coco = await one.get("/v1/export", params={"format": "coco"})
    assert [category["name"] for category in coco["categories"]] == list(Condition)
    assert len(coco["images"]) == 4
    names = {category["id"]: category["name"] for category in coco["categories"]}
    shown = sorted((names[a["category_id"]], a["attributes"]["severity"]) for a in coco["annotations"])
    assert shown == [("acne", "severe"), ("aging", "unknown"), ("textured_skin", "mild"), ("textured_skin", "mild")]
    assert {annotation["image_id"] for annotation in coco["annotations"]} < {image["id"] for image in coco["images"]}

    wrong = await one.call("GET", "/v1/export", params={"format": "excel"})
    assert (wrong.status, wrong.code) == (422, "invalid_request")


async def test_exports_hold_pictures_with_their_marks(one: Labeler) -> None:
    marks = Marks(SourceType.TRAINED, "gpt-image-2", "a campaign", "ab" * 32)
    one.generator.answer = lambda request: with_marks(png(7), "PNG", marks)
    await one.reaches(await one.rebalance(targets={"acne": 1}), "met")
    (variant,) = await one.rows("variants")
    await one.blobs.put(variant["key"], b"a flip")
    with tarfile.open(fileobj=io.BytesIO((await one.call("GET", "/v1/export")).body)) as archive:
        (name,) = [name for name in archive.getnames() if "_hflip" not in name]
        exported = archive.extractfile(name)
        assert exported is not None
        found = [exported.read()]
    (task,) = await one.get("/v1/export", params={"format": "labelstudio"})
    coco = await one.get("/v1/export", params={"format": "coco"})
    for url in (task["data"]["image"], coco["images"][0]["coco_url"]):
        async with one.session.get(url) as picture:
            found.append(await picture.read())
    for data in found:
        assert marks_of(open_checked(data).parts) == marks
        assert hashlib.sha256(data).hexdigest() == (await one.rows("images"))[0]["sha256"]


async def test_authors_of_exported_annotations_are_asked_for(one: Labeler) -> None:
    (by_mail,) = await one.imported(1, condition="acne")
    await one.imported(1, condition="acne")
    assert (await one.review(by_mail, "accepted", reviewer="anna@example.org")).status == 201
    tasks = await one.get("/v1/export", params={"format": "labelstudio"})
    assert [task["data"]["reviewer"] for task in tasks] == ["anna@example.org", "import"]
    assert not any("completed_by" in task["annotations"][0] for task in tasks)  # Label Studio refuses whom it lacks
    tasks = await one.get("/v1/export", params={"format": "labelstudio", "annotators": "true"})
    authors = [task["annotations"][0].get("completed_by") for task in tasks]
    assert authors == [{"email": "anna@example.org"}, None]
    wrong = await one.call("GET", "/v1/export", params={"format": "labelstudio", "annotators": "all"})
    assert (wrong.status, wrong.code) == (422, "invalid_request")


async def test_what_only_the_gate_has_seen_is_a_prediction(one: Labeler) -> None:
    await one.reaches(await one.rebalance(target_per_condition=1, conditions=["acne"]), "met")
    (task,) = await one.get("/v1/export", params={"format": "labelstudio"})
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], task.get("annotations")) == ("gate", None)
    assert prediction["result"][0]["value"]["choices"] == ["acne:mild"]


async def test_exported_pictures_are_where_the_setting_says(tmp_path: Path) -> None:
    async with labeler(tmp_path, public_url="https://skin.example.org/evenskin/") as running:
        (image,) = await running.imported(1, condition="acne")
        expected = f"https://skin.example.org/evenskin/v1/images/{image}/content"
        (task,) = await running.get("/v1/export", params={"format": "labelstudio"})
        assert task["data"]["image"] == expected
        assert (await running.get("/v1/export", params={"format": "coco"}))["images"][0]["coco_url"] == expected


async def test_coco_has_what_its_readers_ask_for(one: Labeler) -> None:
    await dataset(one)
    coco = await one.get("/v1/export", params={"format": "coco"})
    assert list(coco) == ["info", "licenses", "images", "annotations", "categories"]
    assert coco["info"]["description"]
    for part in ("images", "annotations", "categories"):
        assert [each["id"] for each in coco[part]] == list(range(1, len(coco[part]) + 1))
    sizes = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
    for annotation in coco["annotations"]:
        width, height = sizes[annotation["image_id"]]
        assert annotation["bbox"] == [0, 0, width, height]
        assert annotation["segmentation"] == [[0, 0, width, 0, width, height, 0, height]]
        assert (annotation["area"], annotation["iscrowd"]) == (width * height, 0)


async def test_exports_of_nothing(one: Labeler) -> None:
    with tarfile.open(fileobj=io.BytesIO((await one.call("GET", "/v1/export")).body)) as archive:
        assert archive.getnames() == []
    assert await one.get("/v1/export", params={"format": "labelstudio"}) == []
    coco = await one.get("/v1/export", params={"format": "coco"})
    assert (coco["images"], coco["annotations"], bool(coco["info"])) == ([], [], True)
    lines = (await one.call("GET", "/v1/export", params={"format": "csv"})).body.decode().splitlines()
    assert len(lines) == 1


async def test_an_export_that_breaks_off_is_not_taken_for_whole(one: Labeler) -> None:
    ids = await dataset(one)
    one.blobs.on_get = StoreUnavailable("No answer.")
    answer = await one.call("GET", "/v1/export")
    assert (answer.status, answer.code) == (503, "store_unavailable")
    one.blobs.on_get = None
    await one.blobs.delete(f"images/{ids['clear'][0]}/original.png")
    with pytest.raises(Exception, match=r"payload|disconnected|reset"):
        await one.call("GET", "/v1/export")
    assert (await one.call("GET", "/healthz")).status == 200


async def test_datasets(one: Labeler) -> None:
    ids = await dataset(one)
    campaign = await one.reaches(await one.rebalance(target_per_condition=0), "met")
    version = campaign["dataset_version"]
    document = await one.get(f"/v1/datasets/{version}")
    assert (document["images"], document["variants"]) == (4, 4)
    data = (await one.blobs.get(document["manifest_key"])).data
    assert version == f"ds-{hashlib.sha256(data).hexdigest()[:16]}"
    entries = {str(entry.image_id): entry for entry in await one.manifest(version)}
    assert set(entries) == {*ids["mild"], *ids["two"], *ids["clear"]}
    assert not entries[ids["two"][0]].complete
    assert {i: entry.fold for i, entry in entries.items()} == {i: fold_of(i) for i in entries}
    assert sum(document["folds"].values()) == 4
    assert set(document["folds"]) == set(Fold)
    for missing in ("ds-0", "..", "%00"):
        assert (await one.call("GET", f"/v1/datasets/{missing}")).status == 404


async def events_of(labeler: Labeler, campaign_id: str) -> list[dict[str, Any]]:
    """What the stream of a campaign says, until it ends."""
    answer = await labeler.call("GET", f"/v1/rebalances/{campaign_id}/stream")
    assert answer.headers["Content-Type"] == "text/event-stream"
    blocks = answer.body.decode().split("\n\n")[:-1]
    assert all(block.startswith("event: campaign\ndata: ") for block in blocks)
    return [json.loads(block.partition("data: ")[2]) for block in blocks]


async def test_a_stream_says_every_change_and_ends(one: Labeler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.labeler_api.web.routes.rebalances.HEARTBEAT_S", LIMIT_S)
    campaign_id = await one.rebalance(targets={"aging": 2})
    watching = asyncio.create_task(events_of(one, campaign_id))
    await one.reaches(campaign_id, "met")
    for _ in range(2):
        model = ModelTrained(
            run_id="r1",
            campaign_id=UUID(campaign_id),
            dataset_version="ds",
            version="v1",
            key="models/v1/model.onnx",
            sha256="0" * 64,
            metrics={"overall": {}},
            promoted=False,
            reason="It is worse.",
        )
        await one.publish(model)
    said = await watching
    assert said[-1]["model"]["version"] == "v1"
    assert said[-1]["model"]["reason"] == "It is worse."
    assert all(one_ != next_ for one_, next_ in pairwise(said))
    assert await events_of(one, campaign_id) == [said[-1]]  # late: the end, at once
    assert [model["version"] for model in (await one.get("/v1/models"))["models"]] == ["v1"]

    untrained = await one.rebalance(targets={"aging": 0})
    watching = asyncio.create_task(events_of(one, untrained))
    failed = TrainingFailed(
        run_id="r2",
        campaign_id=UUID(untrained),
        dataset_version="ds",
        reason=TrainingFailure.PARITY_FAILED,
        detail="They differ.",
    )
    await one.reaches(untrained, "met")
    await one.publish(failed)
    assert (await watching)[-1]["reason"] == "not trained: parity_failed: They differ."

    one.generator.answer = lambda request: b"broken"
    exhausted = await one.rebalance(targets={"acne": 1}, max_attempts=1)
    assert (await events_of(one, exhausted))[-1]["state"] == "exhausted"
    for missing in (str(uuid4()), "none"):
        assert (await one.call("GET", f"/v1/rebalances/{missing}/stream")).status == 404
        assert (await one.call("GET", f"/v1/rebalances/{missing}")).status == 404


async def test_an_open_stream_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with labeler(tmp_path, drain_s=2 * LIMIT_S) as running:
        running.generator.answer = lambda request: None
        campaign_id = await running.rebalance(targets={"aging": 2})
        async with running.session.get(f"{running.url}/v1/rebalances/{campaign_id}/stream") as response:
            assert (await response.content.readline()).startswith(b"event: campaign")
            await asyncio.wait_for(running.service.stop(), LIMIT_S)
            await response.read()  # it ends as it should, not cut off


async def test_models_are_promoted_and_rolled_back(one: Labeler) -> None:
    heard = Listener(one.bus)
    await heard.start(ModelPromoted)
    empty = await one.get("/v1/models")
    assert empty == {"live": None, "models": []}
    assert (await one.call("POST", "/v1/models/v1/promotions")).code == "not_found"
    assert (await one.call("POST", "/v1/models/rollback")).code == "not_found"
    assert (await one.call("POST", "/v1/models/..%2Flive/promotions")).code == "not_found"
    assert await one.blobs.head(LIVE_KEY) is None
    for version in ("v1", "v2"):
        await put_model(one.blobs, version, live=False)
        answer = await one.call("POST", f"/v1/models/{version}/promotions", json={"reason": "it is better"})
        assert (answer.status, answer.json["version"], answer.json["reason"]) == (202, version, "it is better")
    assert (await one.get("/v1/models"))["live"]["version"] == "v2"
    back = (await one.call("POST", "/v1/models/rollback")).json
    assert (back["version"], back["generation"]) == ("v1", 3)
    await eventually(lambda: [event.version for event in heard.events(ModelPromoted)] == ["v1", "v2", "v1"])
    assert [event.generation for event in heard.events(ModelPromoted)] == [1, 2, 3]


async def test_a_versions_files_are_answered_as_they_are(one: Labeler) -> None:
    await put_model(one.blobs, "v1")
    card = (await one.blobs.get(card_key("v1"))).data
    assert (await one.call("GET", "/v1/models/v1/files/card.json")).body == card
    model = await one.call("GET", "/v1/models/v1/files/model.onnx")
    assert hashlib.sha256(model.body).hexdigest() == json.loads(card)["sha256"]
    assert (await one.call("GET", "/v1/models/v1/files/evaluation.json")).code == "not_found"
    key = "models/v1/evaluation-0123456789abcdef.json"
    await one.blobs.put(key, b'{"groups": []}')
    await one.blobs.put(card_key("v1"), json.dumps({**json.loads(card), "evaluation": key}).encode())
    assert (await one.call("GET", "/v1/models/v1/files/evaluation.json")).json == {"groups": []}
    for missing in ("v1/files/live.json", "v9/files/card.json", "..%2Flive/files/card.json"):
        assert (await one.call("GET", f"/v1/models/{missing}")).code == "not_found"


async def test_a_model_whose_file_was_removed_is_listed_and_not_promoted(one: Labeler) -> None:
    for version in ("v1", "v2"):
        await put_model(one.blobs, version, live=version == "v2")
        trained = ModelTrained(
            run_id=version,
            campaign_id=uuid4(),
            dataset_version="ds",
            version=version,
            key=model_key(version),
            sha256="0" * 64,
            metrics={},
            promoted=True,
        )
        await one.publish(trained)
    await one.blobs.delete(model_key("v1"))

    async def listed() -> bool:
        models = (await one.get("/v1/models"))["models"]
        return {model["version"]: model["stored"] for model in models} == {"v1": False, "v2": True}

    await eventually(listed)
    answer = await one.call("POST", "/v1/models/v1/promotions", json={})
    assert (answer.status, answer.code) == (404, "not_found")
    live = await read_live(one.blobs)
    assert live is not None
    assert live.version == "v2"


@pytest.mark.parametrize("before", [None, "v1"])
async def test_a_model_whose_file_is_removed_while_it_goes_live_is_set_back(
    one: Labeler, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    heard = Listener(one.bus)
    await heard.start(ModelPromoted)
    if before is not None:
        await put_model(one.blobs, before)
    await put_model(one.blobs, "v2", live=False)
    was = await read_live(one.blobs)

    async def make_live_and_lose_it(blobs: Blobs, **named: Any) -> LiveModel:
        live = await make_live(blobs, **named)
        await blobs.delete(model_key("v2"))
        return live

    monkeypatch.setattr("services.labeler_api.web.routes.models.make_live", make_live_and_lose_it)
    answer = await one.call("POST", "/v1/models/v2/promotions", json={})
    assert (answer.status, answer.code) == (404, "not_found")
    back = None if was is None else was.model_copy(update={"generation": was.generation + 2})
    assert await read_live(one.blobs) == back
    await one.settled()
    assert heard.events(ModelPromoted) == []


async def test_an_import_is_told_to_the_augmenter_once(one: Labeler) -> None:
    data = png(9)
    await one.upload(data, condition="acne", severity="mild")
    await one.upload(data, condition="acne", severity="mild")
    await one.settled()
    assert [type(event) for event in one.augmenter.labeled] == [ImageLabeled]
    assert one.augmenter.labeled[0].reviewer == "import"


async def test_a_list_of_rebalances_is_as_long_as_asked_and_leaves_out_the_trainings_history(one: Labeler) -> None:
    ids = [await one.rebalance(targets={"acne": 0}) for _ in range(3)]
    for epoch in (1, 2):
        await one.publish(
            TrainingProgressed(
                run_id="r", campaign_id=UUID(ids[-1]), epoch=epoch, epochs=9, train_loss=0.5, validation_loss=0.6
            )
        )

    async def two() -> bool:
        training = (await one.campaign(ids[-1]))["training"]
        return training is not None and len(training["history"]) == 2

    await eventually(two)
    listed = (await one.get("/v1/rebalances", params={"limit": "2"}))["rebalances"]
    assert [campaign["id"] for campaign in listed] == ids[:0:-1]
    assert listed[0]["training"]["epoch"] == 2
    assert "history" not in listed[0]["training"]
    assert len((await one.get("/v1/rebalances"))["rebalances"]) == 3
    for limit in ("0", "201", "many"):
        assert (await one.call("GET", "/v1/rebalances", params={"limit": limit})).code == "invalid_request"
