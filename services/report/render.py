"""The page: one HTML file without a script that loads nothing, readable on paper and on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from services.report.charts import Charts
from services.report.distortions import MEANING
from services.report.mistakes import Mistake
from services.report.robustness import UNCHANGED, Robustness
from services.trainer.measures import NAMES, ConditionAnswers, answers_of
from shared.evaluation import ENOUGH_ROOTS, GAP_ALARM, Evaluation

TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "recall": "recall",
    "specificity": "specificity",
    "false_positive_rate": "false-positive rate",
    "precision": "precision",
    "f1": "F1",
    "auc": "AUROC",
    "average_precision": "average precision",
    "severity_kappa": "weighted kappa of severity",
    "ece": "ECE",
    "exact_match": "all conditions right",
    "clear_recall": "clear skin seen as clear",
}


@dataclass(frozen=True)
class Shown:
    """A mistake with the picture that the model saw, as a data URI; None where it could not be had."""

    mistake: Mistake
    picture: str | None


def answers_by_condition(evaluation: Evaluation) -> dict[str, ConditionAnswers]:
    """The answers to each condition, as they were measured."""
    names = list(evaluation.conditions)
    labels = np.array([picture.labels for picture in evaluation.pictures], np.int8).reshape(-1, len(names))
    found = [picture.probabilities for picture in evaluation.pictures]
    probabilities = np.array(found, np.float32).reshape(-1, len(names), 4)
    thresholds = [each.threshold for each in evaluation.conditions.values()]
    each = answers_of(labels, probabilities, thresholds)
    return {name.value: answers for name, (_, answers) in zip(names, each, strict=True)}


def render(evaluation: Evaluation, *, robustness: Robustness | None, mistakes: Sequence[Shown]) -> str:
    """The page. `robustness`: None where it was not asked for."""
    charts = Charts(evaluation, answers_by_condition(evaluation))
    return _TEMPLATES.get_template("report.html").render(
        evaluation=evaluation,
        drawings=_drawings(charts, evaluation, robustness),
        robustness=robustness,
        mistakes=mistakes,
    )


def _drawings(charts: Charts, evaluation: Evaluation, robustness: Robustness | None) -> dict[str, Markup]:
    drawn = {
        "presence": charts.presence(),
        "severity": charts.severity(),
        "roc": charts.roc(),
        "precision_recall": charts.precision_recall(),
        "reliability": charts.reliability(),
    }
    if evaluation.history:
        drawn["training"] = charts.training()
    if evaluation.groups:
        drawn["groups"] = charts.groups()
    if robustness is not None:
        drawn["robustness"] = charts.robustness(robustness)
    return {name: Markup(svg) for name, svg in drawn.items()}


NONE = "–"  # where there is no number, which is not zero
_AS_THEY_ARE = ("severity_kappa", "ece")  # what is no share, or too small for percent


def value_text(value: float | None, *, name: str = "") -> str:
    """`0.834` → "83.4", in percent; kappa and ECE as they are."""
    if value is None:
        return NONE
    if name in _AS_THEY_ARE:
        return f"{value:.3f}"
    return "100" if value == 1 else f"{100 * value:.1f}"


def bounds_text(bounds: tuple[float, float] | None, *, name: str = "") -> str:
    """`(0.761, 0.894)` → "76–89", in percent; of kappa and ECE as they are."""
    if bounds is None:
        return ""
    if name in _AS_THEY_ARE:
        return f"{bounds[0]:.2f}–{bounds[1]:.2f}"
    return f"{100 * bounds[0]:.0f}–{100 * bounds[1]:.0f}"


_TEMPLATES = Environment(
    loader=PackageLoader("services.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_FILTERS: dict[str, Any] = {
    "bounds": bounds_text,
    "value": value_text,
    "words": lambda name: str(name).replace("_", " "),
}
_TEMPLATES.filters |= _FILTERS
_GLOBALS: dict[str, Any] = {
    "NAMES": NAMES,
    "TITLES": TITLES,
    "MEANING": {**MEANING, UNCHANGED: ""},
    "GAP_ALARM": GAP_ALARM,
    "ENOUGH_ROOTS": ENOUGH_ROOTS,
    "NONE": NONE,
}
_TEMPLATES.globals |= _GLOBALS
