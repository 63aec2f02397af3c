"""Weights a network's two judges and calibrates its probabilities, both on the validation fold.

The judges are trained as if each condition were as often there as not (`losses.positive_weights`). The first step takes
that back exactly (King & Zeng, 2001, Political Analysis 9:137-163); the second is Platt's scaling, a slope and a shift
per condition (Platt, 1999), drawn towards none at all, since a small fold cannot tell them well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from services.trainer.data import CONDITIONS, Severities
from services.trainer.losses import ordinal_targets
from services.trainer.model import SkinNet
from shared.model_card import Calibration
from shared.taxonomy import Condition

SHARES = (0.5, 0.25, 0.75, 0.0, 1.0)  # of the linear judge that are tried; the first one wins a tie
DOUBT = 0.5  # standard deviation that the logarithm of a slope, and a shift, are expected to have
_ITERATIONS = 50  # of L-BFGS, on fourteen numbers


def calibrate(
    net: SkinNet,
    linear: Tensor,
    convolutional: Tensor,
    severity: Severities,
    weights: Tensor,
    shares: Sequence[float] = SHARES,
) -> None:
    """Set `share`, `slopes` and `shifts` of a network by the judges' logits (N, C, 3) of the validation fold.

    `weights`: those of positive answers that the judges were trained with (C, 3). `shares`: those to choose from.
    """
    labels = torch.from_numpy(severity)
    best = None
    for share in shares:
        slopes, shifts, loss = _platt(share * linear + (1 - share) * convolutional, labels, weights)
        if best is None or loss < best[0]:
            best = (loss, share, slopes, shifts)
    assert best is not None
    net.share.fill_(best[1])
    net.slopes.copy_(best[2])
    net.shifts.copy_(best[3])


def _platt(logits: Tensor, severity: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, float]:
    """Slopes (C,) and shifts (C, 3) for logits, fitted to presence, and the negative log posterior that they reach."""
    targets, mask = ordinal_targets(severity)
    prior = -weights.log()  # log odds of each threshold in training
    log_slopes, shifts = (torch.zeros(len(weights), requires_grad=True) for _ in range(2))
    optimiser = torch.optim.LBFGS([log_slopes, shifts], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        calibrated = log_slopes.exp() * logits[..., 0] + prior[:, 0] + shifts
        losses = F.binary_cross_entropy_with_logits(calibrated, targets[..., 0], reduction="none") * mask[..., 0]
        loss = losses.sum() + (log_slopes.square().sum() + shifts.square().sum()) / (2 * DOUBT**2)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return log_slopes.detach().exp(), prior + shifts.detach()[:, None], closure().item()


def neutral_probabilities(net: SkinNet) -> list[float]:
    """The calibrated probability of each condition (C) where the judges see nothing that speaks for or against it."""
    found: list[float] = torch.sigmoid(net.shifts[:, 0]).tolist()
    return found


def calibration_of(net: SkinNet) -> dict[Condition, Calibration]:
    """The calibration in a network's graph, for its metadata."""
    slopes, shifts = net.slopes.tolist(), net.shifts.tolist()
    return {
        condition: Calibration(slope=slope, shifts=tuple(each))
        for condition, slope, each in zip(CONDITIONS, slopes, shifts, strict=True)
    }
