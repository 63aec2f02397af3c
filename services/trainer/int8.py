"""Makes an INT8 copy of an exported model, and decides whether it may be served in its place.

Quantised is the pretrained backbone alone, statically, one scale for each channel, in ONNX Runtime's QDQ form (Jacob et
al., 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR): filters
and judges are small, and lose more than they gain. `python -m tests.bench.bench_int8` has the figures.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from services.trainer.data import FoldData
from services.trainer.evaluate import ExportedModel
from shared.model_card import INPUT_NAME, METADATA_KEY, ModelMetadata
from shared.taxonomy import Fold

CALIBRATION_PICTURES = 128  # of the training fold, evenly over it: the range of each map hardly grows after some dozens
LOSS = 0.005  # of mean balanced accuracy that may be lost: half a point
FASTER = 1.1  # times as fast as FP32 at least, else it is not worth another kind of file
ROUNDS = 30  # single pictures that each of the two answers in turn
WEIGHTS = "features.backbone."  # how the names of the backbone's weights begin
FOLLOWING = ("Clip", "Add", "Pad")  # operators between its convolutions, which are quantised with them

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Choice:
    """Whether the INT8 copy is served, why, and what was measured.

    `losses`: FP32's mean balanced accuracy less INT8's, by fold. `speedup`: FP32's time for one picture over INT8's.
    """

    chosen: bool
    reason: str
    losses: dict[str, float]
    speedup: float

    def json_object(self) -> dict[str, Any]:
        """As the card has it."""
        return asdict(self)


def decide(losses: dict[str, float], speedup: float) -> Choice:
    """INT8 is served where it loses at most LOSS on the validation fold and is FASTER on this machine.

    What it loses on other folds is told and chooses nothing: the test fold judges the model that was chosen.
    """
    lost = losses[Fold.VALIDATION.value]
    measured = (
        f"INT8 loses {100 * lost:+.1f} points of mean balanced accuracy on the validation fold, and answers "
        f"{speedup:.2f} times as fast as FP32 on this machine."
    )
    if lost > LOSS:
        return Choice(False, f"{measured} More than {100 * LOSS:.1f} points is too much.", losses, speedup)
    if speedup < FASTER:
        return Choice(False, f"{measured} Less than {FASTER} times is not worth it.", losses, speedup)
    return Choice(True, f"{measured} It is served.", losses, speedup)


def quantise(source: Path, target: Path, pictures: Pixels) -> bool:
    """Write the INT8 copy of a model, calibrated on pictures (N, S, S, 3); False where it has no backbone."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = onnx.load(source)
    nodes = backbone_nodes(model.graph)
    if not nodes:
        return False
    metadata = _metadata(model)
    with tempfile.TemporaryDirectory(dir=target.parent) as directory, _quiet():
        prepared = Path(directory) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=nodes,
            calibrate_method=CalibrationMethod.MinMax,
        )
    quantised = onnx.load(target)
    properties = {METADATA_KEY: metadata.model_copy(update={"precision": "int8"}).model_dump_json()}
    onnx.helper.set_model_props(quantised, properties)
    onnx.checker.check_model(quantised, full_check=True)
    onnx.save(quantised, str(target))
    return True


def backbone_nodes(graph: onnx.GraphProto) -> list[str]:
    """The names of the backbone's convolutions and of what follows them up to the next ones."""
    inside = {node.name for node in graph.node if any(name.startswith(WEIGHTS) for name in node.input)}
    made_inside = {name for node in graph.node if node.name in inside for name in node.output}
    for node in graph.node:  # in the order of their computation
        if node.op_type in FOLLOWING and made_inside.intersection(node.input):
            inside.add(node.name)
            made_inside.update(node.output)
    return sorted(inside)


def calibration_pictures(training: FoldData) -> Pixels:
    """CALIBRATION_PICTURES of the training fold, evenly over it, in memory."""
    count = min(len(training), CALIBRATION_PICTURES)
    return training.batch(np.linspace(0, len(training) - 1, count).astype(np.int64))


def compare(fp32: ExportedModel, int8: ExportedModel, folds: dict[str, FoldData]) -> Choice:
    """Measure both on the folds, by their names, and decide on the validation fold, which must be one of them.

    Speed is that of one picture at a time on one thread: open both so.
    """
    losses = {}
    for name, data in folds.items():
        first, second = (model.judge(data).metrics["overall"]["balanced_accuracy"] for model in (fp32, int8))
        losses[name] = 0.0 if first is None or second is None else first - second
    pictures = next(iter(folds.values())).batch(np.zeros(1, np.int64))
    return decide(losses, statistics.median(speedups(fp32, int8, pictures)))


def speedups(fp32: ExportedModel, int8: ExportedModel, pictures: Pixels, rounds: int = ROUNDS) -> list[float]:
    """FP32's time over INT8's, of each round in which both answer the same pictures one after the other.

    The time is this thread's own, so that a busy machine hardly changes it: both models are to be of one thread.
    """

    def seconds(model: ExportedModel) -> float:
        started = time.thread_time()
        model.run(pictures)
        return time.thread_time() - started

    for model in (fp32, int8):
        model.run(pictures)  # the first answer allocates
    return [seconds(fp32) / seconds(int8) for _ in range(rounds)]


class _Pictures:
    """What ONNX Runtime's calibration reads: one picture at a time. It looks for these two methods alone."""

    def __init__(self, pictures: Pixels) -> None:
        self._left: Iterator[Pixels] = iter(pictures[:, np.newaxis])

    def get_next(self) -> dict[str, Pixels] | None:
        """The next input; None after the last one."""
        picture = next(self._left, None)
        return None if picture is None else {INPUT_NAME: picture}

    def set_range(self, start_index: int, end_index: int) -> None:
        """For calibration in strides, which is not asked for."""
        raise NotImplementedError


def _metadata(model: onnx.ModelProto) -> ModelMetadata:
    properties: Sequence[Any] = model.metadata_props
    return ModelMetadata.model_validate_json({entry.key: entry.value for entry in properties}[METADATA_KEY])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime's advice on quantisation out of the log."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(level)
