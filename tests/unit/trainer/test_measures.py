"""Every measure against scikit-learn's on random labels and scores, the calibration error by hand, the intervals."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as sk

from services.trainer.data import CONDITIONS, UNGRADED, UNKNOWN
from services.trainer.measures import (
    NAMES,
    RESAMPLES,
    SHARES,
    ConditionAnswers,
    answers_of,
    bins_of,
    draws,
    interval,
    measure,
    measure_all,
)
from services.trainer.scores import fold_metrics

Numbers = npt.NDArray[np.float64]


def random_answers(seed: int, n: int = 120) -> ConditionAnswers:
    """Labels of any severity, one in ten not graded, and scores that know a little of them, with ties."""
    random = np.random.default_rng(seed)
    severity = random.choice([0, 0, 0, 1, 2, 3], n)
    present = severity > 0
    known = np.clip(0.4 * present.astype(np.float64) + 0.6 * random.random(n), 0, 1)
    score = known.round(int(random.integers(1, 4)))
    predicted = score >= 0.5
    said = np.where(predicted, random.integers(1, 4, n), 0)
    severity = np.where(present & (random.random(n) < 0.1), UNGRADED, severity)
    return ConditionAnswers(present, predicted, score, severity, said)


def specificity(truth: Any, predicted: Any, sample_weight: Any) -> float:
    return float(sk.recall_score(truth, predicted, pos_label=0, sample_weight=sample_weight))


OF_ANSWERS: dict[str, Callable[..., float]] = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "recall": sk.recall_score,
    "specificity": specificity,
    "precision": sk.precision_score,
    "f1": sk.f1_score,
}
OF_SCORES: dict[str, Callable[..., float]] = {
    "auc": sk.roc_auc_score,
    "average_precision": sk.average_precision_score,
}


def expected(answers: ConditionAnswers, weights: Numbers) -> dict[str, float]:
    """All measures but the calibration error, by scikit-learn."""
    graded = answers.severity != UNGRADED
    found = {name: f(answers.present, answers.predicted, sample_weight=weights) for name, f in OF_ANSWERS.items()}
    found |= {name: f(answers.present, answers.score, sample_weight=weights) for name, f in OF_SCORES.items()}
    false_positive_rate, _, cuts = sk.roc_curve(
        answers.present, answers.predicted.astype(float), sample_weight=weights, drop_intermediate=False
    )
    found["false_positive_rate"] = false_positive_rate[cuts == 1][0]
    found["severity_kappa"] = sk.cohen_kappa_score(
        answers.severity[graded], answers.said[graded], weights="quadratic", sample_weight=weights[graded]
    )
    return found


@pytest.mark.parametrize("seed", range(12))
def test_every_measure_is_scikit_learns(seed: int) -> None:
    answers = random_answers(seed)
    resamples = np.random.default_rng(seed).multinomial(120, np.full(120, 1 / 120), size=4).astype(np.float64)
    weights = np.concatenate([np.ones((1, 120)), resamples])
    measured = measure(answers, weights)
    for row, weight in enumerate(weights):
        wanted = expected(answers, weight)
        assert {*wanted, "ece"} == set(NAMES) == set(measured)
        for name, value in wanted.items():
            assert measured[name][row] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("seed", range(6))
def test_the_cards_scores_are_scikit_learns_too(seed: int) -> None:
    random = np.random.default_rng(seed)
    severity = random.integers(0, 4, (60, len(CONDITIONS))).astype(np.int8)
    probabilities = random.dirichlet(np.ones(4), severity.shape).astype(np.float32)
    figures = fold_metrics(severity, probabilities, [0.7] * len(CONDITIONS))["conditions"]
    for c, condition in enumerate(CONDITIONS):
        present, score = severity[:, c] > 0, 1 - probabilities[:, c, 0].astype(np.float64)
        for name, function in OF_ANSWERS.items():
            assert figures[condition.value][name] == pytest.approx(function(present, score >= 0.7, sample_weight=None))
        assert figures[condition.value]["auc"] == pytest.approx(sk.roc_auc_score(present, score))
        said = probabilities[present, c, 1:].argmax(-1) + 1
        assert figures[condition.value]["severity_mae"] == pytest.approx(
            sk.mean_absolute_error(severity[present, c], said)
        )


@pytest.mark.parametrize("seed", range(4))
def test_means_are_those_over_the_conditions(seed: int) -> None:
    random = np.random.default_rng(seed)
    severity = random.integers(0, 4, (60, len(CONDITIONS))).astype(np.int8)
    severity[random.random(severity.shape) < 0.2] = UNKNOWN
    severity[:, -1] = UNKNOWN  # a condition of which nothing is known is in no mean
    probabilities = random.dirichlet(np.ones(4), severity.shape).astype(np.float32)
    overall, each = measure_all(severity, probabilities, [0.7] * 7, [str(n) for n in range(60)])
    assert set(each[-1].values.values()) == {None}
    for name in NAMES:
        values = [measured.values[name] for measured in each[:-1]]
        assert overall.values[name] == pytest.approx(np.mean([value for value in values if value is not None]))
    for (known, answers), measured in zip(answers_of(severity, probabilities, [0.7] * 7)[:-1], each, strict=False):
        ones = np.ones(int(known.sum()))
        for name, value in expected(answers, ones).items():
            assert measured.values[name] == pytest.approx(value), name


def test_the_calibration_error_by_hand() -> None:
    # Two in the bin from 0.2, where the mean is 0.25 and half are present; three from 0.9, mean 0.95, two present.
    score = np.array([0.2, 0.3 - 1e-12, 0.95, 1.0, 0.9])
    present = np.array([True, False, True, False, True])
    nothing = np.zeros(5, np.int64)
    answers = ConditionAnswers(present, score > 0.5, score, nothing, nothing)
    weights = np.array([[1.0, 1, 1, 1, 1], [0, 0, 1, 1, 0], [2, 0, 0, 0, 0]])
    ece = measure(answers, weights)["ece"]
    assert ece[0] == pytest.approx((2 * abs(0.25 - 0.5) + 3 * abs(0.95 - 2 / 3)) / 5)
    assert ece[1] == pytest.approx(abs(0.975 - 0.5))
    assert ece[2] == pytest.approx(0.8)


def test_a_probability_on_a_border_is_in_the_upper_bin_and_one_in_the_last() -> None:
    assert bins_of(np.array([0.0, 0.1, 0.5, 0.99, 1.0])).tolist() == [0, 1, 5, 9, 9]


def test_what_is_not_defined_is_none() -> None:
    severity = np.zeros((4, 7), np.int8)
    severity[0, 0] = 2
    probabilities = np.zeros((4, 7, 4), np.float32)
    probabilities[..., 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        overall, each = measure_all(severity, probabilities, [0.5] * 7, list("abcd"))
    assert each[1].values["recall"] is None
    assert each[1].intervals["recall"] is None
    assert each[0].values["precision"] is None
    assert each[0].values["recall"] == 0
    assert overall.values["exact_match"] == 0.75
    assert overall.values["clear_recall"] == 1.0
    none, _ = measure_all(severity[:0], probabilities[:0], [0.5] * 7, [])
    assert set(none.values.values()) == {None}


def test_every_interval_holds_its_estimate_and_is_the_same_again() -> None:
    random = np.random.default_rng(5)
    severity = random.integers(0, 4, (40, 7)).astype(np.int8)
    probabilities = random.dirichlet(np.ones(4), (40, 7)).astype(np.float32)
    roots = [str(n // 2) for n in range(40)]
    overall, each = measure_all(severity, probabilities, [0.6] * 7, roots)
    for measured in (overall, *each):
        for name in NAMES:
            value, bounds = measured.values[name], measured.intervals[name]
            assert bounds is not None
            assert value is not None
            assert bounds[0] <= value <= bounds[1]
            assert bounds[0] < bounds[1], name
    assert (overall, each) == measure_all(severity, probabilities, [0.6] * 7, roots)


def test_images_of_one_root_make_no_interval_narrower() -> None:
    random = np.random.default_rng(6)
    severity = random.integers(0, 4, (60, 7)).astype(np.int8)
    probabilities = random.dirichlet(np.ones(4), (60, 7)).astype(np.float32)
    roots = [str(n) for n in range(60)]
    once, _ = measure_all(severity, probabilities, [0.6] * 7, roots)
    fourfold = (np.tile(severity, (4, 1)), np.tile(probabilities, (4, 1, 1)), [0.6] * 7)
    together, _ = measure_all(*fourfold, roots * 4)
    apart, _ = measure_all(*fourfold, [str(n) for n in range(240)])
    for name in NAMES:
        width = {
            key: float(np.diff(found.intervals[name] or [])[0])
            for key, found in (("once", once), ("together", together), ("apart", apart))
        }
        assert width["together"] == pytest.approx(width["once"]), name
        assert width["apart"] < 0.8 * width["once"], name


def test_an_interval_holds_what_it_says_it_does() -> None:
    """The recall of a classifier whose true recall is known lies in 95% of its intervals, or nearly."""
    random = np.random.default_rng(7)
    truth = np.ones(80, np.bool_)
    nothing = np.zeros(80, np.int64)
    weights = next(draws([str(n) for n in range(80)]))
    inside = 0
    for _ in range(100):
        predicted = random.random(80) < 0.8
        answers = ConditionAnswers(truth, predicted, predicted.astype(np.float64), nothing, nothing)
        bounds = interval(float(predicted.mean()), measure(answers, weights)["recall"], 80)
        assert bounds is not None
        inside += bounds[0] <= 0.8 <= bounds[1]
    assert 89 <= inside <= 99


def test_answers_without_a_mistake_are_not_certain() -> None:
    severity = np.zeros((20, 7), np.int8)
    severity[:10] = 1
    probabilities = np.zeros((20, 7, 4), np.float32)
    probabilities[:10, :, 1] = probabilities[10:, :, 0] = 1
    overall, each = measure_all(severity, probabilities, [0.5] * 7, [str(n // 2) for n in range(20)])
    for measured in (overall, *each):
        for name in SHARES:
            value, bounds = measured.values[name], measured.intervals[name]
            assert value == (0 if name == "false_positive_rate" else 1)
            assert bounds is not None
            assert bounds[1] - bounds[0] > 0.2, name
    assert each[0].intervals["recall"] == pytest.approx([0.5655, 1], abs=1e-4)  # Wilson's of 5 of 5


def test_the_bootstrap_is_bounded() -> None:
    few = sum(len(weights) for weights in draws([str(n) for n in range(50)]))
    many = [len(weights) for weights in draws([str(n) for n in range(500)], cells=150_000)]
    most = sum(len(weights) for weights in draws([str(n) for n in range(500)], cells=1))
    assert few == RESAMPLES
    assert sum(many) == 300
    assert most == 200
