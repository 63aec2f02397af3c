"""`evenskin models export` to a bucket."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.console import cli
from shared.adapters import open_bucket
from tests.fakes.evenskin_server import FakeServer, serve_in_thread
from tests.fakes.model_cards import MODEL, card


@pytest.fixture
def server() -> Iterator[FakeServer]:
    yield from serve_in_thread(FakeServer())


async def test_a_version_is_put_whole_and_never_replaced(
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    s3_endpoint_url: str,
    s3_bucket: str,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENSKIN_LABELER_URL", server.url)
    monkeypatch.setenv("EVENSKIN_S3_ENDPOINT_URL", s3_endpoint_url)
    place = f"s3://{s3_bucket}/models/v1"

    def has_model(model: bytes) -> None:
        found = card("v1", sha256=hashlib.sha256(model).hexdigest())
        server.model_files = {"v1/card.json": found.model_dump_json().encode(), "v1/model.onnx": model}

    has_model(MODEL)
    for _ in range(2):  # again: nothing to do
        assert await asyncio.to_thread(cli.invoke, ["models", "export", "v1", place]) == 0
    has_model(b"another")
    assert await asyncio.to_thread(cli.invoke, ["models", "export", "v1", place]) == 2
    assert "error[conflict]: There is another 'model.onnx'" in capsys.readouterr().err
    bucket = open_bucket(place, s3_endpoint_url)
    try:
        names = [blob.key async for blob in bucket.list("")]
        assert names == ["DATASHEET.md", "MODEL_CARD.md", "card.json", "model.onnx"]
        assert (await bucket.get("model.onnx")).data == MODEL
        assert card("v1").model_dump_json().encode() == (await bucket.get("card.json")).data
    finally:
        await bucket.close()
