"""Trains on some rows of a sample and measures on others, with the decisions of a training run of the service.

Both judges are fitted, weighted and calibrated, and the thresholds chosen, by the trainer's own functions; what is
measured here is added to the trainer's scores: the first choice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.calibration import neutral_probabilities
from services.trainer.data import CONDITIONS, Severities, presence
from services.trainer.features import Sample
from services.trainer.scores import Probabilities, answers, choose_thresholds, fold_metrics
from services.trainer.spec import NOT_IN_WEIGHTS, TrainingConfig
from services.trainer.train import Trained, learn, probabilities_of
from shared.errors import DatasetTooSmall

SCORES = ("accuracy", "balanced_accuracy", "recall", "specificity", "precision", "f1", "auc", "first_choice")
"""The scores that are reported of a condition, and, as means over the conditions, of all."""

_TINY = 1e-30  # a probability of nought has a logarithm all the same


@dataclass(frozen=True)
class Judge:
    """A trained network, and the thresholds (C) that it decides by.

    `neutral`: the probabilities (C) that it gives where it sees nothing that speaks for or against a condition.
    """

    trained: Trained
    thresholds: list[float]
    neutral: list[float]

    def probabilities(self, sample: Sample) -> Probabilities:
        """Severity probabilities (N, C, 4)."""
        return probabilities_of(self.trained.net, sample.answers)


def train_judge(training: Sample, validation: Sample, config: TrainingConfig, filters: int, checkpoint: Path) -> Judge:
    """Train, calibrate and choose thresholds, from `checkpoint` on if it is of the same training.

    Raises LossNotFinite, and DatasetTooSmall where the training pictures show no condition.
    """
    severity = training.data.severity
    if not presence(severity)[0].any() or not len(validation.data):
        raise DatasetTooSmall("A training or validation fold shows nothing.", advice="Use more pictures.")
    run = hashlib.sha256(f"{config.model_dump_json(exclude=set(NOT_IN_WEIGHTS))} {filters}".encode())
    for sample in (training, validation):
        run.update("".join(sample.data.image_ids).encode() + sample.data.severity.tobytes())
        run.update(sample.answers.statistics.tobytes())
    trained = learn(training, validation, config, filters, run.hexdigest(), checkpoint)
    neutral = neutral_probabilities(trained.net)
    return Judge(trained, choose_thresholds(validation.data.severity, trained.validation, neutral), neutral)


def measure(
    severity: Severities,
    probabilities: Probabilities,
    thresholds: npt.ArrayLike,
    neutral: npt.ArrayLike,
    roots: list[str],
) -> dict[str, Any]:
    """`{"overall": scores, "conditions": {condition: scores}}` of answers to N pictures; None: not defined.

    `thresholds`, `neutral`: of a `Judge` (C), or (N, C) where each picture has its own. Overall are means over the
    conditions that define a score, but `first_choice`, which is of all pictures, and `clear_recall`: the share of clear
    skin that is called so.
    """
    found = fold_metrics(severity, probabilities, thresholds, roots)
    chosen = first_choice(severity, probabilities, neutral)
    conditions = {
        condition.value: {
            "n": figures["n"],
            "positives": figures["positives"],
            **{name: figures[name] for name in SCORES if name in figures},
            "first_choice": chosen[c],
        }
        for c, condition in enumerate(CONDITIONS)
        for figures in [found["conditions"][condition.value]]
    }
    overall: dict[str, Any] = {"n": len(severity)}
    for name in SCORES:
        defined = [figures[name] for figures in conditions.values() if figures[name] is not None]
        overall[name] = float(np.mean(defined)) if defined else None
    overall["first_choice"] = chosen[-1]
    present, known = presence(severity)
    clear = np.asarray((~present & known).all(1))
    nothing = np.asarray(~answers(probabilities, thresholds).any(1))
    overall["clear_recall"] = float(nothing[clear].mean()) if clear.any() else None
    return {"overall": overall, "conditions": conditions}


def first_choice(severity: Severities, probabilities: Probabilities, neutral: npt.ArrayLike) -> list[float | None]:
    """Of the pictures that show one condition alone, the share for which the model speaks most for that one.

    Per condition, then over all pictures. It is what a classifier that names one class calls its accuracy. Compared are
    log odds above the neutral ones: the scores as they were learnt. Calibration takes class weights back, so that the
    probabilities of two models that were trained with and without them would tell little of the difference.
    """
    present, known = presence(severity)
    single = (present.sum(1) == 1) & known.all(1)
    even = np.asarray(neutral, np.float64).clip(_TINY, 1 - _TINY)
    shown = probabilities.astype(np.float64).clip(_TINY)
    scores = np.log(shown[..., 1:].sum(-1) / shown[..., 0]) - np.log(even / (1 - even))
    right = present[single].argmax(1) == scores[single].argmax(1)
    groups = [right[present[single, c]] for c in range(len(CONDITIONS))] + [right]
    return [float(group.mean()) if len(group) else None for group in groups]
