"""Curves over all thresholds, from the answers to one condition. Plain numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.trainer.measures import ConditionAnswers


@dataclass(frozen=True)
class Curve:
    """Points from the strictest threshold to the loosest. `drawn`: how to join them."""

    x: list[float]
    y: list[float]
    drawn: Literal["default", "steps-post", "steps-pre"]


def roc(answers: ConditionAnswers) -> Curve | None:
    """False-positive rate and recall; None where the pictures all show the condition, or none does."""
    found, wrong = _counts(answers)
    if not found[-1] or not wrong[-1]:
        return None
    return Curve([0.0, *(wrong / wrong[-1]).tolist()], [0.0, *(found / found[-1]).tolist()], "default")


def precision_recall(answers: ConditionAnswers) -> Curve | None:
    """Recall and precision, without interpolation; None where no picture shows the condition."""
    found, wrong = _counts(answers)
    if not found[-1]:
        return None
    precision = found / (found + wrong)
    return Curve([0.0, *(found / found[-1]).tolist()], [float(precision[0]), *precision.tolist()], "steps-pre")


def _counts(answers: ConditionAnswers) -> tuple[np.typing.NDArray[np.float64], np.typing.NDArray[np.float64]]:
    """True and false positives at each distinct score as threshold, from the highest down; [0] where there is none."""
    if not len(answers):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(-answers.score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(answers.score[order])), len(order) - 1)
    present = answers.present[order]
    return present.cumsum()[last].astype(np.float64), (~present).cumsum()[last].astype(np.float64)
