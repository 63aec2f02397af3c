"""What an INT8 copy of a model loses and gains: balanced accuracy, AUC, pictures all right, and time, against FP32.

The models are those of a finished demo's home (`--home`), calibrated on its training fold and measured on its test
fold; without one, a tenth of the demo is run first. Times are single-threaded, both models in turn: ratios carry over.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from services.trainer.data import CONDITIONS, severities_of
from services.trainer.evaluate import BATCH, ExportedModel
from services.trainer.int8 import CALIBRATION_PICTURES, quantise, speedups
from services.trainer.scores import fold_metrics
from shared.manifest import ManifestImage, parse_manifest
from shared.preprocessing import prepare, preprocessing_of
from shared.taxonomy import Fold

COLUMNS = ("balanced_accuracy", "auc", "exact_match")


def pixels_of(store: Path, images: list[ManifestImage], model: ExportedModel) -> np.typing.NDArray[np.uint8]:
    """Pictures as a model sees them."""
    size, way = model.metadata.input_size, preprocessing_of(model.metadata.preprocessing)
    files = ((store / image.key).read_bytes() for image in images)
    return np.stack(
        [prepare(file, size, way, frame=image.frame).pixels for file, image in zip(files, images, strict=True)]
    )


def measured(model: ExportedModel, pixels: np.typing.NDArray[np.uint8], images: list[ManifestImage]) -> str:
    """A row's figures."""
    parts = [model.run(pixels[start : start + BATCH])[0] for start in range(0, len(pixels), BATCH)]
    thresholds = [model.metadata.thresholds[condition] for condition in CONDITIONS]
    severity = np.array([severities_of(image) for image in images], np.int8)
    overall = fold_metrics(severity, np.concatenate(parts), thresholds)["overall"]
    return "".join(f"{overall[name]:>20.4f}" for name in COLUMNS)


def rows(store: Path, path: Path, directory: Path) -> Iterator[str]:
    """Both models' figures, and the ratios of their times."""
    fp32 = ExportedModel.load(path, 1)
    manifest = store / "datasets" / fp32.metadata.dataset_version / "manifest.jsonl"
    images = list(parse_manifest(manifest.read_bytes()))
    training = [image for image in images if image.fold is Fold.TRAIN]
    chosen = training[:: max(1, len(training) // CALIBRATION_PICTURES)]
    copy = directory / "int8.onnx"
    if not quantise(path, copy, pixels_of(store, chosen, fp32)):
        yield f"{fp32.metadata.version}: without a backbone there is nothing to quantise."
        return
    int8 = ExportedModel.load(copy, 1)
    testing = [image for image in images if image.fold is Fold.TEST]
    pixels = pixels_of(store, testing, fp32)
    for name, model, file in (("fp32", fp32, path), ("int8", int8, copy)):
        size = file.stat().st_size / 1e6
        yield f"{fp32.metadata.version:16}{name:6}{measured(model, pixels, testing)}{size:>8.1f} MB"
    for count in (1, BATCH):
        ratios = speedups(fp32, int8, pixels[:count])
        low, high = np.quantile(ratios, [0.05, 0.95])
        yield (
            f"{'':16}int8 answers {count} at a time {statistics.median(ratios):.2f} times as fast "
            f"(nine in ten rounds {low:.2f} to {high:.2f})"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="of a finished demo")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = options.home or Path(name) / "home"
        if options.home is None:
            demo = [sys.executable, "-m", "services.console.cli", "demo", "--home", str(home), "--scale", "0.1"]
            subprocess.run(demo, check=True, stdout=subprocess.DEVNULL)
        store = home / "store"
        print(f"{'model':16}{'':6}" + "".join(f"{column:>20}" for column in COLUMNS))
        for path in sorted((store / "models").glob("*/model.onnx")):
            for row in rows(store, path, Path(name)):
                print(row, flush=True)


if __name__ == "__main__":
    main()
