"""The model-server's OpenAPI description: every route is in it, and what every route answers is as it says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from openapi_spec_validator import validate

from docs.pictures_page import example_answer, example_refusal
from services.model_server.openapi import document
from services.model_server.prediction import crop_of
from services.model_server.settings import ModelServerSettings
from shared.embedded.blobs import DirectoryBlobs
from shared.frames import Frame
from tests.integration.description import Description, routes
from tests.unit.model_server.pictures import encoded, face
from tests.unit.model_server.serving import Answered, Running, form, running
from tests.unit.model_server.tiny_model import SIZE, put_model
from tests.unit.shared.portraits import drawn, drawn_file, placed

KEY = "secret"
OPEN = {("get", path) for path in ("/", "/healthz", "/readyz", "/metrics", "/static/{file}")}
TENSOR = {"name": "image", "shape": [1, SIZE, SIZE, 3], "datatype": "UINT8", "data": [128] * (SIZE * SIZE * 3)}
JPEG = {"Content-Type": "image/jpeg"}
MODELS = ("/v2/models/evenskin", "/v2/models/evenskin/versions/v1")


class Asker:
    """Asks a running service, and holds every answer to the description."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.description = Description(document(ModelServerSettings.load(_env_file=None, api_key=KEY)))

    async def ask(self, method: str, path: str, status: int, **options: Any) -> Answered:
        """One request with the key, which must be answered so."""
        options["headers"] = {"X-API-Key": KEY, **options.get("headers", {})}
        answer = await self.server.ask(method, path, **options)
        self.description.check(method, path, answer.status, answer.headers, answer.body)
        assert answer.status == status, answer.body
        return answer


def test_the_description_is_proper_openapi() -> None:
    for key in (None, KEY):
        validate(document(ModelServerSettings.load(_env_file=None, api_key=key)))


async def test_every_route_is_described(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        runner = server.service._runner
        assert isinstance(runner, web.AppRunner)
        described = Description((await server.ask("GET", "/openapi.json")).json)
        assert described.operations == routes(runner.app)


async def test_every_answer_is_as_described(tmp_path: Path) -> None:
    async with running(tmp_path / "without a model", api_key=KEY) as server:
        asker = Asker(server)
        assert (await asker.ask("GET", "/openapi.json", 200)).json == asker.description.document
        for path in ("/readyz", "/v1/model", "/v2/health/ready", *MODELS, *(f"{model}/ready" for model in MODELS)):
            assert (await asker.ask("GET", path, 503)).code == "no_model"
        for path in ("/v1/predictions", "/v1/predictions/batch", *(f"{model}/infer" for model in MODELS)):
            assert (await asker.ask("POST", path, 503, data=b"x")).code == "no_model"
        for method, path in asker.description.operations - OPEN:
            answer = await server.ask(method.upper(), path)
            asker.description.check(method, path, answer.status, answer.headers, answer.body)
            assert answer.code == "unauthorized"
        await asker.ask("GET", "/static/none.js", 404)
        without_problems = {("get", path) for path in ("/", "/healthz", "/metrics")}
        assert asker.description.unseen(least=400) == without_problems

    home = tmp_path / "with a model"
    await put_model(DirectoryBlobs(home / "store"), "v1", at=datetime(2026, 1, 1, tzinfo=UTC))
    async with running(home, api_key=KEY, max_image_bytes=300_000, infer_max_batch=2) as server:
        asker.server = server
        await _predictions(asker)
        await _protocol(asker)
        for path in ("/", "/healthz", "/readyz", "/metrics", "/v1/model", "/static/page.js", "/static/style.css"):
            await asker.ask("GET", path, 200)
        assert asker.description.unseen(below=400) == set()
    async with running(home, api_key=KEY, face_policy="require") as server:
        asker.server = server
        refused = await asker.ask("POST", "/v1/predictions", 422, data=encoded(face()), headers=JPEG)
        assert set(refused.json) > {"reasons", "portrait"}
    async with running(home, api_key=KEY, faces="off") as server:
        asker.server = server
        answer = await asker.ask("POST", "/v1/predictions", 200, data=drawn_file(), headers=JPEG)
        assert (answer.json["face_search"], answer.json["frame"]["found"]) == ("off", None)


def _shape(value: Any) -> Any:
    """The names in a document, without what they say."""
    if isinstance(value, dict):
        return {name: _shape(part) for name, part in value.items()}
    return [_shape(value[0])] if isinstance(value, list) and value else None


async def test_the_examples_in_the_docs_are_answers_as_they_are(tmp_path: Path) -> None:
    description = Description(document(ModelServerSettings.load(_env_file=None)))
    examples = {200: ("application/json", example_answer()), 422: ("application/problem+json", example_refusal())}
    for status, (media_type, example) in examples.items():
        body = json.dumps(example).encode()
        description.check("post", "/v1/predictions", status, {"Content-Type": media_type}, body)
    frame = Frame.model_validate(example_answer()["frame"])
    assert crop_of(frame).json_object() == example_answer()["image"]["crop"]

    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path) as server:
        answer = await server.predict(encoded(placed(drawn(), 0.4, 700), quality=95))
        assert _shape(answer.json) == _shape(example_answer())
    async with running(tmp_path, face_policy="require") as server:
        refused = await server.predict(encoded(face()))
        assert (refused.status, _shape(refused.json)) == (422, _shape(example_refusal()))


async def _predictions(asker: Asker) -> None:
    picture = encoded(face())
    await asker.ask("POST", "/v1/predictions", 200, data=picture, headers=JPEG)
    await asker.ask("POST", "/v1/predictions?heatmap=1", 200, data=form(picture))
    await asker.ask("POST", "/v1/predictions?heatmap=overlay", 200, data=drawn_file(), headers=JPEG)
    await asker.ask("POST", "/v1/predictions?heatmap=perhaps", 422, data=picture, headers=JPEG)
    for data, status in ((b"", 422), (b"text", 415), (picture[:2000], 422), (b"x" * 400_000, 413)):
        await asker.ask("POST", "/v1/predictions", status, data=data, headers=JPEG)
    several = form(picture)
    several.add_field("image", b"text", filename="notes.txt")
    await asker.ask("POST", "/v1/predictions/batch?heatmap=1", 200, data=several)
    await asker.ask("POST", "/v1/predictions/batch", 415, data=picture, headers=JPEG)
    await asker.ask("POST", "/v1/predictions/batch", 422, data=form(picture, "file"))


async def _protocol(asker: Asker) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        await asker.ask("GET", path, 200)
    for model in MODELS:
        await asker.ask("GET", model, 200)
        await asker.ask("GET", f"{model}/ready", 200)
        await asker.ask("POST", f"{model}/infer", 200, json={"inputs": [TENSOR]})
        await asker.ask("POST", f"{model}/infer", 200, json={"id": "mine", "inputs": [TENSOR], "parameters": {}})
        await asker.ask("POST", f"{model}/infer", 422, json={"inputs": []})
        await asker.ask("POST", f"{model}/infer", 413, data=b" " * 2_000_000)
    for model in ("/v2/models/other", "/v2/models/evenskin/versions/v9"):
        await asker.ask("GET", model, 404)
        await asker.ask("GET", f"{model}/ready", 404)
        await asker.ask("POST", f"{model}/infer", 404, json={"inputs": [TENSOR]})
