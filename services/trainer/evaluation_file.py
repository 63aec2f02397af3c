"""What is kept of a model's test: its measures and every answer, from which a report is drawn later."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.data import CONDITIONS, UNGRADED, FoldData
from services.trainer.gate import GATE_FOLD
from services.trainer.measures import (
    BINS,
    LEVELS,
    ConditionAnswers,
    Flags,
    Measured,
    Numbers,
    answers_of,
    bins_of,
    measure,
    measure_all,
)
from services.trainer.scores import Probabilities
from services.trainer.subgroups import gaps_of
from shared.evaluation import ConditionEvaluation, Evaluation, Figures, Group, Judged, ReliabilityBin
from shared.model_card import Calibration, ModelMetadata

_DIGITS = 6  # of a kept probability: more would say nothing
_LEAST = 1e-7  # probability whose logit is taken: float32 knows no nearer to 1


def evaluate(
    data: FoldData,
    probabilities: Probabilities,
    metadata: ModelMetadata,
    groups: Sequence[Group],
    named: Sequence[dict[str, str]],
) -> dict[str, Any]:
    """The fields of `Evaluation` that follow from the answers (N, 7, 4) to a fold.

    `groups`: their figures; `named` (N): each picture's groups.
    """
    thresholds = [metadata.thresholds[condition] for condition in CONDITIONS]
    overall, each = measure_all(data.severity, probabilities, thresholds, data.root_ids)
    answered = answers_of(data.severity, probabilities, thresholds)
    return {
        "fold": GATE_FOLD,
        "images": len(data),
        "roots": len(set(data.root_ids)),
        "overall": Figures(**_figures(overall)),
        "conditions": {
            condition: _condition(answers, measured, threshold, metadata.calibration.get(condition))
            for condition, (_, answers), measured, threshold in zip(CONDITIONS, answered, each, thresholds, strict=True)
        },
        "groups": tuple(groups),
        "gaps": tuple(gaps_of(groups)),
        "pictures": tuple(
            Judged(
                image_id=image_id,
                root_id=root_id,
                labels=tuple(labels),
                probabilities=tuple(tuple(row) for row in answer),
                groups=of,
            )
            for image_id, root_id, labels, answer, of in zip(
                data.image_ids,
                data.root_ids,
                data.severity.tolist(),
                probabilities.astype(np.float64).round(_DIGITS).tolist(),
                named,
                strict=True,
            )
        ),
    }


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write the file, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(evaluation.model_dump_json())
    os.replace(partial, path)


def _figures(measured: Measured) -> dict[str, Any]:
    return {"values": measured.values, "intervals": measured.intervals}


def _condition(
    answers: ConditionAnswers, measured: Measured, threshold: float, calibration: Calibration | None
) -> ConditionEvaluation:
    graded = answers.severity != UNGRADED
    before = answers.score if calibration is None else uncalibrated(answers.score, calibration)
    raw = ConditionAnswers(answers.present, answers.predicted, before, answers.severity, answers.said)
    error = float(measure(raw, np.ones((1, len(answers))))["ece"][0])
    return ConditionEvaluation(
        **_figures(measured),
        images=len(answers),
        positives=int(answers.present.sum()),
        threshold=threshold,
        presence=_table(answers.present, answers.predicted, 2),
        severity=_table(answers.severity[graded], answers.said[graded], LEVELS),
        reliability=_reliability(answers.present, answers.score),
        ece_before=error if np.isfinite(error) else None,
        reliability_before=_reliability(answers.present, before),
    )


def uncalibrated(score: Numbers, calibration: Calibration) -> Numbers:
    """The probability that the judges gave before calibration: the graph's last step, taken back."""
    clipped = score.clip(_LEAST, 1 - _LEAST)
    logit = (np.log(clipped / (1 - clipped)) - calibration.shifts[0]) / calibration.slope
    before: Numbers = 1 / (1 + np.exp(-logit))
    return before


def _table(labels: npt.NDArray[Any], answers: npt.NDArray[Any], levels: int) -> Any:
    counts = np.bincount(labels.astype(np.int64) * levels + answers.astype(np.int64), minlength=levels**2)
    return tuple(tuple(row) for row in counts.reshape(levels, levels).tolist())


def _reliability(present: Flags, score: Numbers) -> tuple[ReliabilityBin, ...]:
    inside = bins_of(score)
    return tuple(
        ReliabilityBin(
            images=int(chosen.sum()),
            probability=float(score[chosen].mean()),
            share=float(present[chosen].mean()),
        )
        for chosen in (inside == number for number in range(BINS))
        if chosen.any()
    )
