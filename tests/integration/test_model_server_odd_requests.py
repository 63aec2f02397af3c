"""What the model-server says to requests that no client of ours sends: a problem, never a 500."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.embedded.blobs import DirectoryBlobs
from tests.fakes.pictures import png
from tests.integration.odd_requests import (
    FORM,
    JSON,
    ODD_KEYS,
    ODD_SEGMENTS,
    ODD_TEXTS,
    assert_codings_and_expectations,
    form,
    send,
)
from tests.unit.model_server.serving import Running, running
from tests.unit.model_server.tiny_model import SIZE, put_model

INFER = "/v2/models/evenskin/infer"
TENSOR = {"name": "image", "shape": [1, SIZE, SIZE, 3], "datatype": "UINT8", "data": [128] * (SIZE * SIZE * 3)}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1", at=datetime(2026, 1, 1, tzinfo=UTC))
    async with running(tmp_path, infer_max_batch=2) as started:
        yield started


@pytest.mark.parametrize("name", ["lone surrogate", "no utf-8"])
async def test_text_that_is_no_unicode_is_refused(server: Running, name: str) -> None:
    text, tensor = ODD_TEXTS[name], json.dumps(TENSOR).encode()
    for body in (
        b'{"id": "%b", "inputs": [' + tensor + b"]}",
        b'{"inputs": [{"name": "%b", "shape": [], "datatype": "UINT8", "data": []}]}',
        b'{"inputs": [{"name": "image", "shape": [], "datatype": "%b", "data": []}]}',
        b'{"inputs": [' + tensor + b'], "outputs": [{"name": "%b"}]}',
        b'{"inputs": [' + tensor + b'], "parameters": {"%b": 1}}',
    ):
        answer = await send(server.service.port or 0, "POST", INFER, JSON, body=body.replace(b"%b", text))
        assert answer.is_refusal(), (body[:60], answer)


@pytest.mark.parametrize("segment", ODD_SEGMENTS)
async def test_odd_paths_find_nothing(server: Running, segment: str) -> None:
    for path in ("/v2/models/{}", "/v2/models/evenskin/versions/{}", "/static/{}", "/v2/{}"):
        answer = await send(server.service.port or 0, "GET", path.format(segment))
        assert answer.is_refusal(), (path, answer)
        assert path.startswith("/static") or json.loads(answer.body)["error"]
    assert (await send(server.service.port or 0, "POST", f"/v1/predictions?heatmap={segment}", JSON)).is_refusal()


async def test_codings_and_expectations_that_are_not_known_are_refused(server: Running) -> None:
    await assert_codings_and_expectations(server.service.port or 0, "/v1/predictions", b"Content-Type: image/png")
    await assert_codings_and_expectations(server.service.port or 0, INFER, JSON)


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip", b"deflate", b"br", b"zstd"])
async def test_damaged_encodings_are_refused(
    server: Running, encoding: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    coding = b"Content-Encoding: " + encoding
    for path, kind in (("/v1/predictions", b"Content-Type: image/png"), ("/v1/predictions", FORM), (INFER, JSON)):
        answer = await send(server.service.port or 0, "POST", path, kind, coding, body=b"not compressed")
        assert (answer.status, answer.is_refusal()) == (400, True), (path, answer)
        assert json.loads(answer.body)["code"] == "body_damaged"
    kind = b"Content-Type: image/\xff"
    answer = await send(server.service.port or 0, "POST", "/v1/predictions", kind, coding, body=b"not compressed")
    assert answer.is_refusal()
    assert "Traceback" not in caplog.text + capsys.readouterr().out


async def test_bodies_may_be_compressed_by_gzips_old_name(server: Running) -> None:
    picture = png(2)
    sent = {
        ("/v1/predictions", b"Content-Type: image/png"): picture,
        ("/v1/predictions", FORM): form(image=picture),
        (INFER, JSON): json.dumps({"inputs": [TENSOR]}).encode(),
    }
    for (path, kind), body in sent.items():
        coding = b"Content-Encoding: x-gzip"
        answer = await send(server.service.port or 0, "POST", path, kind, coding, body=gzip.compress(body))
        assert answer.status == 200, (path, answer)


async def test_a_key_that_is_no_unicode_is_a_wrong_one(tmp_path: Path) -> None:
    async with running(tmp_path, api_key="secret") as server:
        for header in ODD_KEYS:
            answer = await send(server.service.port or 0, "GET", "/v2", header)
            assert (answer.status, answer.is_refusal()) == (401, True), header
            assert json.loads(answer.body)["error"]
