"""How much better a model is than another on the same test images, and how sure that is. Plain numpy.

Compared is the mean over conditions of the balanced accuracy: each condition, and each of its two answers, counts the
same however rare it is, so that the fold need not be balanced. Sources of the bounds:
- paired bootstrap, percentile (Efron & Tibshirani, 1993, An Introduction to the Bootstrap, chapter 13): both models
  answer the same images, so their difference is resampled, not each of them;
- whole clusters are resampled (Davison & Hinkley, 1997, Bootstrap Methods and their Application, section 3.8): images
  of one root are no independent evidence;
- before that, each answer of a condition gets one root more that only the candidate is right on and one that only the
  other is, of the average size (Bonett & Price, 2012, Journal of Educational and Behavioral Statistics 37:479-488, for
  paired proportions). Without them, a few images that both models answer alike would look like certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.data import CONDITIONS, Severities, presence
from services.trainer.scores import clusters_of

RESAMPLES = 2000  # the bounds are stable to about a tenth of their distance
SEED = 20261127
TAIL = 0.05  # chance that the true difference lies below the lower bound, and as much above the upper one
MIN_ROOTS = 5  # that show a condition, and as many that do not: below, its answers say nothing of the next face
_CHUNK = 100  # resamples at a time: bounds memory

Answers = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """The candidate's mean balanced accuracy less the other model's.

    `lower`, `upper`: one-sided bounds, each wrong with chance TAIL. All three are None where no condition could be
    compared. `conditions`: those that were; `left_out`: those with fewer than MIN_ROOTS. `images` and `roots` are
    the fold's.
    """

    difference: float | None
    lower: float | None
    upper: float | None
    conditions: tuple[str, ...]
    left_out: tuple[str, ...]
    images: int
    roots: int


def compare(
    severity: Severities, roots: Sequence[str], candidate: Answers, other: Answers, *, resamples: int = RESAMPLES
) -> Difference:
    """Compare the answers (N, 7) of two models, present or not, to N images with labels (N, 7) and their roots."""
    present, known = presence(severity)
    clusters, count = clusters_of(roots)
    weights: list[npt.NDArray[np.float64]] = []
    gains: list[npt.NDArray[np.float64]] = []
    compared = []
    for c in range(len(CONDITIONS)):
        groups = (known[:, c] & present[:, c], known[:, c] & ~present[:, c])
        if min(len(np.unique(clusters[group])) for group in groups) < MIN_ROOTS:
            continue
        compared.append(c)
        gain = (candidate[:, c] == present[:, c]).astype(np.float64) - (other[:, c] == present[:, c])
        for group in groups:
            weights.append(_sums(clusters, group, count))
            gains.append(_sums(clusters, group * gain, count))
    named = tuple(CONDITIONS[c].value for c in compared)
    left_out = tuple(condition.value for condition in CONDITIONS if condition.value not in named)
    if not compared:
        return Difference(None, None, None, named, left_out, len(severity), count)
    per_cluster, gained = np.stack(weights, 1), np.stack(gains, 1)
    means = _resampled(per_cluster, gained, resamples)
    lower, upper = (float(bound) for bound in np.quantile(means, [TAIL, 1 - TAIL]))
    difference = float((gained.sum(0) / per_cluster.sum(0)).mean())
    return Difference(difference, lower, upper, named, left_out, len(severity), count)


def _sums(clusters: npt.NDArray[np.int64], values: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
    return np.bincount(clusters, values, count).astype(np.float64)


def _resampled(
    per_cluster: npt.NDArray[np.float64], gained: npt.NDArray[np.float64], resamples: int
) -> npt.NDArray[np.float64]:
    """The difference in each of so many resamples, from (clusters, groups) of images and of their gains."""
    random = np.random.default_rng(SEED)
    clusters, groups = per_cluster.shape
    size = per_cluster.sum(0) / (per_cluster > 0).sum(0)  # images of a root, on average
    means = []
    for start in range(0, resamples, _CHUNK):
        number = min(_CHUNK, resamples - start)
        drawn = random.multinomial(clusters, np.full(clusters, 1 / clusters), size=number).astype(np.float64)
        better, worse = size * random.poisson(1.0, (2, number, groups))
        total = drawn @ per_cluster + better + worse
        share = (drawn @ gained + better - worse) / np.maximum(total, 1)  # none of a group drawn: no difference in it
        means.append(share.mean(1))
    return np.concatenate(means)
