"""Writes numbers and names as people read them, the same on the console and in the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.taxonomy import Condition, Severity, severity_text

NONE = "–"  # shown where there is no number, which is not zero

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "recall": "recall",
    "f1": "F1",
}
"""The metrics every table shows, in its order."""


def condition_text(condition: str) -> str:
    """`fine_lines` → "fine lines"."""
    return condition.replace("_", " ")


def severity_word(condition: str, severity: str | None) -> str:
    """The word shown for a severity: `textured_skin` calls its lowest one "slight"."""
    try:
        return severity_text(Condition(condition), Severity[(severity or "").upper()])
    except (ValueError, KeyError):
        return severity or NONE


def usd(amount: float) -> str:
    """Dollars; tenths of a cent where a price has them."""
    cents = round(amount * 100, 6)
    return f"${amount:,.2f}" if cents == round(cents) or amount >= 10 else f"${amount:.4f}".rstrip("0")


def duration(seconds: float) -> str:
    """`95` → "1 min 35 s". Fractions are shown below ten seconds only."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def percent(share: float | None) -> str:
    """`0.834` → "83.4"; a hundred has no fraction. The unit stands in the table's head."""
    if share is None:
        return NONE
    return "100" if share == 1 else f"{share * 100:.1f}"


def interval(bounds: tuple[float, float] | list[float] | None) -> str:
    """`(0.761, 0.894)` → "76–89", in percent."""
    return "" if bounds is None else f"{bounds[0] * 100:.0f}–{bounds[1] * 100:.0f}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1` → "1 image", `1174` → "1,174 images"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def overall_metrics(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """A model's overall metrics, on the fold that the gate compares on; that of older models was balanced."""
    folds = (metrics, *(metrics.get(name) for name in ("balanced_test", "test")))
    return next((fold["overall"] for fold in folds if isinstance(fold, Mapping) and "overall" in fold), {})
