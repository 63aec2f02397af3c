"""What a model sees through: fixed filters, a pretrained network's last layer, its middle, or filters and middle.

Drawn faces, as many of each condition as of clear skin, five folds, the same for every row. Each row is the trainer's
own way from features to decisions: the linear judge alone, the convolutional one alone, or both, calibrated and with
thresholds from a validation fold. Drawn faces tell which features tell drawings apart. Of people they say nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import multiprocessing
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from services.demo.starting_set import subject_at
from services.generator.procedural.draw import draw
from services.trainer import calibration
from services.trainer.backbone import EfficientNetLite0, load_backbone, load_detector
from services.trainer.data import CONDITIONS, FoldData
from services.trainer.features import Answers, FeatureReader, Features, Sample
from services.trainer.losses import positive_weights
from services.trainer.pixel_cache import Picture, PixelCache, View
from services.trainer.scores import answers as decide
from services.trainer.scores import choose_thresholds, fold_metrics
from services.trainer.spec import TrainingConfig, preprocessing_for
from services.trainer.train import Trained, learn, logits_of, probabilities_of, use_threads
from shared.faces import FaceSearch
from shared.taxonomy import Severity

FOLDS = 5
VALIDATION = 15 / 85  # of what is not tested on, as evenskin's folds are
SIDE = 512  # pixels of a drawn face
JUDGES = {"linear": (1.0,), "convolutional": (0.0,), "both": calibration.SHARES}

COLUMNS = ("balanced_accuracy", "auc", "recall", "clear_recall", "severity_mae")

Rows = npt.NDArray[np.int64]


class LastLayer(Features):
    """Pixels → the map before the pretrained network's head on the grid, and its pooled head as statistics."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, S, 3) → (N, 320, S / 16, S / 16), (N, 1280)."""
        network = self.backbone
        assert isinstance(network, EfficientNetLite0)
        features = network(pixels)[-1]
        for block in network._blocks[11:]:
            features = block(features)
        head = F.relu6(network._bn1(network._conv_head(features)))
        return F.interpolate(features, scale_factor=2.0), head.mean((2, 3))


def faces(each: int) -> tuple[list[bytes], npt.NDArray[np.int8]]:
    """Drawn faces, `each` of every condition, over its severities in turn, and of clear skin; and their labels."""
    severity = np.zeros(((len(CONDITIONS) + 1) * each, len(CONDITIONS)), np.int8)
    for row in range(len(CONDITIONS) * each):
        severity[row, row // each] = 1 + row % each % len(Severity)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=context) as pool:
        return list(
            pool.map(face, [list(map(int, row)) for row in severity], range(len(severity)), chunksize=8)
        ), severity


def face(severities: Sequence[int], number: int) -> bytes:
    """One drawn face, as JPEG."""
    labels = {condition: Severity(level) for condition, level in zip(CONDITIONS, severities, strict=True) if level}
    return draw(labels, subject_at(number), 20261127 + number, SIDE)


def mirrored(data: bytes) -> bytes:
    """The mirror image, without loss."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decoded(
    pictures: Sequence[bytes], severity: npt.NDArray[np.int8], size: int, search: FaceSearch, directory: Path
) -> FoldData:
    """Decode pictures and their mirror images: first all as they are, then all mirrored."""
    found = []
    for data in (*pictures, *map(mirrored, pictures)):
        digest = hashlib.sha256(data).hexdigest()
        (directory / digest).write_bytes(data)
        found.append(Picture(digest, digest, digest))
    cache = PixelCache(directory / "decoded", View(size, preprocessing_for(search), looks=True))
    cache.add(found, directory, use_threads(0), load_detector(search))
    ids = [str(number) for number in range(len(pictures))] * 2
    return FoldData(ids, ids, cache.rows(found), np.concatenate([severity, severity]), cache)


def part(sample: Sample, rows: Rows) -> Sample:
    """Some pictures of a sample."""
    data, answers = sample.data, sample.answers
    ids = [data.image_ids[row] for row in rows]
    chosen = FoldData(ids, ids, data.rows[rows], data.severity[rows], data.cache)
    return Sample(chosen, Answers(answers.grid[rows], answers.statistics[rows]))


def channels(answers: Answers, grid: slice, statistics: slice) -> Answers:
    """Some channels and statistics of all pictures."""
    return Answers(answers.grid[..., grid], answers.statistics[:, statistics])


def split(count: int, fold: int) -> tuple[Rows, Rows, Rows]:
    """Rows of training, with mirror images, of validation and of test, at random by a fixed seed."""
    order = np.random.default_rng(7).permutation(count)
    tested = np.asarray(np.arange(count) % FOLDS == fold)
    rest = order[~tested]
    validation, training = np.split(rest, [round(len(rest) * VALIDATION)])
    return np.concatenate([training, training + count]), validation, order[tested]


def measure(
    trained: Trained, shares: Sequence[float], validation: Sample, testing: Sample, weights: Tensor
) -> dict[str, float]:
    """Calibrate with these shares of the linear judge, choose thresholds, and measure on the test fold."""
    net = trained.net
    calibration.calibrate(net, *logits_of(net, validation.answers), validation.data.severity, weights, shares)
    labels = validation.data.severity
    neutral = calibration.neutral_probabilities(net)
    thresholds = choose_thresholds(labels, probabilities_of(net, validation.answers), neutral)
    probabilities, severity = probabilities_of(net, testing.answers), testing.data.severity
    overall = fold_metrics(severity, probabilities, thresholds)["overall"]
    clear = np.asarray((severity == 0).all(1))
    nothing = np.asarray(~decide(probabilities, thresholds).any(1))
    return {
        "balanced_accuracy": overall["balanced_accuracy"],
        "auc": overall["auc"],
        "recall": overall["recall"],
        "clear_recall": float(nothing[clear].mean()) if clear.any() else np.nan,
        "severity_mae": overall["severity_mae"],
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=75, help="faces of each condition, and of clear skin")
    parser.add_argument("--size", type=int, default=TrainingConfig().input_size, help="pixels of the network's input")
    parser.add_argument("--images-seen", type=int, default=TrainingConfig().images_seen)
    parser.add_argument("--faces", type=FaceSearch, default=FaceSearch.ON, help="on: framed on the face; off: whole")
    options = parser.parse_args()
    config = TrainingConfig(input_size=options.size, images_seen=options.images_seen)
    threads = use_threads(0)
    backbone = load_backbone("efficientnet-lite0")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        pictures, severity = faces(options.each)
        data = decoded(pictures, severity, options.size, options.faces, directory)

        def read(features: Features) -> Answers:
            own = directory / type(features).__name__  # a graph is kept by its weights, which both kinds share
            return FeatureReader(features, options.size, own, threads).read(data, directory)

        both = Features(3, 16, backbone)
        answers, filters = read(both), both.filter_channels
        sets = {
            "filters": (channels(answers, slice(filters), slice(2 * filters)), filters),
            "last layer": (read(LastLayer(3, 16, backbone)), 0),
            "middle": (channels(answers, slice(filters, None), slice(2 * filters, None)), 0),
            "filters and middle": (answers, filters),
        }
        print(f"{'features':20}{'judge':15}" + "".join(f"{column:>20}" for column in COLUMNS))
        for features, (found, count) in sets.items():
            rows: dict[str, list[dict[str, float]]] = {judge: [] for judge in JUDGES}
            for fold in range(FOLDS):
                training, validation, testing = (part(Sample(data, found), each) for each in split(len(severity), fold))
                run = directory / f"{features}-{fold}"
                trained = learn(training, validation, config, count, str(run), run)
                weights = positive_weights(training.data.severity)
                for judge, shares in JUDGES.items():
                    rows[judge].append(measure(trained, shares, validation, testing, weights))
            for judge, measured in rows.items():
                print(row_of(features, judge, measured), flush=True)


def row_of(features: str, judge: str, measured: list[dict[str, float]]) -> str:
    """One row of the table: mean and standard deviation over the folds."""
    figures = {column: [fold[column] for fold in measured] for column in COLUMNS}
    cells = "".join(f"{f'{np.nanmean(found):.3f} ± {np.nanstd(found, ddof=1):.3f}':>20}" for found in figures.values())
    return f"{features:20}{judge:15}{cells}"


if __name__ == "__main__":
    main()
