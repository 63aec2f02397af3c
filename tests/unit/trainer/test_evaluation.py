"""What is kept of a model's test: confusion, reliability before and after calibration, every answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from services.trainer.data import CONDITIONS, UNGRADED, UNKNOWN, FoldData
from services.trainer.evaluation_file import evaluate, uncalibrated
from services.trainer.measures import NAMES
from shared.evaluation import ConditionEvaluation, evaluation_key
from shared.model_card import Calibration, ModelMetadata
from shared.taxonomy import Condition

ACNE = Condition.ACNE


def metadata(calibration: dict[Condition, Calibration] | None = None) -> ModelMetadata:
    return ModelMetadata(
        version="m-1",
        input_size=32,
        conditions=CONDITIONS,
        severities=("absent", "mild", "moderate", "severe"),
        thresholds=dict.fromkeys(CONDITIONS, 0.5),
        preprocessing="any",
        dataset_version="ds-1",
        providers={},
        calibration=calibration or {},
    )


def evaluated(labels: list[int], scores: list[float], said: list[int], **options: Any) -> dict[str, Any]:
    """The evaluation of answers about acne; of the other conditions nothing is known."""
    severity = np.full((len(labels), len(CONDITIONS)), UNKNOWN, np.int8)
    severity[:, 0] = labels
    probabilities = np.zeros((*severity.shape, 4), np.float32)
    probabilities[..., 0] = 1
    for row, (score, level) in enumerate(zip(scores, said, strict=True)):
        probabilities[row, 0] = 0
        probabilities[row, 0, 0], probabilities[row, 0, level] = 1 - score, score
    names = [f"image {n}" for n in range(len(labels))]
    data = FoldData(
        names,
        [f"root {n // 2}" for n in range(len(labels))],
        np.arange(len(labels)),
        severity,
        cast("Any", SimpleNamespace()),
    )
    return evaluate(data, probabilities, metadata(**options), [], [{"sex": "male"}] * len(labels))


def test_the_confusion_is_counted_by_what_is_there_and_what_is_said() -> None:
    found = evaluated(
        [0, 0, 0, 1, 2, 3, 3, UNGRADED], [0.1, 0.2, 0.9, 0.8, 0.7, 0.9, 0.3, 0.6], [1, 1, 2, 1, 3, 3, 1, 1]
    )
    acne: ConditionEvaluation = found["conditions"][ACNE]
    assert acne.presence == ((2, 1), (1, 4))
    assert acne.severity == ((2, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1), (1, 0, 0, 1))
    assert (acne.images, acne.positives) == (8, 5)
    assert acne.values["false_positive_rate"] == pytest.approx(1 / 3)
    assert set(acne.values) == set(NAMES)
    assert (found["images"], found["roots"]) == (8, 4)


def test_every_answer_is_kept() -> None:
    first = evaluated([2, 0], [0.75, 0.25], [3, 1])["pictures"][0]
    assert (first.image_id, first.root_id, first.labels[:2], first.groups) == (
        "image 0",
        "root 0",
        (2, UNKNOWN),
        {"sex": "male"},
    )
    assert first.probabilities[0] == (0.25, 0, 0, 0.75)


def test_the_calibration_is_taken_back() -> None:
    calibration = Calibration(slope=2.0, shifts=(-1.5, -2.0, -3.0))
    raw = np.array([0.05, 0.3, 0.5, 0.8, 0.99])
    logits = np.log(raw / (1 - raw))
    after = 1 / (1 + np.exp(-(2.0 * logits - 1.5)))
    assert uncalibrated(after, calibration) == pytest.approx(raw)
    assert np.isfinite(uncalibrated(np.array([0.0, 1.0]), calibration)).all()


def test_the_error_is_told_before_and_after_calibration() -> None:
    calibration = Calibration(slope=1.0, shifts=(float(np.log(0.25 / 0.75)),) * 3)  # an even answer becomes a quarter
    acne = evaluated([1, 0, 0, 0], [0.25] * 4, [1] * 4, calibration={ACNE: calibration})["conditions"][ACNE]
    assert acne.values["ece"] == pytest.approx(0, abs=1e-6)
    assert acne.ece_before == pytest.approx(0.25, abs=1e-6)
    (before,), (after,) = acne.reliability_before, acne.reliability
    assert (before.images, before.share, after.share) == (4, 0.25, 0.25)
    assert (before.probability, after.probability) == pytest.approx((0.5, 0.25), abs=1e-6)


def test_without_calibration_before_is_after() -> None:
    acne = evaluated([1, 0], [0.8, 0.3], [1, 1])["conditions"][ACNE]
    assert acne.reliability_before == acne.reliability
    assert acne.ece_before == pytest.approx(acne.values["ece"])
    redness = evaluated([1, 0], [0.8, 0.3], [1, 1])["conditions"][Condition.REDNESS]
    assert (redness.images, redness.ece_before, redness.reliability) == (0, None, ())


def test_the_key_names_the_content() -> None:
    assert evaluation_key("m-1", b"a") == evaluation_key("m-1", b"a") != evaluation_key("m-1", b"b")
    assert Path(evaluation_key("m-1", b"a")).parent == Path("models/m-1")
