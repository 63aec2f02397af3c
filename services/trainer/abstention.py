"""Chooses for each condition the band of probabilities in which a model had better not answer.

A classifier that may abstain trades answers for accuracy (Chow, 1970, IEEE Transactions on Information Theory 16:41-46;
for networks: Geifman & El-Yaniv, 2017, https://arxiv.org/abs/1705.08500). The band lies around the threshold, as wide
on the logit scale on either side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.trainer.data import CONDITIONS, Severities, presence
from services.trainer.scores import Probabilities, presence_scores
from shared.model_card import AbstentionBand
from shared.taxonomy import Condition

_LIMIT = 1e-6  # of probabilities, before their logits are taken
NEVER_LEARNT = AbstentionBand(low=0.0, high=1.0)


def choose_bands(
    learnt: Severities,
    severity: Severities,
    probabilities: Probabilities,
    thresholds: Sequence[float],
    accuracy: float,
    most: float,
) -> dict[Condition, AbstentionBand]:
    """The bands of the conditions that need one.

    `learnt`: labels of the training fold. A condition that it does not show both with and without is never answered.
    `severity` (N, 7), `probabilities` (N, 7, 4): the validation fold's. A band is the narrowest outside of which
    answers reach a balanced `accuracy` there, positives and negatives counting alike; it takes no more than the share
    `most` of the pictures. Where the fold has no positive or no negative there is nothing to choose by, and no band.
    """
    found: dict[Condition, AbstentionBand] = {}
    taught, said = presence(learnt)
    present, known = presence(severity)
    scores = presence_scores(probabilities)
    for number, condition in enumerate(CONDITIONS):
        if not (taught & said)[:, number].any() or not (~taught & said)[:, number].any():
            found[condition] = NEVER_LEARNT
            continue
        chosen = known[:, number]
        band = _band(present[chosen, number], scores[chosen, number], thresholds[number], accuracy, most)
        if band is not None:
            found[condition] = band
    return found


def _band(
    present: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], threshold: float, accuracy: float, most: float
) -> AbstentionBand | None:
    positives = int(present.sum())
    if not 0 < positives < len(present):
        return None
    middle = float(_logit(np.array(threshold)))
    distance = np.abs(_logit(score) - middle)
    order = np.argsort(distance, kind="stable")
    weight = np.where(present, 0.5 / positives, 0.5 / (len(present) - positives))[order]
    right = weight * ((score >= threshold) == present)[order]
    # With the k nearest left out, from none to all but the last: the answers that remain, and those that are right.
    remaining, correct = (np.cumsum(each[::-1])[::-1] for each in (weight, right))
    allowed = min(int(most * len(present)), len(present) - 1)
    reached = np.flatnonzero(correct[: allowed + 1] >= accuracy * remaining[: allowed + 1] - 1e-12)
    left_out = int(reached[0]) if len(reached) else allowed
    if not left_out:
        return None
    half = float(distance[order][left_out - 1])
    low, high = (1 / (1 + np.exp(-(middle + side))) for side in (-half, half))
    return AbstentionBand(low=round(float(low), 4), high=round(float(high), 4))


def _logit(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = probability.clip(_LIMIT, 1 - _LIMIT)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)
