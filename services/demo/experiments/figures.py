"""Mean and standard deviation of scores over seeds or folds, as numbers and as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from services.console.text import NONE

Spread = dict[str, float | int | None]


def spread(values: Iterable[float | None]) -> Spread:
    """`{"mean", "sd", "n"}` of the values that are defined; `sd`: the sample's, None of fewer than two."""
    defined = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
        "n": len(defined),
    }


def spreads(measured: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """The spread of each score in what `judging.measure` returned, overall and by condition."""
    conditions = list(measured[0]["conditions"])
    return {
        "overall": {name: spread(each["overall"].get(name) for each in measured) for name in names},
        "conditions": {
            condition: {name: spread(each["conditions"][condition].get(name) for each in measured) for name in names}
            for condition in conditions
        },
    }


def points(found: Spread, *, signed: bool = False) -> str:
    """`{"mean": 0.8311, "sd": 0.0124}` → "83.1 ± 1.2", in percent; signed for differences."""
    mean, sd = found["mean"], found["sd"]
    if mean is None:
        return NONE
    text = f"{100 * mean:+.1f}" if signed else f"{100 * mean:.1f}"
    return text if sd is None else f"{text} ± {100 * sd:.1f}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, which reads as it is too: columns are as wide as their widest cell."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]]) + "\n"
