"""Writes a trained network as the ONNX file that is served, and proves that both give the same answers.

The graph takes decoded pixels (uint8, NHWC), so the server only decodes and resizes; the file's metadata says
what else it needs. Nothing is put in the store before `check_parity` has passed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from services.trainer.backbone import NONE, TRAINED_ON
from services.trainer.data import CONDITIONS, originals
from services.trainer.evaluate import ExportedModel
from services.trainer.graph import write_graph
from services.trainer.model import ServedNet
from shared.dataset_summary import IMPORTED
from shared.errors import ParityFailed
from shared.faces import MODEL, FaceDetector
from shared.installed_models import model_entry
from shared.manifest import ManifestImage
from shared.model_card import (
    METADATA_KEY,
    OUTPUT_NAMES,
    SYNTHETIC_WARNING,
    AbstentionBand,
    BackboneUsed,
    Calibration,
    DetectorUsed,
    ModelMetadata,
)
from shared.preprocessing import Preprocessing, prepare, preprocessing_of
from shared.taxonomy import Condition, Fold, Severity

TOLERANCE = 1e-4  # largest absolute difference of any output: float32 rounding stays below a tenth of it
PROCEDURAL = "procedural"


def metadata_of(
    version: str,
    dataset_version: str,
    images: Sequence[ManifestImage],
    thresholds: Sequence[float],
    input_size: int,
    preprocessing: Preprocessing,
    calibration: Mapping[Condition, Calibration] | None = None,
    backbone: BackboneUsed | None = None,
    manifest_sha256: str = "",
    abstention: Mapping[Condition, AbstentionBand] | None = None,
) -> ModelMetadata:
    """The metadata of the ONNX file, with a warning where any training image was procedurally drawn."""
    providers = Counter(image.provider or IMPORTED for image in originals(images, Fold.TRAIN))
    return ModelMetadata(
        version=version,
        input_size=input_size,
        conditions=CONDITIONS,
        severities=("absent", *(severity.label for severity in Severity)),
        thresholds=dict(zip(CONDITIONS, (round(value, 4) for value in thresholds), strict=True)),
        preprocessing=preprocessing.described(input_size),
        abstention=dict(abstention or {}),
        calibration=dict(calibration or {}),
        backbone=backbone,
        detector=detector_of(preprocessing),
        dataset_version=dataset_version,
        manifest_sha256=manifest_sha256,
        providers=dict(sorted(providers.items())),
        warnings=(SYNTHETIC_WARNING,) if PROCEDURAL in providers else (),
    )


def backbone_of(name: str) -> BackboneUsed | None:
    """What a card says of the pretrained network of that name; None for none."""
    if name == NONE:
        return None
    return BackboneUsed(trained_on=TRAINED_ON, **_installed(name))


def detector_of(preprocessing: Preprocessing) -> DetectorUsed | None:
    """What a card says of the face detector; None where pictures are not framed on the face."""
    return DetectorUsed(**_installed(MODEL)) if preprocessing.frames_the_face else None


def _installed(name: str) -> dict[str, str]:
    model = model_entry(name)
    source = f"{model['package']} {model['version']}, {model['path']}"
    return {"name": name, "licence": model["licence"], "source": source, "sha256": model["sha256"]}


def export(served: ServedNet, metadata: ModelMetadata, path: Path) -> None:
    """Write the ONNX file, whole or not at all."""
    partial = path.with_suffix(".partial")
    properties = {METADATA_KEY: metadata.model_dump_json()}
    write_graph(served, metadata.input_size, OUTPUT_NAMES, partial, properties)
    os.replace(partial, path)


def check_parity(
    served: ServedNet,
    model: ExportedModel,
    files: Sequence[bytes],
    preprocessing: Preprocessing,
    detector: FaceDetector | None,
) -> dict[str, float]:
    """Compare the answers of PyTorch and ONNX Runtime to encoded files, each prepared for itself, singly and together.

    PyTorch's are prepared as in training, by `preprocessing`; ONNX Runtime's as the model's metadata asks, as a server
    would: the face is found in each anew.

    Returns `{"max_abs_difference", "tolerance", "images"}`. Raises ParityFailed past TOLERANCE, for any of
    the outputs, and where there is no file to compare on.
    """
    if not files:
        raise ParityFailed("There is no image to compare PyTorch and ONNX Runtime on.")
    served.eval()
    trained, wanted = preprocessing, preprocessing_of(model.metadata.preprocessing)

    def prepared(some: Sequence[bytes], size: int, way: Preprocessing) -> np.typing.NDArray[np.uint8]:
        return np.stack([prepare(file, size, way, detector=detector).pixels for file in some])

    size = model.metadata.input_size
    with torch.inference_mode():
        expected = [
            output.numpy()
            for output in served(torch.from_numpy(prepared(files, served.net.config.input_size, trained)))
        ]
    batch = model.run(prepared(files, size, wanted))
    single = [
        np.concatenate(outputs)
        for outputs in zip(*(model.run(prepared([file], size, wanted)) for file in files), strict=True)
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
