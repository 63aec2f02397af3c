"""The bands in which a model abstains: chosen on a validation fold, kept in the metadata."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from services.trainer.abstention import NEVER_LEARNT, choose_bands
from services.trainer.data import UNKNOWN
from services.trainer.scores import Probabilities, answers
from shared.model_card import AbstentionBand
from shared.taxonomy import Condition

CONDITIONS = list(Condition)


def scored(present: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[npt.NDArray[np.int8], Probabilities]:
    """Labels and probabilities whose first condition is as given; the others are told without a mistake."""
    first = np.asarray(present)
    severity = np.tile((np.arange(len(first)) % 2)[:, None], (1, 7)).astype(np.int8)
    probability = np.where(severity > 0, 0.9, 0.1)
    severity[:, 0], probability[:, 0] = first, scores
    return severity, np.stack([1 - probability, probability, 0 * probability, 0 * probability], -1).astype(np.float32)


def bands(
    severity: npt.NDArray[np.int8], probabilities: Probabilities, accuracy: float = 0.95, most: float = 0.2
) -> dict[Condition, AbstentionBand]:
    return choose_bands(severity, severity, probabilities, [0.5] * 7, accuracy, most)


def noisy(count: int = 2000) -> tuple[npt.NDArray[np.int8], Probabilities]:
    random = np.random.default_rng(3)
    present = random.random(count) < 0.3
    logits = np.where(present, 1.2, -1.2) + random.normal(0, 1, count)
    return scored(present, 1 / (1 + np.exp(-logits)))


def test_what_is_told_without_a_mistake_needs_no_band() -> None:
    assert bands(*scored([0, 0, 1, 1] * 5, [0.1, 0.49, 0.51, 0.9] * 5)) == {}


def test_outside_the_band_answers_are_as_right_as_was_asked_for_and_it_is_no_wider() -> None:
    severity, probabilities = noisy()
    found = bands(severity, probabilities, most=0.9)
    assert list(found) == [CONDITIONS[0]]
    band = found[CONDITIONS[0]]
    assert band.low < 0.5 < band.high
    assert band.low + band.high == pytest.approx(1, abs=2e-4)  # as wide on the logit scale on either side

    def accuracy(margin: float) -> float:
        score = 1 - probabilities[:, 0, 0]
        outside = (score < band.low + margin) | (score > band.high - margin)
        right = answers(probabilities, [0.5] * 7)[:, 0] == (severity[:, 0] > 0)
        each = [(severity[:, 0] > 0) == shown for shown in (True, False)]
        weight = sum(group / group.sum() for group in each)
        return float((weight * right * outside).sum() / (weight * outside).sum())

    assert accuracy(-1e-4) >= 0.95
    assert accuracy(0.02) < 0.95


def test_a_band_takes_no_more_than_its_share() -> None:
    severity, probabilities = noisy()
    band = bands(severity, probabilities, accuracy=1.0, most=0.1)[CONDITIONS[0]]
    score = 1 - probabilities[:, 0, 0]
    assert ((score > band.low + 1e-4) & (score < band.high - 1e-4)).mean() <= 0.1
    assert bands(severity, probabilities, accuracy=1.0, most=0.0) == {}


def test_what_was_never_shown_is_never_answered() -> None:
    severity, probabilities = scored([0, 1] * 10, [0.2, 0.8] * 10)
    learnt = severity.copy()
    learnt[:, 1], learnt[:, 2], learnt[:, 3] = 0, 1, UNKNOWN
    found = choose_bands(learnt, severity, probabilities, [0.5] * 7, 0.95, 0.2)
    assert found == dict.fromkeys(CONDITIONS[1:4], NEVER_LEARNT)


def test_there_is_no_band_where_the_validation_fold_cannot_tell() -> None:
    severity, probabilities = scored([0] * 20, [0.5] * 20)
    learnt = np.tile(np.array([[0], [1]], np.int8), (1, 7))
    assert choose_bands(learnt, severity, probabilities, [0.5] * 7, 0.95, 0.2) == {}
