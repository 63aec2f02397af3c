"""Writes a trained network as the ONNX file that is served, and proves that both give the same answers.

The graph takes decoded pixels (uint8, NHWC), so the server only decodes and resizes; the file's metadata says
what else it needs. Nothing is put in the store before `check_parity` has passed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from services.trainer.data import CONDITIONS, originals
from services.trainer.evaluate import ExportedModel
from services.trainer.model import ServedNet, SkinNet
from services.trainer.pixel_cache import PREPROCESSING
from shared.errors import ParityFailed
from shared.imaging import model_input
from shared.manifest import ManifestImage
from shared.model_card import INPUT_NAME, METADATA_KEY, OUTPUT_NAMES, SYNTHETIC_WARNING, ModelMetadata
from shared.taxonomy import Fold, Severity

OPSET = 18  # the first with every operator used here in its present form; ONNX Runtime has read it since 1.14
TOLERANCE = 1e-4  # largest absolute difference of any output: float32 rounding stays below a tenth of it
PROCEDURAL = "procedural"
IMPORTED = "imported"


def metadata_of(
    version: str,
    dataset_version: str,
    images: Sequence[ManifestImage],
    thresholds: Sequence[float],
    input_size: int,
) -> ModelMetadata:
    """The metadata of the ONNX file. It holds a warning where any training image was procedurally drawn."""
    providers = Counter(image.provider or IMPORTED for image in originals(images, Fold.TRAIN))
    return ModelMetadata(
        version=version,
        input_size=input_size,
        conditions=CONDITIONS,
        severities=("absent", *(severity.label for severity in Severity)),
        thresholds=dict(zip(CONDITIONS, (round(value, 4) for value in thresholds), strict=True)),
        preprocessing=f"{PREPROCESSING}: upright sRGB, centre-cropped square, bicubic to {input_size} px, RGB uint8",
        dataset_version=dataset_version,
        providers=dict(sorted(providers.items())),
        warnings=(SYNTHETIC_WARNING,) if PROCEDURAL in providers else (),
    )


def export(net: SkinNet, metadata: ModelMetadata, path: Path) -> None:
    """Write the ONNX file, whole or not at all."""
    size = metadata.input_size
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    partial = path.with_suffix(".partial")
    with _quiet_exporter():
        program = torch.onnx.export(
            ServedNet(net).eval(),
            (example,),
            input_names=[INPUT_NAME],
            output_names=list(OUTPUT_NAMES),
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    onnx.helper.set_model_props(graph, {METADATA_KEY: metadata.model_dump_json()})
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, str(partial), format="protobuf")
    os.replace(partial, path)


def check_parity(net: SkinNet, model: ExportedModel, files: Sequence[bytes]) -> dict[str, float]:
    """Compare the answers of PyTorch and ONNX Runtime to encoded files, each decoded for itself, singly and as a batch.

    Returns `{"max_abs_difference", "tolerance", "images"}`. Raises ParityFailed past TOLERANCE, for any of
    the outputs, and where there is no file to compare on.
    """
    if not files:
        raise ParityFailed("There is no image to compare PyTorch and ONNX Runtime on.")
    served = ServedNet(net).eval()
    size = net.config.input_size
    with torch.inference_mode():
        expected = [output.numpy() for output in served(torch.from_numpy(_decoded(files, size)))]
    batch = model.run(_decoded(files, model.metadata.input_size))
    single = [
        np.concatenate(outputs) for outputs in zip(*(model.run(_decoded([file], size)) for file in files), strict=True)
    ]
    worst = 0.0
    for wanted, *answers in zip(expected, batch, single, strict=True):
        for answer in answers:
            if answer.shape != wanted.shape or not np.isfinite(answer).all():
                raise ParityFailed(f"ONNX Runtime answers with shape {answer.shape}, PyTorch with {wanted.shape}.")
            worst = max(worst, float(np.abs(answer - wanted).max()))
    if not worst <= TOLERANCE:
        raise ParityFailed(
            f"ONNX Runtime and PyTorch differ by {worst:.2e} on {len(files)} images; {TOLERANCE:.0e} is allowed.",
            difference=worst,
        )
    return {"max_abs_difference": worst, "tolerance": TOLERANCE, "images": float(len(files))}


def _decoded(files: Sequence[bytes], size: int) -> np.typing.NDArray[np.uint8]:
    return np.stack([model_input(file, size) for file in files])


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
