"""Fits the linear judge: an ordinal logistic regression on a picture's statistics, to its one optimum.

On a few hundred real photographs, such a regression on a pretrained network's middle statistics beats what can be
learnt from them by steps. Its penalty keeps hundreds of weights from fitting hundreds of pictures: it is that of a
standard normal prior of every weight (scikit-learn's default is the same), which the more originals matters the less.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.trainer.data import FoldData
from services.trainer.features import Answers
from services.trainer.losses import ordinal_loss
from services.trainer.model import LEVELS, LinearJudge, ordered_cuts

ITERATIONS = 100  # of L-BFGS: it has converged long before
MAX_PICTURES = 20_000  # that it is fitted on, chosen at random: more would change it little, and fill the memory
_SEED = 20261127
_MIN_SPREAD = 3e-3
"""Of a statistic over the pictures, as batch normalisation has it: below lies rounding, which must not be blown up to
evidence. Two runtimes round differently: a model that leans on it answers differently where it is served."""


def fit(
    judge: LinearJudge, answers: Answers, training: FoldData, weights: Tensor, importance: Tensor | None = None
) -> None:
    """Fit `judge` to the features of the training fold.

    `weights`: of positive answers (C, 3), as `losses.positive_weights` gives them. `importance`: how much each picture
    counts (N); None: all the same.
    """
    chosen = _some(len(answers))
    statistics = torch.from_numpy(np.array(answers.statistics[chosen]))
    severity = torch.from_numpy(training.severity[chosen])
    counts = None if importance is None else importance[torch.from_numpy(chosen)]
    centre, scale = statistics.mean(0), statistics.std(0, correction=0).clamp_min(_MIN_SPREAD)
    inputs = (statistics - centre) / scale
    judge.centre.copy_(centre)
    judge.scale.copy_(scale)
    penalty = 1 / (2 * len(set(training.image_ids)))  # beside the mean loss of a condition; a flip is no new evidence
    scores = torch.zeros(inputs.shape[1], len(weights), requires_grad=True)
    first = torch.zeros(len(weights), requires_grad=True)
    steps = torch.zeros(len(weights), LEVELS - 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([scores, first, steps], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = (inputs @ scores)[..., None] - ordered_cuts(first, steps)
        loss = ordinal_loss(logits, severity, weights, importance=counts)
        loss = loss + penalty * scores.square().sum() / len(weights)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    judge.weights.copy_(scores.detach())
    judge.cuts.copy_(ordered_cuts(first, steps).detach())


def _some(count: int) -> npt.NDArray[np.int64]:
    """The numbers of at most MAX_PICTURES pictures."""
    chosen: npt.NDArray[np.int64] = np.arange(count)
    if len(chosen) > MAX_PICTURES:
        chosen = np.sort(np.random.default_rng(_SEED).choice(chosen, MAX_PICTURES, replace=False))
    return chosen
