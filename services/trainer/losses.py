"""The ordinal loss: balanced binary cross-entropy over the thresholds of severity that are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from services.trainer.data import UNGRADED, UNKNOWN
from services.trainer.model import LEVELS

MAX_POSITIVE_WEIGHT = 20.0  # a condition with three positives must not drown all others


def ordinal_targets(severity: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (N, C) → targets and mask (N, C, 3) of severity >= 1, 2, 3.

    Ungraded: only the first threshold is known, and true. Unknown: none is.
    """
    levels = torch.arange(1, LEVELS + 1, device=severity.device)
    graded = severity[..., None]
    targets = torch.where(graded == UNGRADED, levels == 1, graded >= levels).float()
    mask = ((graded >= 0) | ((graded == UNGRADED) & (levels == 1))) & (graded != UNKNOWN)
    return targets, mask.float()


def answers_known(severity: npt.NDArray[np.int8], importance: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Known positive and negative answers per condition and threshold, each (C, 3).

    `importance`: how often each picture counts (N); None: once.
    """
    targets, mask = ordinal_targets(torch.from_numpy(severity))
    if importance is not None:
        mask = mask * importance[:, None, None]
    positives = (targets * mask).sum(0)
    return positives, mask.sum(0) - positives


def positive_weights(severity: npt.NDArray[np.int8], importance: Tensor | None = None) -> Tensor:
    """Weight of a positive answer per condition and threshold (C, 3): negatives over positives, so that both count."""
    positives, negatives = answers_known(severity, importance)
    return (negatives / positives.clamp_min(1)).clamp(1 / MAX_POSITIVE_WEIGHT, MAX_POSITIVE_WEIGHT)


def ordinal_loss(
    logits: Tensor,
    severity: Tensor,
    weights: Tensor,
    smoothing: float = 0.0,
    *,
    gamma: float = 0.0,
    importance: Tensor | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """Balanced binary cross-entropy over the known thresholds; each condition and threshold counts the same.

    A positive weighs w times a negative. The scale keeps the mean weight at 1 over the training distribution. `gamma`:
    exponent of the focal loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002), by which an answer that is right
    with probability p counts (1 - p)^gamma times. `importance`: how much each picture counts (N); None: the same.
    `known`: number of known answers that the sum is divided by; None: of these pictures.
    """
    targets, mask = ordinal_targets(severity)
    smooth = targets * (1 - 2 * smoothing) + smoothing
    share = 1 / (1 + weights)  # of positives in training, per condition and threshold
    scale = torch.where(targets > 0.5, 0.5 / share, 0.5 / (1 - share))
    if importance is not None:
        mask = mask * importance[:, None, None]
    losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none") * scale * mask
    if gamma:
        losses = losses * torch.sigmoid(torch.where(targets > 0.5, -logits, logits)) ** gamma
    return losses.sum() / (mask.sum() if known is None else known).clamp_min(1)
