"""Writes PyTorch modules that take pictures as ONNX files."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import nn

from shared.model_card import INPUT_NAME

OPSET = 18  # the first with every operator used here in its present form; ONNX Runtime has read it since 1.14


def write_graph(
    module: nn.Module, size: int, outputs: Sequence[str], path: Path, properties: Mapping[str, str] | None = None
) -> None:
    """Write a module that takes uint8 (N, size, size, 3), N as it comes, and check the file's form.

    `outputs`: names of its outputs; `properties`: the file's metadata.
    """
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    with _quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[INPUT_NAME],
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    onnx.helper.set_model_props(graph, dict(properties or {}))
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, str(path), format="protobuf")


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's notes about itself out of the log; its errors are raised all the same."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # it tells of torchvision's operators, which are not used
    try:
        with warnings.catch_warnings():
            # torch 2.13 calls its own deprecated tree functions while it exports.
            warnings.filterwarnings("ignore", category=FutureWarning, message=r".*LeafSpec.*")
            yield
    finally:
        exporter.setLevel(level)
