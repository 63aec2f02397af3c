"""What evens out that some conditions are rare, beside more pictures of them: weights in the loss, and what is shown.

A training that shows or weighs positives more often than they are there ends with probabilities that are too high by
known odds, which `calibration` takes back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from services.trainer.data import Severities, presence
from services.trainer.losses import MAX_POSITIVE_WEIGHT, answers_known, positive_weights
from services.trainer.spec import TrainingConfig


@dataclass(frozen=True)
class Imbalance:
    """How a training counts the N pictures of its fold.

    `weights`: of positive answers in the loss (C, 3). `importance`: how often each picture is shown (N), 1 in the
    mean; None: all the same. `odds`: how many times the odds of a positive answer in training are those in the
    data (C, 3).
    """

    weights: Tensor
    importance: Tensor | None
    odds: Tensor


def imbalance_of(severity: Severities, config: TrainingConfig) -> Imbalance:
    """How a training with these settings counts pictures with these labels (N, C)."""
    importance = balanced_importance(severity) if config.sampling == "balanced" else None
    weights = positive_weights(severity, importance)
    if not config.class_weights:
        weights = torch.ones_like(weights)
    shown, there = (positives / negatives for positives, negatives in _both(severity, importance))
    ratio = shown / there  # not a number, or infinite, where there is no positive, or no negative
    return Imbalance(weights, importance, weights * torch.where(ratio.isfinite(), ratio, torch.ones_like(ratio)))


def _both(severity: Severities, importance: Tensor | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return answers_known(severity, importance), answers_known(severity)


def balanced_importance(severity: Severities) -> Tensor:
    """How often each picture is to be shown (N), 1 in the mean, so that each condition and clear skin come up alike.

    A picture with several conditions counts for the rarest. No picture is shown more than MAX_POSITIVE_WEIGHT times as
    often as another.
    """
    shown, known = presence(severity)
    groups = np.column_stack([shown & known, ~(shown & known).any(1)])
    share = 1 / np.maximum(groups.sum(0), 1)
    importance = np.where(groups, share, 0.0).max(1)
    importance = np.minimum(importance, MAX_POSITIVE_WEIGHT * importance.min())
    return torch.from_numpy((importance / importance.mean()).astype(np.float32))
