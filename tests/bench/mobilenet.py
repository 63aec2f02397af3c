"""MobileNetV3-small with weights of chance, as ONNX: as much work as a usual model for phones, whatever it answers.

Layers as in Howard et al., "Searching for MobileNetV3" (ICCV 2019), table 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shared.model_card import INPUT_NAME, METADATA_KEY, OUTPUT_NAMES

# Of each block: kernel, channels inside, channels out, squeeze-and-excitation, hard swish, stride.
_BLOCKS = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
_STEM, _LAST, _HEAD = 16, 576, 1024  # channels


class _Graph:
    """Nodes and weights, added one after the other; each method returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: np.ndarray[Any, Any]) -> str:
        """One tensor."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def convolution(
        self, value: str, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        """A convolution with bias: its batch normalisation is folded in, as in every served model."""
        shape = (outputs, inputs // groups, kernel, kernel)
        weights = self._random.normal(0, (2 / (shape[1] * kernel * kernel)) ** 0.5, shape).astype(np.float32)
        bias = self.constant(np.zeros(outputs, np.float32))
        pads, strides = [kernel // 2] * 4, [stride] * 2
        return self.add("Conv", value, self.constant(weights), bias, pads=pads, strides=strides, group=groups)

    def block(self, value: str, inputs: int, sizes: tuple[int, int, int, bool, bool, int]) -> str:
        """An inverted residual."""
        kernel, inside, outputs, squeezes, swishes, stride = sizes
        activation = "HardSwish" if swishes else "Relu"
        hidden = self.add(activation, self.convolution(value, inputs, inside)) if inside != inputs else value
        hidden = self.add(activation, self.convolution(hidden, inside, inside, kernel, stride, inside))
        if squeezes:
            less = -(-inside // 32) * 8  # a quarter, in eights
            pooled = self.add("Relu", self.convolution(self.add("GlobalAveragePool", hidden), inside, less))
            gate = self.add("HardSigmoid", self.convolution(pooled, less, inside), alpha=1 / 6, beta=0.5)
            hidden = self.add("Mul", hidden, gate)
        out = self.convolution(hidden, inside, outputs)
        return self.add("Add", out, value) if stride == 1 and inputs == outputs else out


def mobilenet(size: int, outputs: int = 7) -> bytes:
    """The model as ONNX. Input `image`, uint8 (1, size, size, 3); output `scores`, float32 (1, outputs)."""
    graph = _Graph()
    value = _pooled(graph, _body(graph, "image"), outputs)
    graph.nodes.append(helper.make_node("Flatten", [value], ["scores"]))
    return _written(graph, (1, size, size, 3), {"scores": (1, outputs)}, {})


def served_mobilenet(metadata: str, size: int, conditions: int) -> bytes:
    """The same with the inputs, outputs and metadata that the model-server asks for (`shared/model_card.py`)."""
    graph = _Graph()
    value = _body(graph, INPUT_NAME)
    scores = _pooled(graph, value, 4 * conditions)
    shape = graph.constant(np.array((-1, conditions, 4), np.int64))
    levels = graph.add("Reshape", graph.add("Flatten", scores), shape)
    maps = graph.convolution(value, _LAST, conditions)
    graph.nodes.append(helper.make_node("Softmax", [levels], [OUTPUT_NAMES[0]], axis=-1))
    graph.nodes.append(helper.make_node("Identity", [maps], [OUTPUT_NAMES[1]]))
    cells = -(-size // 32)
    shapes = {OUTPUT_NAMES[0]: ("n", conditions, 4), OUTPUT_NAMES[1]: ("n", conditions, cells, cells)}
    return _written(graph, ("n", size, size, 3), shapes, {METADATA_KEY: metadata})


def _body(graph: _Graph, image: str) -> str:
    """Everything up to the last map of features."""
    value = graph.add("Transpose", graph.add("Cast", image, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    value = graph.add("Mul", value, graph.constant(np.array(1 / 255, np.float32)))
    value, channels = graph.add("HardSwish", graph.convolution(value, 3, _STEM, 3, 2)), _STEM
    for sizes in _BLOCKS:
        value, channels = graph.block(value, channels, sizes), sizes[2]
    return graph.add("HardSwish", graph.convolution(value, channels, _LAST))


def _pooled(graph: _Graph, value: str, outputs: int) -> str:
    """The head: (n, outputs, 1, 1)."""
    value = graph.add("GlobalAveragePool", value)
    value = graph.add("HardSwish", graph.convolution(value, _LAST, _HEAD))
    return graph.convolution(value, _HEAD, outputs)


Shape = tuple[int | str, ...]


def _written(graph: _Graph, taken: Shape, given: dict[str, Shape], properties: dict[str, str]) -> bytes:
    made = helper.make_graph(
        graph.nodes,
        "mobilenet_v3_small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, list(taken))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in given.items()],
        graph.weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
