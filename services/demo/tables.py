"""The demo's table for the console: models compared on the same test pictures."""

from __future__ import annotations

from rich.console import RenderableType

from services.console.tables import numbers_table
from services.console.text import METRIC_NAMES, NONE, condition_text, interval, percent
from services.demo.report.document import Evaluation, Metrics
from shared.taxonomy import Condition


def comparison_table(
    before: Evaluation | None, after: Evaluation | None, *, baseline: Evaluation | None = None
) -> RenderableType:
    """The models on the same test pictures, per condition and overall: percent with 95% intervals, and counts."""
    rows = [(name, model) for name, model in (("before", before), ("after", after), ("baseline", baseline)) if model]
    table = numbers_table(
        "On the test fold, in percent [95% interval]", "condition", "model", "n", "shown", *METRIC_NAMES.values()
    )
    table.columns[1].justify = "left"
    conditions = [c for c in Condition if any(c in model.conditions for _, model in rows)]
    for condition in (*conditions, None):
        table.add_section()
        for index, (name, model) in enumerate(rows):
            metrics = model.overall if condition is None else model.conditions.get(condition)
            if metrics is not None:
                title = "mean" if condition is None else condition_text(condition)
                table.add_row(title if index == 0 else "", name, *_cells(metrics), style=_style(name))
    return table


def _cells(metrics: Metrics) -> list[str]:
    cells = [f"{metrics.n:,}", NONE if metrics.positives is None else f"{metrics.positives:,}"]
    for name in METRIC_NAMES:
        bounds = metrics.intervals.get(name)
        value = percent(getattr(metrics, name))
        cells.append(f"{value} \\[{interval(bounds)}]" if bounds else value)
    return cells


def _style(model: str) -> str:
    return {"after": "bold", "baseline": "dim"}.get(model, "")
