"""Scores against values computed by hand, intervals against published ones, thresholds."""

from __future__ import annotations

import json
import math

import numpy as np
import numpy.typing as npt
import pytest

from services.trainer.data import CONDITIONS, UNGRADED, UNKNOWN, Severities
from services.trainer.scores import Probabilities, auc, choose_thresholds, fold_metrics, wilson
from services.trainer.scores import answers as decide


def answers(scores: list[float], severity: int = 1) -> npt.NDArray[np.float32]:
    """Probabilities (N, 7, 4) whose first condition has these presence scores; the others are absent."""
    probabilities = np.zeros((len(scores), len(CONDITIONS), 4), np.float32)
    probabilities[..., 0] = 1
    probabilities[:, 0, 0] = 1 - np.array(scores)
    probabilities[:, 0, severity] = scores
    return probabilities


def labels(first: list[int]) -> npt.NDArray[np.int8]:
    severity = np.zeros((len(first), len(CONDITIONS)), np.int8)
    severity[:, 0] = first
    return severity


def test_confusion_figures_by_hand() -> None:
    # present: 4 (said 3), absent: 6 (said 1): TP 3, FN 1, FP 1, TN 5
    severity = labels([1, 2, 3, 1, 0, 0, 0, 0, 0, 0])
    metrics = fold_metrics(severity, answers([0.9, 0.8, 0.7, 0.1, 0.6, 0.2, 0.1, 0.1, 0.1, 0.1]), [0.5] * 7)
    acne = metrics["conditions"]["acne"]
    assert (acne["n"], acne["positives"]) == (10, 4)
    assert acne["accuracy"] == 0.8
    assert acne["recall"] == 0.75
    assert acne["specificity"] == pytest.approx(5 / 6)
    assert acne["balanced_accuracy"] == pytest.approx((0.75 + 5 / 6) / 2)
    assert acne["precision"] == 0.75
    assert acne["f1"] == 0.75
    # answers "mild" throughout; labels 1, 2, 3, 1
    assert acne["severity_mae"] == pytest.approx((0 + 1 + 2 + 0) / 4)


def test_every_figure_has_its_own_cells() -> None:
    # TP 5, FN 3, FP 2, TN 10: no two cells are alike, so that none can stand in for another
    severity = labels([1] * 8 + [0] * 12)
    scores = [0.9] * 5 + [0.1] * 3 + [0.9] * 2 + [0.1] * 10
    acne = fold_metrics(severity, answers(scores), [0.5] * 7)["conditions"]["acne"]
    expected = {
        "accuracy": (15 / 20, 0.53130, 0.88814),
        "recall": (5 / 8, 0.30574, 0.86316),
        "specificity": (10 / 12, 0.55197, 0.95303),
        "precision": (5 / 7, 0.35893, 0.91778),
        "f1": (10 / 15, 0.38265, 0.86583),  # 2J / (1 + J) of J = 5 / 10, whose interval is 0.23659 to 0.76341
        # MOVER: 35/48 - √((0.625 - 0.30574)² + (0.83333 - 0.55197)²) / 2, and so upwards
        "balanced_accuracy": (35 / 48, 0.51639, 0.86244),
    }
    # Wilson's bounds by bisection: where (estimate - p)² = z² p (1 - p) / n, z = 1.959964
    for name, (value, low, high) in expected.items():
        assert acne[name] == pytest.approx(value)
        assert acne["intervals"][name] == pytest.approx([low, high], abs=1e-5)


def test_a_score_at_the_threshold_is_a_yes() -> None:
    assert fold_metrics(labels([1]), answers([0.5]), [0.5] * 7)["conditions"]["acne"]["recall"] == 1.0


def test_severity_misses_count_in_degrees() -> None:
    for said, missed in ((1, (0 + 1 + 2) / 3), (2, (1 + 0 + 1) / 3), (3, (2 + 1 + 0) / 3)):
        metrics = fold_metrics(labels([1, 2, 3]), answers([0.9] * 3, severity=said), [0.5] * 7)
        assert metrics["conditions"]["acne"]["severity_mae"] == pytest.approx(missed)


def test_overall_is_the_mean_over_conditions_and_leaves_out_the_undefined() -> None:
    severity = labels([1, 0])
    metrics = fold_metrics(severity, answers([0.9, 0.9]), [0.5] * 7)
    overall = metrics["overall"]
    assert overall["n"] == 2
    assert overall["accuracy"] == pytest.approx((0.5 + 6) / 7)
    assert overall["recall"] == 1.0  # the only condition with a positive
    assert overall["exact_match"] == 0.5
    assert metrics["conditions"]["redness"]["recall"] is None
    assert metrics["conditions"]["redness"]["balanced_accuracy"] is None
    json.dumps(metrics, allow_nan=False)


def test_unknown_labels_count_nowhere() -> None:
    severity = labels([1, 0, UNKNOWN, UNKNOWN])
    metrics = fold_metrics(severity, answers([0.9, 0.1, 0.9, 0.1]), [0.5] * 7)
    assert metrics["conditions"]["acne"]["n"] == 2
    assert metrics["conditions"]["acne"]["accuracy"] == 1.0
    assert metrics["overall"]["exact_match"] == 1.0


def test_ungraded_counts_as_present_and_not_for_severity() -> None:
    metrics = fold_metrics(labels([UNGRADED, 0]), answers([0.9, 0.1]), [0.5] * 7)["conditions"]["acne"]
    assert (metrics["positives"], metrics["recall"], metrics["severity_mae"]) == (1, 1.0, None)


def test_a_fold_without_images_has_no_figures() -> None:
    metrics = fold_metrics(labels([]).reshape(0, 7), answers([]).reshape(0, 7, 4), [0.5] * 7)
    assert metrics["overall"]["n"] == 0
    assert metrics["overall"]["accuracy"] is None
    assert metrics["overall"]["intervals"]["accuracy"] is None
    json.dumps(metrics, allow_nan=False)


def test_each_condition_decides_by_its_own_threshold() -> None:
    severity, probabilities = labels([1, 0]), answers([0.4, 0.2])
    assert fold_metrics(severity, probabilities, [0.3] + [0.5] * 6)["conditions"]["acne"]["recall"] == 1.0
    assert fold_metrics(severity, probabilities, [0.5] * 7)["conditions"]["acne"]["recall"] == 0.0


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    # Newcombe (1998), Statistics in Medicine 17:857-872, table I, method 3
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_gives_the_published_intervals(successes: int, trials: int, expected: tuple[float, float]) -> None:
    assert wilson(successes, trials) == pytest.approx(expected, abs=5e-5)


def test_wilson_of_nothing_is_none() -> None:
    assert wilson(0, 0) is None


def test_wilson_of_one_trial() -> None:
    assert wilson(1, 1) == pytest.approx([1 / (1 + 1.959964**2), 1])  # the formula's limit at a share of 1, n = 1


def test_every_interval_holds_its_estimate() -> None:
    random = np.random.default_rng(5)
    severity = random.integers(0, 4, (40, 7)).astype(np.int8)
    probabilities = random.dirichlet(np.ones(4), (40, 7)).astype(np.float32)
    metrics = fold_metrics(severity, probabilities, [0.6] * 7)
    for figures in (metrics["overall"], *metrics["conditions"].values()):
        for name, interval in figures["intervals"].items():
            assert 0 <= interval[0] <= figures[name] <= interval[1] <= 1
    assert metrics == fold_metrics(severity, probabilities, [0.6] * 7)  # the bootstrap is seeded


def test_a_resample_without_a_positive_says_nothing_of_recall() -> None:
    # One positive of three images: a third of the resamples lack it. All others have recall 1, and so has the mean.
    overall = fold_metrics(labels([1, 0, 0]), answers([0.9, 0.1, 0.1]), [0.5] * 7)["overall"]
    assert overall["intervals"]["recall"] == [1.0, 1.0]


def test_without_roots_each_image_is_its_own() -> None:
    severity, probabilities = labels([1, 0] * 12), answers([0.9, 0.2, 0.4, 0.7] * 6)
    alone = fold_metrics(severity, probabilities, [0.5] * 7, [f"image {n}" for n in range(24)])
    assert fold_metrics(severity, probabilities, [0.5] * 7) == alone
    low, high = alone["overall"]["intervals"]["balanced_accuracy"]
    assert low < high


def test_images_of_one_root_make_no_interval_narrower() -> None:
    first, scores = [1, 0] * 12, [0.9, 0.2, 0.4, 0.7] * 6
    roots = [str(n) for n in range(len(first))]
    once, apart, together = (
        fold_metrics(labels(first * copies), answers(scores * copies), [0.5] * 7, named)
        for copies, named in ((1, roots), (4, None), (4, roots * 4))
    )
    for one, four, repeated in (
        (once["overall"], apart["overall"], together["overall"]),
        (once["conditions"]["acne"], apart["conditions"]["acne"], together["conditions"]["acne"]),
    ):
        for name, (low, high) in one["intervals"].items():
            assert repeated["intervals"][name] == pytest.approx((low, high)), name
            assert np.subtract(*four["intervals"][name][::-1]) < 0.7 * (high - low), name


def test_a_root_of_many_images_is_no_more_than_a_root() -> None:
    """Three of one root and one of another are worth 4² / (3² + 1²) = 1.6 images of roots of their own."""
    metrics = fold_metrics(labels([1] * 4), answers([0.9] * 4), [0.5] * 7, ["a", "a", "a", "b"])
    acne = metrics["conditions"]["acne"]
    assert acne["n"] == acne["positives"] == 4
    for name in ("recall", "precision", "accuracy"):
        assert acne["intervals"][name] == wilson(1.6, 1.6)
    assert acne["intervals"]["specificity"] is None
    assert metrics["overall"]["intervals"]["exact_match"] == wilson(1.6, 1.6)


def test_auc_by_hand() -> None:
    # Of nine pairs five are right and one is a tie.
    scores = np.array([0.9, 0.4, 0.3, 0.4, 0.1, 0.5])
    assert auc(np.array([True] * 3 + [False] * 3), scores) == pytest.approx(5.5 / 9)
    present = np.array([True, True, False, False])
    assert auc(present, np.array([0.9, 0.4, 0.4, 0.1])) == 0.875  # of four pairs three are right, one is a tie
    assert auc(np.array([True]), np.array([0.9])) is None


def test_thresholds_follow_the_validation_fold() -> None:
    severity = labels([1] * 200 + [0] * 200)
    random = np.random.default_rng(1)
    scores = [*random.uniform(0.25, 0.6, 200), *random.uniform(0.0, 0.15, 200)]
    threshold = choose_thresholds(severity, answers(scores))[0]
    assert 0.15 < threshold < 0.26


def spread(*groups: tuple[int, float]) -> list[float]:
    """So many images with that score, for each group."""
    return [score for count, score in groups for _ in range(count)]


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        # One cut, 0.2, of odds 1/4; 45 positives of 45 + 15 weigh 3/4: odds (1/4)^(3/4) = 1 / √8.
        (spread((45, 0.3)), spread((60, 0.1)), 1 / (1 + math.sqrt(8))),
        # Cut 0.3: recall 1, specificity 1/2. Cut 0.6: 2/3 and 1, which is better. Odds 3/2, weight 30 / 45.
        (spread((20, 0.8), (10, 0.4)), spread((45, 0.2), (45, 0.4)), 1 / (1 + 1.5 ** (-2 / 3))),
        # Cut 0.3: recall 1, specificity 1/2, which is better. Cut 0.6: 1/3 and 1. Odds 3/7.
        (spread((10, 0.8), (20, 0.4)), spread((45, 0.2), (45, 0.4)), 1 / (1 + (7 / 3) ** (2 / 3))),
        # Cut 0.1: recall 1, specificity 1/2. Cut 0.5: 1/2 and 1, as good. Between them: odds √(1/9 · 1), weight 2/3.
        (spread((15, 0.2), (15, 0.8)), spread((15, 0.0), (15, 0.2)), 1 / (1 + 3 ** (2 / 3))),
        # Cut 0.001: its odds are held to e⁻³, that is a threshold of 0.0474 before the weight of 45 / 60.
        (spread((45, 0.002)), spread((45, 0.0)), 1 / (1 + math.exp(3 * 3 / 4))),
        # Every answer alike: nothing to choose from.
        (spread((20, 0.7)), spread((20, 0.7)), 0.5),
    ],
)
def test_thresholds_by_hand(positives: list[float], negatives: list[float], expected: float) -> None:
    severity = labels([1] * len(positives) + [0] * len(negatives))
    assert choose_thresholds(severity, answers(positives + negatives))[0] == pytest.approx(expected, abs=1e-6)


def of_each(shown: int, clear: int, apart: float, seed: int) -> tuple[Severities, Probabilities]:
    """`shown` images of each condition and `clear` ones without any, whose logits lie `apart` on average."""
    random = np.random.default_rng(seed)
    severity = np.zeros((7 * shown + clear, 7), np.int8)
    severity[np.arange(7 * shown), np.arange(7 * shown) // shown] = 1
    present = 1 / (1 + np.exp(-random.normal(apart * (severity - 0.5), 1)))
    zeros = np.zeros_like(present)
    return severity, np.stack([1 - present, present, zeros, zeros], -1).astype(np.float32)


def clear_recall(severity: Severities, probabilities: Probabilities, thresholds: list[float]) -> float:
    nothing = np.asarray(~decide(probabilities, thresholds).any(1))
    return float(nothing[np.asarray((severity == 0).all(1))].mean())


def test_nothing_to_see_is_an_answer() -> None:
    severity, probabilities = of_each(60, 300, 3.0, seed=1)
    others, other_probabilities = of_each(60, 300, 3.0, seed=2)
    thresholds = choose_thresholds(severity, probabilities)
    alone = choose_thresholds(
        np.where(np.asarray(severity.any(1))[:, None], severity, UNKNOWN).astype(np.int8), probabilities
    )
    before, after = (clear_recall(others, other_probabilities, found) for found in (alone, thresholds))
    assert before < 0.6 < after  # seven thresholds that each let one in fourteen through
    recalls = fold_metrics(others, other_probabilities, thresholds)["overall"]
    assert abs(after - recalls["recall"]) < 0.15  # as well as any condition
    assert recalls["balanced_accuracy"] > 0.88


def test_without_clear_skin_or_with_nothing_else_no_threshold_moves() -> None:
    severity, probabilities = of_each(60, 0, 3.0, seed=1)
    thresholds = choose_thresholds(severity, probabilities)
    for condition in range(7):  # as where nothing is known of the others, and so of nobody that the skin is clear
        known = np.full_like(severity, UNKNOWN)
        known[:, condition] = severity[:, condition]
        assert choose_thresholds(known, probabilities)[condition] == pytest.approx(thresholds[condition])
    nobody = np.zeros_like(severity)
    assert choose_thresholds(nobody, probabilities) == [0.5] * 7


def test_the_neutral_probability_is_what_thresholds_are_drawn_to() -> None:
    severity = labels([1] * 15 + [0] * 45)
    probabilities = answers(spread((15, 0.4), (45, 0.1)))
    # Cut 0.25: drawn nowhere where that is neutral.
    assert choose_thresholds(severity, probabilities, [0.25] * 7)[0] == pytest.approx(0.25)
    # Neutral odds 1: 15 positives weigh 1/2, odds (1/3)^(1/2).
    assert choose_thresholds(severity, probabilities, [0.5] * 7)[0] == pytest.approx(1 / (1 + math.sqrt(3)))
    assert choose_thresholds(severity, probabilities, [0.1] * 7)[1:] == pytest.approx([0.1] * 6)


def test_a_tiny_fold_hardly_moves_the_threshold() -> None:
    assert choose_thresholds(labels([1, 0]), answers([0.05, 0.01]))[0] > 0.35
    assert choose_thresholds(labels([0, 0]), answers([0.05, 0.01])) == [0.5] * 7


def test_thresholds_stay_inside_the_unit_interval() -> None:
    severity = labels([1] * 500 + [0] * 500)
    barely = answers([1.0] * 1000)
    barely[500:, 0, 0] = 1.2e-16  # halfway to the positives' score of 1, rounded, is 1: its odds are without end
    assert choose_thresholds(severity, barely)[0] == pytest.approx(1 / (1 + math.exp(-3 * 500 / 515)))
    severity = labels([1] * 500 + [0] * 500)
    threshold = choose_thresholds(severity, answers([1.0] * 500 + [1 - 1e-7] * 500))[0]
    assert math.isfinite(threshold)
    assert 0.04 < threshold < 0.96
