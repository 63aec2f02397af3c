"""The baseline every model is reported beside: logistic regression on colour histograms.

It sees how much of each colour a picture has, but not where. A model that does not beat it has learnt colours, and
nothing about skin. It is fitted with PyTorch, which is here anyway: scikit-learn gives the same probabilities to within
0.0002, and would add 120 MB to the trainer's image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from services.trainer.data import FoldData, presence
from services.trainer.scores import Probabilities, choose_thresholds, fold_metrics

BINS = 8  # per colour channel: 512 joint colours
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # of squared weights; the validation fold chooses
ITERATIONS = 100  # of L-BFGS, which has converged long before on a convex loss


def colour_histograms(data: FoldData) -> npt.NDArray[np.float32]:
    """Joint RGB histogram of each picture (N, 512), as square roots of shares, whose distances are Hellinger's."""
    features = np.zeros((len(data), BINS**3), np.float32)
    for position in range(len(data)):
        pixels = data.batch(np.array([position]))[0].reshape(-1, 3).astype(np.int64) * BINS // 256
        joint = (pixels[:, 0] * BINS + pixels[:, 1]) * BINS + pixels[:, 2]
        features[position] = np.sqrt(np.bincount(joint, minlength=BINS**3) / len(joint))
    return features


def measure_baseline(training: FoldData, validation: FoldData, folds: dict[str, FoldData]) -> dict[str, Any]:
    """Fit on the train fold, choose penalty and thresholds on validation, measure on each of `folds`.

    Returns `{"method": …, "penalty": …, <fold>: metrics}`.
    """
    inputs = colour_histograms(training)
    centre, spread = inputs.mean(0), inputs.std(0) + 1e-3
    fitted = [(_fit((inputs - centre) / spread, training, penalty), penalty) for penalty in PENALTIES]

    def probabilities(weights: torch.Tensor, data: FoldData) -> Probabilities:
        scores = torch.sigmoid(_logits(weights, (colour_histograms(data) - centre) / spread))
        shares = torch.stack([1 - scores, scores, torch.zeros_like(scores), torch.zeros_like(scores)], -1)
        return shares.numpy().astype(np.float32)

    def validation_auc(weights: torch.Tensor) -> float:
        found = fold_metrics(validation.severity, probabilities(weights, validation), 0.5)["overall"]["auc"]
        return found if found is not None else 0.0

    best, penalty = max(fitted, key=lambda candidate: validation_auc(candidate[0]))
    thresholds = choose_thresholds(validation.severity, probabilities(best, validation))
    measured = {
        name: fold_metrics(data.severity, probabilities(best, data), thresholds, data.root_ids)
        for name, data in folds.items()
    }
    for figures in measured.values():  # it says whether a condition is there, not how severe
        for part in (figures["overall"], *figures["conditions"].values()):
            part["severity_mae"] = None
    return {"method": "logistic regression on 8×8×8 RGB histograms", "penalty": penalty, **measured}


def _fit(inputs: npt.NDArray[np.float32], data: FoldData, penalty: float) -> torch.Tensor:
    """Return the weights (513, 7) that minimise the class-balanced, penalised log loss."""
    present, known = (torch.from_numpy(array).float() for array in presence(data.severity))
    positives, total = (present * known).sum(0), known.sum(0)
    balance = torch.where(
        present > 0.5, total / (2 * positives).clamp_min(1), total / (2 * (total - positives)).clamp_min(1)
    )
    weights = torch.zeros(inputs.shape[1] + 1, present.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        losses = F.binary_cross_entropy_with_logits(_logits(weights, inputs), present, reduction="none")
        loss = (losses * balance * known).sum() / known.sum().clamp_min(1) + penalty * weights[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weights.detach()


def _logits(weights: torch.Tensor, inputs: npt.NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(inputs) @ weights[:-1] + weights[-1]
