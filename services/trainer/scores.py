"""A model's scores on a fold, with 95% intervals. Plain numpy: from labels and probabilities to numbers.

Sources of the intervals:
- accuracy, recall, specificity, precision, exact match: Wilson's score interval (Wilson, 1927, JASA 22:209-212).
- balanced accuracy of a condition, the mean of two independent proportions: MOVER on their Wilson intervals
  (Zou & Donner, 2008, Statistics in Medicine 27:1693-1702).
- F1 of a condition: F1 = 2J / (1 + J) with J = TP / (TP + FP + FN), a proportion (Hand, Christen & Kirielle,
  2021, Machine Learning 110:451-456); Wilson's interval of J, carried over.
- means over conditions: percentile bootstrap (Efron & Tibshirani, 1993, chapter 13), seeded, over roots: images of
  one root are no independent evidence.
All but the last stay honest where a small fold is answered without a mistake. They reckon with as many independent
answers as images of several roots are worth where those of one root are all answered alike: (Σ m)² / Σ m² for roots of
m images (Kish, 1965, Survey Sampling, section 8.2, at an intraclass correlation of 1). That errs on the wide side, and
needs no estimate of the correlation, which a fold without a mistake could not give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.data import CONDITIONS, Severities, presence

Z = 1.959963984540054  # 97.5% quantile of the normal distribution: two-sided 95%
RESAMPLES = 1000  # of the bootstrap: the interval's ends are stable to about half a percentage point
BOOTSTRAP_SEED = 20240607
THRESHOLD_PRIOR = 15.0  # positives; with fewer real ones than that, 0.5 has the larger say
_LOGIT_LIMIT = 3.0  # a threshold outside 0.05…0.95, at even odds, would rest on one or two scores
_MOVES = np.arange(-20, 31) / 10  # of all thresholds, on the logit scale; the nearest to none wins a tie
MACRO_SCORES = ("accuracy", "balanced_accuracy", "recall", "precision", "f1")

Probabilities = npt.NDArray[np.float32]
Counts = npt.NDArray[np.float64]
Interval = list[float] | None


def wilson(successes: float, trials: float) -> Interval:
    """Wilson's 95% interval of a proportion, or None where there was no trial."""
    if trials <= 0:
        return None
    share = successes / trials
    centre = (share + Z * Z / (2 * trials)) / (1 + Z * Z / trials)
    half = Z / (1 + Z * Z / trials) * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    # Rounded, so that the end of a flawless (or hopeless) series is 1 (or 0), as it is in exact arithmetic.
    return [max(0.0, round(centre - half, 12)), min(1.0, round(centre + half, 12))]


def independent(clusters: npt.NDArray[np.int64]) -> float:
    """The share of images, by the numbers of their roots, that counts as independent; 1 where each is of its own."""
    sizes = np.unique_counts(clusters).counts.astype(np.float64)
    return float(sizes.sum() / (sizes**2).sum()) if len(sizes) else 1.0


def clusters_of(roots: Sequence[str]) -> tuple[npt.NDArray[np.int64], int]:
    """The number of each image's root, counted from 0 in order of appearance, and how many roots there are."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(root, len(numbers)) for root in roots], dtype=np.int64), len(numbers)


def answers(probabilities: Probabilities, thresholds: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which conditions are present (N, 7), by severity probabilities (N, 7, 4) and one threshold per condition."""
    return presence_scores(probabilities) >= np.asarray(thresholds, dtype=np.float64)


def presence_scores(probabilities: Probabilities) -> Counts:
    """The probability that each condition is present at all (N, 7)."""
    return 1.0 - probabilities[..., 0].astype(np.float64)


def fold_metrics(
    severity: Severities, probabilities: Probabilities, thresholds: npt.ArrayLike, roots: Sequence[str] | None = None
) -> dict[str, Any]:
    """Score severity probabilities (N, 7, 4) against labels (N, 7), with one threshold per condition.

    `roots`: the root of each image; None: each is its own. A score that is not defined (recall without a positive) is
    None. Unknown labels are left out. Overall scores are means over the conditions that define them. `exact_match` is
    the share of images whose known conditions were all answered right; `n` is the number of images.
    """
    present, known = presence(severity)
    score, predicted = presence_scores(probabilities), answers(probabilities, thresholds)
    expected = probabilities[..., 1:].argmax(-1) + 1
    clusters, count = clusters_of([str(n) for n in range(len(severity))] if roots is None else roots)
    conditions = {
        condition.value: _condition_scores(
            present[known[:, c], c],
            predicted[known[:, c], c],
            score[known[:, c], c],
            severity[known[:, c], c],
            expected[known[:, c], c],
            clusters[known[:, c]],
        )
        for c, condition in enumerate(CONDITIONS)
    }
    return {
        "overall": _overall_scores(present, known, predicted, conditions, clusters, count),
        "conditions": conditions,
    }


def _condition_scores(
    present: npt.NDArray[np.bool_],
    predicted: npt.NDArray[np.bool_],
    score: Counts,
    severity: Severities,
    expected: npt.NDArray[np.int64],
    clusters: npt.NDArray[np.int64],
) -> dict[str, Any]:
    def interval(successes: int, among: npt.NDArray[np.bool_]) -> Interval:
        share = independent(clusters[among])
        return wilson(share * successes, share * int(among.sum()))

    n = len(present)
    tp, tn = int((present & predicted).sum()), int((~present & ~predicted).sum())
    fp, fn = int((~present & predicted).sum()), int((present & ~predicted).sum())
    recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    recall_interval, specificity_interval = interval(tp, present), interval(tn, ~present)
    jaccard = interval(tp, present | predicted)
    graded = present & (severity >= 1)
    misses = np.abs(expected - severity)[graded]
    return {
        "n": n,
        "positives": tp + fn,
        "accuracy": _ratio(tp + tn, n),
        "balanced_accuracy": None if recall is None or specificity is None else (recall + specificity) / 2,
        "recall": recall,
        "specificity": specificity,
        "precision": _ratio(tp, tp + fp),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "auc": auc(present, score),
        "severity_mae": float(misses.mean()) if len(misses) else None,
        "intervals": {
            "accuracy": interval(tp + tn, np.ones(n, dtype=np.bool_)),
            "balanced_accuracy": _interval_of_mean(recall, specificity, recall_interval, specificity_interval),
            "recall": recall_interval,
            "specificity": specificity_interval,
            "precision": interval(tp, predicted),
            "f1": None if jaccard is None else [2 * end / (1 + end) for end in jaccard],
        },
    }


def auc(present: npt.NDArray[np.bool_], score: Counts) -> float | None:
    """Chance that a positive scores above a negative, ties half (Mann & Whitney, 1947); None with one class only."""
    positives, negatives = score[present], np.sort(score[~present])
    if not len(positives) or not len(negatives):
        return None
    below = np.searchsorted(negatives, positives, "left") + np.searchsorted(negatives, positives, "right")
    return float(below.mean() / 2 / len(negatives))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _interval_of_mean(a: float | None, b: float | None, interval_a: Interval, interval_b: Interval) -> Interval:
    """MOVER interval of (a + b) / 2."""
    if a is None or b is None or interval_a is None or interval_b is None:
        return None
    below, above = math.hypot(a - interval_a[0], b - interval_b[0]), math.hypot(interval_a[1] - a, interval_b[1] - b)
    return [max(0.0, (a + b - below) / 2), min(1.0, (a + b + above) / 2)]


def _overall_scores(
    present: npt.NDArray[np.bool_],
    known: npt.NDArray[np.bool_],
    predicted: npt.NDArray[np.bool_],
    conditions: dict[str, dict[str, Any]],
    clusters: npt.NDArray[np.int64],
    count: int,
) -> dict[str, Any]:
    n = len(present)
    right = int((((present == predicted) | ~known).all(1)).sum())
    overall: dict[str, Any] = {"n": n, "exact_match": _ratio(right, n)}
    for name in (*MACRO_SCORES, "auc", "severity_mae"):
        values = [figures[name] for figures in conditions.values() if figures[name] is not None]
        overall[name] = float(np.mean(values)) if values else None
    share = independent(clusters)
    overall["intervals"] = {
        "exact_match": wilson(share * right, share * n),
        **_bootstrap(present, known, predicted, clusters, count),
    }
    return overall


def _bootstrap(
    present: npt.NDArray[np.bool_],
    known: npt.NDArray[np.bool_],
    predicted: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.int64],
    count: int,
) -> dict[str, Interval]:
    if not count:
        return dict.fromkeys(MACRO_SCORES)
    random = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = random.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)
    weights = drawn[:, clusters]
    cells = (
        known & present & predicted,
        known & ~present & ~predicted,
        known & ~present & predicted,
        known & present & ~predicted,
    )
    tp, tn, fp, fn = (weights @ cell.astype(np.float64) for cell in cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = tp / (tp + fn)
        per_condition = {
            "accuracy": (tp + tn) / (tp + tn + fp + fn),
            "balanced_accuracy": (recall + tn / (tn + fp)) / 2,
            "recall": recall,
            "precision": tp / (tp + fp),
            "f1": 2 * tp / (2 * tp + fp + fn),
        }
    intervals: dict[str, Interval] = {}
    for name, values in per_condition.items():
        defined = np.isfinite(values)
        usable = defined.any(1)
        means = np.where(defined, values, 0.0).sum(1)[usable] / defined.sum(1)[usable]
        intervals[name] = [float(end) for end in np.quantile(means, [0.025, 0.975])] if usable.any() else None
    return intervals


def choose_thresholds(
    severity: Severities, probabilities: Probabilities, neutral: Sequence[float] | None = None
) -> list[float]:
    """Choose for each condition the threshold with the best balanced accuracy on a (validation) fold.

    Then all are moved together, so that "nothing to see" is an answer as well: seven thresholds that each let a few
    pictures through leave little clear skin. The mean balanced accuracy over the conditions, and that of "is there
    anything at all", are to be best in sum.

    Against the chance of small folds, the best cut is drawn towards `neutral` (probabilities that speak neither for nor
    against each condition, None: 0.5) on the logit scale, as by THRESHOLD_PRIOR further positives; so is the common
    move towards none. Without a positive or without a negative the threshold is neutral.
    """
    present, known = presence(severity)
    score = presence_scores(probabilities)
    even = [0.5] * len(CONDITIONS) if neutral is None else neutral
    found = [_threshold(present[known[:, c], c], score[known[:, c], c], even[c]) for c in range(len(CONDITIONS))]
    cuts = _logit(np.array(found))
    move = _common_move(present, known, _logit(score) - cuts)
    return [1 / (1 + math.exp(-cut - move)) for cut in cuts] if move else found


def _threshold(present: npt.NDArray[np.bool_], score: Counts, neutral: float) -> float:
    positives, negatives = np.sort(score[present]), np.sort(score[~present])
    if not len(positives) or not len(negatives):
        return neutral
    found = np.unique(score)
    cuts = (found[1:] + found[:-1]) / 2
    if not len(cuts):
        return neutral
    recall = 1 - np.searchsorted(positives, cuts, "left") / len(positives)
    specificity = np.searchsorted(negatives, cuts, "left") / len(negatives)
    balanced = recall + specificity
    middle = float(_logit(np.array(neutral)))
    best = _logit(cuts[balanced >= balanced.max() - 1e-12]) - middle
    logit = float(np.clip(np.median(best), -_LOGIT_LIMIT, _LOGIT_LIMIT)) * _trust(len(positives), len(negatives))
    return 1 / (1 + math.exp(-logit - middle))


def _logit(probability: Counts) -> Counts:
    clipped = probability.clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)


def _common_move(present: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_], margins: Counts) -> float:
    """How far up all thresholds go, on the logit scale. `margins` (N, 7): of the scores above the thresholds."""
    clear, shown = (known & ~present).all(1), (known & present).any(1)
    if not clear.any() or not shown.any():
        return 0.0
    totals = [(known & group).sum(0) for group in (present, ~present)]
    usable = (totals[0] > 0) & (totals[1] > 0)
    worth = []
    for move in _MOVES:
        answered = margins >= move
        right = (answered & present & known, ~answered & ~present & known)
        each = [part.sum(0)[usable] / total[usable] for part, total in zip(right, totals, strict=True)]
        anything = answered.any(1)
        conditions = np.mean(each) if usable.any() else 0.0
        worth.append(conditions + (anything[shown].mean() + 1 - anything[clear].mean()) / 2)
    best = _MOVES[np.array(worth) >= max(worth) - 1e-12]
    return float(best[np.abs(best).argmin()]) * _trust(int(clear.sum()), int(shown.sum()))


def _trust(positives: int, negatives: int) -> float:
    """How far so many images are believed, from 0 to 1."""
    fewer = min(positives, negatives)
    return fewer / (fewer + THRESHOLD_PRIOR)
