"""The report as one HTML file: no script, nothing loaded from anywhere, readable on paper and on a phone.

`templates/` has the page and its sections; what they say in sentences is in `wording.py`, what their charts draw in
`charts.py`. All text is escaped, and a name that does not exist is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from services.console import text
from services.demo.report import charts, wording
from services.demo.report.document import Plan, Report
from services.demo.report.faces import Face, cards, data_uri
from shared.taxonomy import Condition, Severity

DRAWN = (
    "The faces in this run are drawn by a program, as stand-ins for trying the loop without photographs, keys or cost. "
    "The numbers say how well a model recognises drawings. They say nothing about people, and a model trained on "
    "drawings is not for people."
)
"""Shown first where the pictures were drawn, whatever the numbers are."""


def render(
    report: Report | Mapping[str, Any],
    *,
    faces: Sequence[Face] = (),
    picture: bytes | None = None,
    title: str = "One run of the whole loop",
    drawn: bool = True,
) -> str:
    """The page. `faces`: samples by condition and severity; `picture`: what the prediction was asked about.

    `drawn`: whether the pictures are drawings, which is then said before any number.
    """
    document = report if isinstance(report, Report) else Report.model_validate(report)
    notes = ([DRAWN] if drawn else []) + [note for note in document.warnings if note != DRAWN]
    if document.scale != 1:
        notes.append(f"This run used {document.scale:.0%} of the full dataset: intervals are wider than a full run's.")
    return _TEMPLATES.get_template("page.html").render(
        report=document,
        models=document.models,
        title=title,
        notes=notes,
        cards=cards(faces),
        picture=data_uri(picture) if picture else None,
    )


def _conditions_of(named: Iterable[Iterable[str]]) -> list[str]:
    """The conditions that are named anywhere, in the order every table keeps."""
    found = {name for names in named for name in names}
    return [condition.value for condition in Condition if condition in found]


def _quotas(plan: Plan) -> dict[tuple[str, str], int]:
    """Images that each condition and severity had to get."""
    return {(quota.condition, quota.severity): quota.count for quota in plan.quotas}


_TEMPLATES = Environment(
    loader=PackageLoader("services.demo.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {
    "condition": text.condition_text,
    "count": text.count,
    "duration": text.duration,
    "interval": text.interval,
    "percent": text.percent,
    "usd": text.usd,
    "thousands": lambda number: f"{number:,.0f}",
    "along": lambda share: f"{100 * share:.2f}%",  # a place or a length along a chart
}
_TEMPLATES.globals |= {
    "NONE": text.NONE,
    "METRIC_NAMES": text.METRIC_NAMES,
    "SEVERITIES": [severity.label for severity in Severity],
    "conditions_of": _conditions_of,
    "quotas": _quotas,
    "severity_word": text.severity_word,
    "charts": charts,
    "wording": wording,
}
