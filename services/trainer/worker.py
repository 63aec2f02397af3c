"""One training run as a process of its own: `python -m services.trainer.worker SPEC.json`.

A process takes memory and cores only while a run lasts, and can be killed. It reports on standard output, one JSON
object a line: `{"epoch": …}` after each epoch, at the end `{"done": …}`, or `{"failed": …}` with exit status 3 for
an error that has a code of ours. It leaves the model and, last, `result.json` in the run's directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

from services.trainer import int8
from services.trainer.abstention import choose_bands
from services.trainer.backbone import load_backbone, load_detector
from services.trainer.baseline import measure_baseline
from services.trainer.calibration import calibration_of, neutral_probabilities
from services.trainer.comparison import compare
from services.trainer.contradictions import check_labels, contradicting_copies
from services.trainer.data import (
    FoldData,
    check_folds,
    decode,
    left_out,
    load_folds,
    originals,
    parity_files,
    read_manifest,
    readable_images,
)
from services.trainer.datasheet import datasheet
from services.trainer.evaluate import ExportedModel, Judgement
from services.trainer.evaluation_file import evaluate, write_evaluation
from services.trainer.exhaustion import exhaustion
from services.trainer.export import backbone_of, check_parity, export, metadata_of
from services.trainer.features import Features
from services.trainer.gate import GATE_FOLD, decide
from services.trainer.leakage import check_files, check_looks
from services.trainer.model import ServedNet
from services.trainer.orphans import end_with_parent
from services.trainer.pixel_cache import PixelCache, View
from services.trainer.scores import choose_thresholds
from services.trainer.spec import (
    FAILED_STATUS,
    RunSpec,
    checkpoint_path,
    evaluation_path,
    fp32_path,
    model_path,
    preprocessing_for,
    result_path,
)
from services.trainer.subgroups import groups_of, measure_groups
from services.trainer.train import Epoch, model_config, train, use_threads
from services.trainer.worst_group import with_worst_group
from shared.errors import EvenskinError, ModelInvalid, TrainingFailed
from shared.evaluation import Compute, Evaluation
from shared.faces import FaceDetector
from shared.manifest import ManifestImage
from shared.preprocessing import preprocessing_of
from shared.taxonomy import Fold


def run(spec: RunSpec) -> dict[str, Any]:
    """Train, export, check parity and measure. Returns the content of `result.json`.

    Raises DatasetTooSmall, FoldsLeak, ImagesUnreadable, LabelsContradict, LossNotFinite, TrainingFailed, ParityFailed,
    WeightsUnusable.
    """
    stopwatch = _Stopwatch()
    threads = use_threads(spec.config.threads)
    listed = spec.manifest.read_bytes()
    manifest = read_manifest(listed)
    size = spec.config.input_size
    fetched = readable_images(manifest, spec.unreadable)
    check_folds(fetched)  # before anything is decoded
    check_labels(fetched)
    check_files(fetched)
    network = model_config(spec.config)
    features = Features(network.scales, network.cell, load_backbone(spec.backbone))
    detector = load_detector(spec.faces)
    preprocessing = preprocessing_for(spec.faces)
    cache = PixelCache(spec.cache, View(size, preprocessing, detector is not None))
    unreadable = spec.unreadable | decode(fetched, spec.encoded, cache, threads, detector)
    images = readable_images(manifest, unreadable)
    copies = contradicting_copies(images, cache)
    images = [image for image in images if image.sha256 not in copies]
    check_folds(images)
    folds = load_folds(images, cache)
    validation, testing = folds[Fold.VALIDATION], folds[Fold.TEST]
    check_looks(folds)
    stopwatch.lap("decode")

    checkpoint = checkpoint_path(spec.run_dir)
    trained = train(folds[Fold.TRAIN], validation, spec.config, features, checkpoint, _report_epoch)
    stopwatch.lap("train")

    net = trained.net
    thresholds = choose_thresholds(validation.severity, trained.validation, neutral_probabilities(net))
    metadata = metadata_of(
        spec.version,
        spec.dataset_version,
        images,
        thresholds,
        size,
        preprocessing,
        calibration_of(net),
        backbone_of(spec.backbone),
        hashlib.sha256(listed).hexdigest(),
        choose_bands(
            folds[Fold.TRAIN].severity,
            validation.severity,
            trained.validation,
            thresholds,
            spec.config.abstain_accuracy,
            spec.config.abstain_share,
        ),
    )
    path = model_path(spec.run_dir)
    served = ServedNet(features, net)
    export(served, metadata, path)
    candidate = ExportedModel.load(path, threads)
    parity = check_parity(served, candidate, parity_files(images, spec.encoded), preprocessing, detector)
    fp32_path(spec.run_dir).unlink(missing_ok=True)  # of an earlier try
    quantised = None
    if spec.int8:
        candidate, quantised = _choose_precision(path, candidate, folds, threads)
    stopwatch.lap("export")

    judged = candidate.judge(testing)
    baseline = measure_baseline(folds[Fold.TRAIN], validation, {GATE_FOLD: testing})
    live = _judge_live(spec, images, threads, detector)
    difference = None if live is None else compare(testing.severity, testing.root_ids, judged.answers, live.answers)
    people = [groups_of(image) for image in originals(images, Fold.TEST)]
    groups, live_groups = (
        measure_groups(testing.severity, some.answers, testing.root_ids, people) if some else []
        for some in (judged, live)
    )
    decision = with_worst_group(decide(difference), groups, live_groups)
    evaluation = evaluate(testing, judged.probabilities, candidate.metadata, groups, people)
    stopwatch.lap("evaluate")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    history = [asdict(epoch) for epoch in trained.history]
    write_evaluation(
        evaluation_path(spec.run_dir),
        Evaluation(
            version=spec.version,
            sha256=sha256,
            dataset_version=spec.dataset_version,
            metadata=candidate.metadata,
            **evaluation,
            datasheet=datasheet(images),
            compute=_compute(stopwatch.laps, threads),
            history=tuple(history),
            best_epoch=trained.best_epoch,
            baseline=baseline,
        ),
    )
    return {
        "metadata": candidate.metadata.model_dump(mode="json"),
        "sha256": sha256,
        "metrics": {
            GATE_FOLD: judged.metrics,
            "baseline": baseline,
            "history": history,
            "best_epoch": trained.best_epoch,
        },
        "comparison": None
        if live is None or difference is None
        else {
            "fold": GATE_FOLD,
            "candidate": judged.metrics,
            "live": live.metrics,
            "live_version": spec.live_version,
            "difference": asdict(difference),
            "verdict": decision.verdict,
            "reason": decision.reason,
        },
        "parity": parity,
        "left_out": [entry.model_dump() for entry in left_out(manifest, unreadable | copies)],
        "promoted": decision.promoted,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "config": {
            **spec.config.model_dump(mode="json"),
            "model": asdict(net.config),
            "threads": threads,
            "backbone": spec.backbone,
            "faces": spec.faces.value,
            "linear_share": net.share.item(),
            "int8": quantised,
        },
        "seconds": stopwatch.laps,
    }


def _choose_precision(
    path: Path, fp32: ExportedModel, folds: Mapping[Fold, FoldData], threads: int
) -> tuple[ExportedModel, dict[str, Any] | None]:
    """The model to serve, which lies at `path` then, and what was measured of its INT8 copy; None where there is none.

    The validation fold decides; the test fold is measured for the card. Where the copy is served, the model in FP32
    lies at `fp32_path`.
    """
    copy = path.with_name("model-int8.onnx")
    if not int8.quantise(path, copy, int8.calibration_pictures(folds[Fold.TRAIN])):
        return fp32, None
    measured = {fold.value: folds[fold] for fold in (Fold.VALIDATION, Fold.TEST)}
    choice = int8.compare(ExportedModel.load(path, 1), ExportedModel.load(copy, 1), measured)
    if choice.chosen:
        os.replace(path, fp32_path(path.parent))
        os.replace(copy, path)
        fp32 = ExportedModel.load(path, threads)
    return fp32, choice.json_object()


def _judge_live(
    spec: RunSpec, images: list[ManifestImage], threads: int, detector: FaceDetector | None
) -> Judgement | None:
    """What the live model says of the same images, as it wants them. None where no model is live."""
    if spec.live is None:
        return None
    try:
        model = ExportedModel.load(spec.live, threads)
        preprocessing = preprocessing_of(model.metadata.preprocessing)
    except ModelInvalid:
        return None  # a live model that cannot be opened serves nobody: it must not stand in the way
    size = model.metadata.input_size
    cache = PixelCache(spec.cache, View(size, preprocessing, detector is not None))
    if decode(images, spec.encoded, cache, threads, detector, [Fold.TEST]):
        raise TrainingFailed(f"A picture that was read at another size cannot be read at {size} pixels.")
    return model.judge(load_folds(images, cache, [Fold.TEST])[Fold.TEST])


def _compute(seconds: dict[str, float], threads: int) -> Compute:
    """What this process took so far; of a resumed run, since it was resumed."""
    peak = 0  # not known where there is no such module, on Windows
    with contextlib.suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Compute(
        seconds=seconds,
        processor_seconds=round(time.process_time(), 3),
        peak_memory_bytes=peak,
        threads=threads,
        device="cpu",
    )


def _report(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _report_epoch(epoch: Epoch) -> None:
    _report(asdict(epoch))


class _Stopwatch:
    """Seconds of wall time of each stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """End a stage: note the seconds since the last one ended."""
        now = time.monotonic()
        self.laps[name], self._last = round(now - self._last, 3), now


def main(arguments: list[str]) -> int:
    """Run the spec named on the command line; returns the exit status."""
    spec = RunSpec.model_validate_json(Path(arguments[0]).read_bytes())
    end_with_parent()
    try:
        with FileLock(spec.run_dir / "lock"):  # an orphan of this run may still be at its last batch
            result = run(spec)
            partial = result_path(spec.run_dir).with_suffix(".partial")
            partial.write_text(json.dumps(result))
            os.replace(partial, result_path(spec.run_dir))
    except Exception as caught:
        error = exhaustion(caught) or caught
        if not isinstance(error, EvenskinError):
            raise
        _report({"failed": error.code, "message": error.message, "advice": error.advice})
        return FAILED_STATUS
    _report({"done": spec.version})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
