"""The predictor: what it loads, what it refuses, what it answers."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from services.model_server.predictor import LEVELS, Predictor
from shared.errors import InvalidRequest, ModelInvalid
from shared.model_card import METADATA_KEY
from shared.taxonomy import Condition
from tests.unit.model_server.tiny_model import CELLS, CONDITIONS, SIZE, metadata, tiny_model


def pictures(n: int) -> np.typing.NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


def test_answers_a_batch_as_it_answers_each_picture() -> None:
    predictor = Predictor.load(tiny_model())
    batch = pictures(3)

    together = predictor.predict(batch)

    assert together.probabilities.shape == (3, CONDITIONS, len(LEVELS))
    assert together.activation.shape == (3, CONDITIONS, CELLS, CELLS)
    assert together.probabilities.sum(axis=-1) == pytest.approx(np.ones((3, CONDITIONS)), abs=1e-5)
    for index in range(3):
        alone = predictor.predict(batch[index : index + 1])
        assert alone.probabilities[0] == pytest.approx(together.probabilities[index], abs=1e-5)


def test_keeps_the_metadata_that_came_in_the_file() -> None:
    predictor = Predictor.load(tiny_model("v7"))
    assert predictor.metadata == metadata("v7")
    assert predictor.input_shape == (SIZE, SIZE, 3)
    predictor.warm_up()


def test_a_right_digest_passes_and_a_wrong_one_does_not() -> None:
    data = tiny_model()
    Predictor.load(data, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(ModelInvalid, match="SHA-256"):
        Predictor.load(data, sha256="0" * 64)


WRONG_FILES: dict[str, bytes] = {
    "empty": b"",
    "text": b"this is no model",
    "cut off": tiny_model()[:500],
}


@pytest.mark.parametrize("data", WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_refuses_what_is_not_onnx(data: bytes) -> None:
    with pytest.raises(ModelInvalid, match="ONNX"):
        Predictor.load(data)


def _stored(**changes: Any) -> dict[str, str]:
    return {METADATA_KEY: json.dumps({**metadata("v1").model_dump(mode="json"), **changes})}


WRONG_GRAPHS: dict[str, tuple[dict[str, Any], str]] = {
    "no metadata": ({"properties": {}}, "not one of evenskin's"),
    "metadata is no JSON": ({"properties": {METADATA_KEY: "{"}}, "metadata is wrong"),
    "metadata without a version": ({"properties": {METADATA_KEY: "{}"}}, "version"),
    "unknown condition": ({"properties": _stored(conditions=["freckles"])}, "metadata is wrong"),
    "a condition is missing": ({"conditions": tuple(Condition)[1:]}, "seven conditions"),
    "a condition twice": ({"conditions": (*tuple(Condition)[1:], Condition.AGING)}, "seven conditions"),
    "other severities": ({"severities": ("absent", "low", "high")}, "severities"),
    "a threshold is missing": ({"thresholds": {Condition.ACNE: 0.5}}, "threshold"),
    "a threshold above 1": ({"thresholds": dict.fromkeys(Condition, 1.5)}, "threshold"),
    "absurd size": ({"input_size": 100_000}, "input size"),
    "size is not the graph's": ({"input_size": SIZE * 2}, "'image' is tensor"),
    "other input name": ({"input_name": "pixels"}, "inputs"),
    "float input": ({"input_type": TensorProto.FLOAT}, "tensor\\(uint8\\)"),
    "one batch size only": ({"input_shape": (1, SIZE, SIZE, 3)}, "one size"),
    "other output name": ({"outputs": ("severity_probabilities", "heat")}, "lacks the outputs"),
}


@pytest.mark.parametrize(("changes", "told"), WRONG_GRAPHS.values(), ids=WRONG_GRAPHS.keys())
def test_refuses_a_model_that_breaks_the_contract(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelInvalid, match=told):
        Predictor.load(tiny_model(**changes))


def test_refuses_a_model_from_outside() -> None:
    foreign = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["x"], ["y"])],
            "foreign",
            [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=9,
    )
    with pytest.raises(ModelInvalid):
        Predictor.load(foreign.SerializeToString())


def test_a_model_that_gives_no_numbers_fails_its_warm_up() -> None:
    with pytest.raises(ModelInvalid, match="sum to 1"):
        Predictor.load(tiny_model(bias=math.nan)).warm_up()


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, SIZE, SIZE + 1, 3), np.uint8),
        np.zeros((SIZE, SIZE, 3), np.uint8),
        np.zeros((0, SIZE, SIZE, 3), np.uint8),
        np.zeros((1, SIZE, SIZE, 3), np.float32),
    ],
    ids=["shape", "no batch", "empty batch", "floats"],
)
def test_refuses_another_shape_or_type(batch: Any) -> None:
    with pytest.raises(InvalidRequest):
        Predictor.load(tiny_model()).predict(batch)
