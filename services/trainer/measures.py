"""Every measure of a model's answers about one condition, for many weightings of the images at once. Plain numpy.

A weighting of ones gives the measure itself, one of a bootstrap's draws a resample of it; so estimate and interval are
of one formula. Definitions, where p is the calibrated probability that the condition is present:
- accuracy, recall, specificity, precision, F1: of the four cells; the false-positive rate is 1 - specificity, the share
  of images without the condition in which it is seen; balanced accuracy is the mean of recall and specificity.
- AUC: chance that a positive scores above a negative, ties half (Mann & Whitney, 1947).
- average precision: Σ (R_k - R_(k-1)) P_k over the distinct scores, without interpolation.
- severity kappa: Cohen's kappa with quadratic weights (Cohen, 1968, Psychological Bulletin 70:213-220) of the four
  severities, absent included, of images that are graded.
- ECE, expected calibration error: Σ (n_b / n) |mean p - share present| over BINS equal bins of p (Naeini, Cooper &
  Hauskrecht, 2015, AAAI 29:2901-2907). A small fold inflates it: each bin's chance counts as an error.
Intervals: percentile bootstrap (Efron & Tibshirani, 1993, chapter 13) over roots, seeded; 2.5% to 97.5%. Where all
resamples agree, as on answers without a mistake, a share takes Wilson's interval at as many trials as there are roots
instead: a bootstrap knows no mistake that it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.data import CONDITIONS, UNGRADED, Severities, presence
from services.trainer.scores import Interval, Probabilities, clusters_of, presence_scores, wilson

LEVELS = 4  # absent, mild, moderate, severe
BINS = 10  # of the reliability diagram, each a tenth of the probabilities
RESAMPLES, LEAST_RESAMPLES = 1000, 200  # of the bootstrap; the fewer the more images, down to the least
CELLS = 20_000_000  # images × resamples of one bootstrap: some seconds
_CHUNK_CELLS = 1_000_000  # of these in memory at a time: 8 MB an array
SEED = 20261128
SHARES = ("accuracy", "balanced_accuracy", "recall", "specificity", "false_positive_rate", "precision", "f1")
NAMES = (*SHARES, "auc", "average_precision", "severity_kappa", "ece")
"""Of the measures, in the order of every table. All but kappa are from 0 to 1."""
WHOLE = ("exact_match", "clear_recall")
"""Of the shares of images that no single condition has."""

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ConditionAnswers:
    """What is known and what was answered about one condition in n images.

    `present`, `predicted` (n): whether it is there, and whether the model says so. `score` (n): the probability of
    presence. `severity`, `said` (n): from 0, absent, to 3; `severity` is -1 where it is present and not graded.
    """

    present: Flags
    predicted: Flags
    score: Numbers
    severity: npt.NDArray[np.int64]
    said: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.present)


def answers_of(
    severity: Severities, probabilities: Probabilities, thresholds: npt.ArrayLike
) -> list[tuple[Flags, ConditionAnswers]]:
    """For each condition, which of N images have a known label (N), and the answers about those.

    `severity` (N, 7): the labels; `probabilities` (N, 7, 4): of the severities; `thresholds` (7).
    """
    present, known = presence(severity)
    score = presence_scores(probabilities)
    predicted = score >= np.asarray(thresholds, dtype=np.float64)
    said = np.where(predicted, probabilities[..., 1:].argmax(-1) + 1, 0)
    return [
        (
            known[:, c],
            ConditionAnswers(
                present[known[:, c], c],
                predicted[known[:, c], c],
                score[known[:, c], c],
                severity[known[:, c], c].astype(np.int64),
                said[known[:, c], c].astype(np.int64),
            ),
        )
        for c in range(len(CONDITIONS))
    ]


def measure(answers: ConditionAnswers, weights: Numbers) -> dict[str, Numbers]:
    """Every measure, by its name in NAMES, for each of R weightings (R, n) of the n images; NaN where not defined."""
    present, predicted = answers.present, answers.predicted
    tp, tn = weights @ (present & predicted), weights @ (~present & ~predicted)
    fp, fn = weights @ (~present & predicted), weights @ (present & ~predicted)
    recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    return {
        "accuracy": _ratio(tp + tn, tp + tn + fp + fn),
        "balanced_accuracy": (recall + specificity) / 2,
        "recall": recall,
        "specificity": specificity,
        "false_positive_rate": _ratio(fp, tn + fp),
        "precision": _ratio(tp, tp + fp),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        **_ranking(present, answers.score, weights),
        "severity_kappa": _kappa(answers, weights),
        "ece": _calibration_error(present, answers.score, weights),
    }


def _ratio(part: Numbers, whole: Numbers) -> Numbers:
    ratio: Numbers = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio


def _ranking(present: Flags, score: Numbers, weights: Numbers) -> dict[str, Numbers]:
    """AUC and average precision, from the highest score down; equal scores are one step."""
    if not len(score):
        nothing = np.full(len(weights), np.nan)
        return {"auc": nothing, "average_precision": nothing}
    order = np.argsort(-score, kind="stable")
    steps = np.flatnonzero(np.diff(score[order], prepend=np.inf))
    ordered = weights[:, order]
    positives = np.add.reduceat(ordered * present[order], steps, axis=1)
    negatives = np.add.reduceat(ordered * ~present[order], steps, axis=1)
    found, wrong = positives.cumsum(1), negatives.cumsum(1)
    below = wrong[:, -1:] - wrong
    precision = np.divide(found, found + wrong, out=np.zeros_like(found), where=found + wrong > 0)
    return {
        "auc": _ratio((positives * (below + negatives / 2)).sum(1), found[:, -1] * wrong[:, -1]),
        "average_precision": _ratio((positives * precision).sum(1), found[:, -1]),
    }


def _kappa(answers: ConditionAnswers, weights: Numbers) -> Numbers:
    graded = answers.severity != UNGRADED
    cells = answers.severity[graded] * LEVELS + answers.said[graded]
    counts = weights[:, graded] @ np.eye(LEVELS**2)[cells]
    table = counts.reshape(-1, LEVELS, LEVELS)
    distance = (np.arange(LEVELS)[:, None] - np.arange(LEVELS)) ** 2
    observed = (table * distance).sum((1, 2)) * table.sum((1, 2))
    expected = (table.sum(2)[:, :, None] * table.sum(1)[:, None, :] * distance).sum((1, 2))
    return 1 - _ratio(observed, expected)


def bins_of(score: Numbers) -> npt.NDArray[np.int64]:
    """Which bin of the reliability diagram each probability is in, from 0; one on a border is in the upper one."""
    return np.minimum((score * BINS).astype(np.int64), BINS - 1)


def _calibration_error(present: Flags, score: Numbers, weights: Numbers) -> Numbers:
    inside = np.eye(BINS)[bins_of(score)]
    gaps = np.abs(weights @ (inside * (score - present)[:, None]))
    return _ratio(gaps.sum(1), weights.sum(1))


@dataclass(frozen=True)
class Measured:
    """Measures by name, each with its 95% interval; None where one is not defined."""

    values: dict[str, float | None]
    intervals: dict[str, Interval]


def draws(roots: Sequence[str], cells: int = CELLS) -> Iterator[Numbers]:
    """The bootstrap's weightings (some, n) of n images, in portions: how often each image's root was drawn."""
    clusters, count = clusters_of(roots)
    if not count:
        return
    random = np.random.default_rng(SEED)
    remaining = max(LEAST_RESAMPLES, min(RESAMPLES, cells // len(clusters)))
    while remaining:
        some = min(remaining, max(1, _CHUNK_CELLS // len(clusters)))
        drawn = random.multinomial(count, np.full(count, 1 / count), size=some)
        yield drawn.astype(np.float64)[:, clusters]
        remaining -= some


def measure_all(
    severity: Severities, probabilities: Probabilities, thresholds: npt.ArrayLike, roots: Sequence[str]
) -> tuple[Measured, list[Measured]]:
    """The means over the conditions that define a measure, and each condition's own; arguments as for `answers_of`.

    `roots` (N): of each image. The means have two more: `exact_match`, the share of images whose known conditions were
    all answered right; and `clear_recall`, that of images without any condition in which none was seen.
    """
    conditions = answers_of(severity, probabilities, thresholds)
    images = _per_image(severity, probabilities, thresholds)

    def measured(weights: Numbers) -> Numbers:
        """(R, 1 + conditions, measures)."""
        each = np.stack([_row(measure(answers, weights[:, known])) for known, answers in conditions], 1)
        whole = np.stack([_ratio(weights @ right, weights @ among) for right, among in images], 1)
        apart = np.full((*each.shape[:2], len(images)), np.nan)
        means = np.concatenate([_mean(each, 1), whole], 1)
        return np.concatenate([means[:, None], np.concatenate([each, apart], 2)], 1)

    value = measured(np.ones((1, len(severity))))[0]
    resampled = [measured(weights) for weights in draws(roots)]
    found = np.concatenate(resampled) if resampled else value[None]
    each = [_roots_behind(answers, _chosen(roots, known)) for known, answers in conditions]
    every = {name: min((counts[name] for counts in each if counts[name]), default=0) for name in SHARES}
    every |= {name: len(set(_chosen(roots, among))) for name, (_, among) in zip(WHOLE, images, strict=True)}
    overall = _summary((*NAMES, *WHOLE), value[0], found[:, 0], every)
    return overall, [_summary(NAMES, value[row], found[:, row], counts) for row, counts in enumerate(each, start=1)]


def _chosen(roots: Sequence[str], flags: Flags) -> list[str]:
    return [root for root, is_one in zip(roots, flags, strict=True) if is_one]


def _per_image(
    severity: Severities, probabilities: Probabilities, thresholds: npt.ArrayLike
) -> list[tuple[Flags, Flags]]:
    """For each measure in WHOLE, the images that were answered right, and those that it is a share of."""
    present, known = presence(severity)
    predicted = presence_scores(probabilities) >= np.asarray(thresholds, dtype=np.float64)
    clear = (known & ~present).all(1)
    exact = ((present == predicted) | ~known).all(1)
    return [(exact, np.ones_like(exact)), (clear & ~predicted.any(1), clear)]


def _row(measures: dict[str, Numbers]) -> Numbers:
    return np.stack([measures[name] for name in NAMES], -1)


def _mean(values: Numbers, axis: int) -> Numbers:
    """The mean of what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    count = defined.sum(axis)
    total = np.where(defined, values, 0.0).sum(axis)
    means: Numbers = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means


def _roots_behind(answers: ConditionAnswers, roots: Sequence[str]) -> dict[str, int]:
    """How many roots the images have that each share is of; of balanced accuracy's two, the fewer."""
    present, predicted = answers.present, answers.predicted
    known, shown, clear, claimed, either = (
        len(set(_chosen(roots, group)))
        for group in (np.ones_like(present), present, ~present, predicted, present | predicted)
    )
    return {
        "accuracy": known,
        "balanced_accuracy": min(shown, clear),
        "recall": shown,
        "specificity": clear,
        "false_positive_rate": clear,
        "precision": claimed,
        "f1": either,
    }


def _summary(names: Sequence[str], value: Numbers, resampled: Numbers, roots: dict[str, int]) -> Measured:
    values: dict[str, float | None] = {}
    intervals: dict[str, Interval] = {}
    for column, name in enumerate(names):
        estimate = float(value[column])
        is_defined = math.isfinite(estimate)
        values[name] = estimate if is_defined else None
        intervals[name] = interval(estimate, resampled[:, column], roots.get(name)) if is_defined else None
    return Measured(values, intervals)


def interval(value: float, resampled: Numbers, roots: int | None) -> Interval:
    """The percentile interval of a measure by its resamples (R), of which those that do not define it are left out.

    `roots`: that a share is of; None: the measure is none.
    """
    defined = resampled[np.isfinite(resampled)]
    if not len(defined):
        return None
    low, high = (float(end) for end in np.quantile(defined, [0.025, 0.975]))
    if roots is not None and low == high:
        return wilson(value * roots, roots)
    return [min(low, value), max(high, value)]
