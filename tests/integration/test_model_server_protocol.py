"""The Open Inference Protocol v2, as its clients see it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.embedded.blobs import DirectoryBlobs
from tests.unit.model_server.serving import Running, running
from tests.unit.model_server.tiny_model import SIZE, put_model


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1", at=datetime(2026, 1, 1, tzinfo=UTC))
    async with running(tmp_path, infer_max_batch=2) as started:
        yield started


def tensor(n: int = 1, **changes: Any) -> dict[str, Any]:
    shape = [n, SIZE, SIZE, 3]
    made = {"name": "image", "shape": shape, "datatype": "UINT8", "data": [128] * (n * SIZE * SIZE * 3)}
    return {"inputs": [{**made, **changes}]}


INFER = "/v2/models/evenskin/infer"


async def test_the_inference_protocol_answers(server: Running) -> None:
    assert (await server.ask("GET", "/v2")).json["name"]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/evenskin/ready"):
        assert (await server.ask("GET", path)).status == 200
    model = (await server.ask("GET", "/v2/models/evenskin/versions/v1")).json
    assert model["versions"] == ["v1"]
    assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]}]
    answer = (await server.ask("POST", INFER, json={**tensor(2), "id": "mine"})).json
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("evenskin", "v1", "mine")
    assert [(out["name"], out["shape"]) for out in answer["outputs"]] == [
        ("severity_probabilities", [2, 7, 4]),
        ("activation", [2, 7, 6, 6]),
    ]
    assert sum(answer["outputs"][0]["data"]) == pytest.approx(14, abs=1e-4)
    nested = [[[[128] * 3] * SIZE] * SIZE]
    one = await server.ask("POST", INFER, json={**tensor(data=nested), "outputs": [{"name": "severity_probabilities"}]})
    assert [out["data"] for out in one.json["outputs"]] == [pytest.approx(answer["outputs"][0]["data"][:28], abs=1e-5)]


def binary(body: dict[str, Any], behind: bytes = b"", **changes: str) -> dict[str, Any]:
    """What to ask with: bytes behind the JSON, as the extension has them."""
    text = json.dumps(body).encode()
    return {"data": text + behind, "headers": {"Inference-Header-Content-Length": str(len(text)), **changes}}


def sized(size: int, n: int = 1) -> dict[str, Any]:
    (made,) = tensor(n)["inputs"]
    return {"inputs": [{**{k: v for k, v in made.items() if k != "data"}, "parameters": {"binary_data_size": size}}]}


async def test_tensors_may_be_bytes_behind_the_json(server: Running) -> None:
    assert (await server.ask("GET", "/v2")).json["extensions"] == ["binary_tensor_data"]
    as_text = (await server.ask("POST", INFER, json=tensor(2))).json["outputs"]
    size = 2 * SIZE * SIZE * 3
    asked = binary({**sized(size, 2), "parameters": {"binary_data_output": True}}, bytes([128]) * size)
    answer = await server.ask("POST", INFER, **asked)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
    length = int(answer.headers["Inference-Header-Content-Length"])
    told, behind = json.loads(answer.body[:length]), answer.body[length:]
    for output, same in zip(told["outputs"], as_text, strict=True):
        size = output["parameters"]["binary_data_size"]
        numbers, behind = np.frombuffer(behind[:size], "<f4"), behind[size:]
        assert (output["shape"], "data" in output) == (same["shape"], False)
        assert numbers.tolist() == pytest.approx(same["data"], abs=1e-6)
    assert behind == b""
    outputs = [{"name": "activation", "parameters": {"binary_data": True}}, {"name": "severity_probabilities"}]
    mixed = await server.ask("POST", INFER, json={**tensor(2), "outputs": outputs})
    told = json.loads(mixed.body[: int(mixed.headers["Inference-Header-Content-Length"])])
    assert [("data" in output, "parameters" in output) for output in told["outputs"]] == [(False, True), (True, False)]


WHOLE = SIZE * SIZE * 3


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (binary(sized(WHOLE), bytes(WHOLE - 1)), "binary_data_size"),
        (binary(sized(WHOLE - 1), bytes(WHOLE - 1)), "binary_data_size"),
        (binary(sized(-1), b""), "binary_data_size"),
        (binary(tensor(parameters={"binary_data_size": WHOLE}), bytes(WHOLE)), "binary_data_size"),
        (binary(tensor(), b"more"), "data"),
        (binary({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, SIZE, SIZE, 3]}]}), "data"),
        *(
            (binary(sized(WHOLE), bytes(WHOLE), **{"Inference-Header-Content-Length": length}), "Length")
            for length in ("", "-1", "1e3", "9" * 11, "9" * 5000, "x")
        ),
    ],
)
async def test_bytes_that_are_no_tensor_are_told(server: Running, asked: dict[str, Any], told: str) -> None:
    answer = await server.ask("POST", INFER, **asked)
    assert (answer.status, answer.code) == (422, "invalid_request")
    assert told in answer.json["detail"]


BAD_TENSORS: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "not JSON"),
    "deep nesting": (b"[" * 100_000, "JSON"),
    "a list": ([], "object"),
    "no inputs": ({"inputs": []}, "inputs"),
    "other name": (tensor(name="x"), "image"),
    "other type": (tensor(datatype="FP32"), "UINT8"),
    "other shape": (tensor(shape=[1, 3, SIZE, SIZE]), "shape"),
    "negative batch": (tensor(shape=[-1, SIZE, SIZE, 3]), "shape"),
    "large batch": (tensor(3), "at most 2"),
    "too few numbers": (tensor(data=[1, 2, 3]), "shape"),
    "ragged": (tensor(data=[[1], [2, 3]]), "tensor"),
    "too large numbers": (tensor(data=[256] * (SIZE * SIZE * 3)), "0 to 255"),
    "negative numbers": (tensor(data=[-1] * (SIZE * SIZE * 3)), "0 to 255"),
    "huge numbers": (tensor(data=[10**30] + [1] * (SIZE * SIZE * 3 - 1)), "0 to 255"),
    "text": (tensor(data=["a"] * (SIZE * SIZE * 3)), "0 to 255"),
    "no numbers": (tensor(data=[]), "whole numbers"),
    "unknown output": ({**tensor(), "outputs": [{"name": "x"}]}, "output"),
}


@pytest.mark.parametrize(("body", "told"), BAD_TENSORS.values(), ids=BAD_TENSORS.keys())
async def test_a_bad_tensor_is_told_so_in_both_ways(server: Running, body: Any, told: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await server.ask("POST", INFER, data=data, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.code) == (422, "invalid_request")
    assert told in answer.json["detail"] + answer.json.get("advice", "")
    assert answer.json["error"] == answer.json["detail"]


async def test_another_model_or_version_is_not_found(server: Running) -> None:
    for path in ("/v2/models/other", "/v2/models/evenskin/versions/v9", "/v2/models/evenskin/versions/v9/ready"):
        assert (await server.ask("GET", path)).code == "not_found"
    too_much = await server.ask("POST", INFER, data=b" " * 2_000_000)
    assert too_much.status == 413
