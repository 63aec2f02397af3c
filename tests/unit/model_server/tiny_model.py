"""Tiny ONNX models that keep the graph contract of `shared/model_card.py`, built without torch."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from shared.blobs import Blobs
from shared.events import ModelPromoted
from shared.model_card import (
    INPUT_NAME,
    LIVE_KEY,
    METADATA_KEY,
    OUTPUT_NAMES,
    LiveModel,
    ModelCard,
    ModelMetadata,
    card_key,
    model_key,
)
from shared.preprocessing import NEWEST
from shared.taxonomy import Condition

SIZE = 96  # pixels of the input: large enough that resizing differently stored pictures hardly differs
CELLS = 6  # rows and columns of the activation map
CONDITIONS = len(Condition)


def metadata(version: str, **changes: Any) -> ModelMetadata:
    """Metadata as the trainer writes it."""
    fields: dict[str, Any] = {
        "version": version,
        "input_size": SIZE,
        "conditions": tuple(Condition),
        "severities": ("absent", "mild", "moderate", "severe"),
        "thresholds": dict.fromkeys(Condition, 0.5),
        "preprocessing": NEWEST.described(SIZE),
        "dataset_version": "d1",
        "providers": {"imported": 3},
        "warnings": ("A made-up model for tests.",),
    }
    return ModelMetadata(**{**fields, **changes})


def tiny_model(
    version: str = "v1",
    *,
    seed: int = 0,
    opset: int = 18,
    input_name: str = INPUT_NAME,
    input_type: int = TensorProto.UINT8,
    input_shape: tuple[Any, ...] = ("batch", SIZE, SIZE, 3),
    outputs: tuple[str, str] = OUTPUT_NAMES,
    bias: float = 0.0,
    properties: dict[str, str] | None = None,
    **metadata_changes: Any,
) -> bytes:
    """An ONNX file. Its answer depends on where in the picture colours are, so that a wrong turn is noticed.

    `bias` is added to every logit: NaN makes a model that loads and gives no usable answer.
    """
    random = np.random.default_rng(seed)
    mixed = random.normal(0, 1, (3, CONDITIONS)).astype(np.float32)
    places = random.normal(0, 1, (CONDITIONS, CELLS, CELLS)).astype(np.float32)
    levels = random.normal(0, 0.5, (CONDITIONS, 4)).astype(np.float32)
    offsets = (random.normal(0, 1, (CONDITIONS, 4)) + bias).astype(np.float32)
    constants: dict[str, np.ndarray[Any, Any]] = {
        "scale": np.array(1 / 64, np.float32),
        "middle": np.array(2, np.float32),
        "mixed": mixed,
        "places": places,
        "levels": levels,
        "offsets": offsets,
        "last": np.array([-1], np.int64),
        "cells": np.array([2, 3], np.int64),
    }
    side = SIZE // CELLS
    nodes = [
        helper.make_node("Cast", [input_name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "middle"], ["centred"]),
        helper.make_node("MatMul", ["centred", "mixed"], ["evidence"]),
        helper.make_node("Transpose", ["evidence"], ["maps"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["maps"], [outputs[1]], kernel_shape=[side, side], strides=[side, side]),
        helper.make_node("Mul", [outputs[1], "places"], ["placed"]),
        helper.make_node("ReduceSum", ["placed", "cells"], ["summed"], keepdims=0),
        helper.make_node("Unsqueeze", ["summed", "last"], ["column"]),
        helper.make_node("Mul", ["column", "levels"], ["spread"]),
        helper.make_node("Add", ["spread", "offsets"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [outputs[0]], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, input_type, list(input_shape))],
        [
            helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, [input_shape[0], CONDITIONS, 4]),
            helper.make_tensor_value_info(outputs[1], TensorProto.FLOAT, [input_shape[0], CONDITIONS, CELLS, CELLS]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    if properties is None:
        properties = {METADATA_KEY: metadata(version, **metadata_changes).model_dump_json()}
    helper.set_model_props(model, properties)
    data: bytes = model.SerializeToString()
    return data


def live_model(version: str, data: bytes, *, at: datetime | None = None, generation: int = 0) -> LiveModel:
    """The pointer to a model's bytes."""
    return LiveModel(
        version=version,
        key=model_key(version),
        sha256=hashlib.sha256(data).hexdigest(),
        generation=generation,
        promoted_at=at or datetime.now(UTC),
        reason="a test",
    )


async def put_model(
    blobs: Blobs,
    version: str,
    data: bytes | None = None,
    *,
    at: datetime | None = None,
    generation: int = 0,
    live: bool = True,
) -> ModelPromoted:
    """Put a model, its card and (if `live`) the pointer into the store. Returns the event that tells of it."""
    data = data if data is not None else tiny_model(version, seed=sum(version.encode()))
    pointer = live_model(version, data, at=at, generation=generation)
    card = ModelCard(
        version=version,
        key=pointer.key,
        sha256=pointer.sha256,
        run_id="run",
        campaign_id="campaign",
        dataset_version="d1",
        created_at=pointer.promoted_at,
        metadata=metadata(version),
        metrics={"overall": {"accuracy": 0.5}},
        comparison=None,
        parity={"max_abs_difference": 0.0},
        config={},
        intended_use="Tests.",
    )
    await blobs.put(pointer.key, data)
    await blobs.put(card_key(version), card.model_dump_json().encode())
    if live:
        await blobs.put(LIVE_KEY, pointer.model_dump_json().encode())
    return ModelPromoted.model_validate(pointer.model_dump())
