"""Two model versions' metrics side by side, on the same pictures where a gate compared the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.console.text import overall_metrics
from shared.model_card import ModelCard

METRICS = ("balanced_accuracy", "accuracy", "recall", "specificity", "precision", "f1", "auc")
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Pair:
    """One metric of both versions, shares from 0 to 1; None where it is not defined."""

    first: float | None
    second: float | None
    first_interval: Interval
    second_interval: Interval

    @property
    def difference(self) -> float | None:
        """The second version's less the first one's."""
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True)
class PairedDifference:
    """The second version's mean balanced accuracy less the first one's, answer by answer, with its 90% interval."""

    difference: float | None
    lower: float | None
    upper: float | None

    def reversed(self) -> PairedDifference:
        """The same, of the first version less the second one's."""
        return PairedDifference(_minus(self.difference), _minus(self.upper), _minus(self.lower))


@dataclass(frozen=True)
class Comparison:
    """Two versions. `same_pictures`: whether both were measured on the same test pictures.

    `overall`: metrics by name; `conditions`: the same by condition. `paired`: what the gate measured when one of them
    was compared with the other; None where it never was.
    """

    first: str
    second: str
    same_pictures: bool
    overall: dict[str, Pair]
    conditions: dict[str, dict[str, Pair]]
    paired: PairedDifference | None

    def json_object(self) -> dict[str, Any]:
        """As JSON: shares from 0 to 1, differences of the second less the first."""
        paired = self.paired
        return {
            "first": self.first,
            "second": self.second,
            "same_pictures": self.same_pictures,
            "overall": _json_pairs(self.overall),
            "conditions": {name: _json_pairs(pairs) for name, pairs in self.conditions.items()},
            "paired": None
            if paired is None
            else {"difference": paired.difference, "lower": paired.lower, "upper": paired.upper},
        }


def compare(first: ModelCard, second: ModelCard) -> Comparison:
    """Compare two versions by their cards.

    Where the gate compared one with the other, the figures are those of both on that fold; else each one's own.
    """
    if _compared_with(second) == first.version and second.comparison is not None:
        measured = (second.comparison["live"], second.comparison["candidate"])
        paired = _paired(second.comparison)
    elif _compared_with(first) == second.version and first.comparison is not None:
        measured = (first.comparison["candidate"], first.comparison["live"])
        paired = _paired(first.comparison)
        paired = None if paired is None else paired.reversed()
    else:
        measured, paired = (_fold(first.metrics), _fold(second.metrics)), None
    same = paired is not None or first.dataset_version == second.dataset_version
    overall = _pairs(*(overall_metrics(fold) for fold in measured))
    by_condition = [fold.get("conditions", {}) for fold in measured]
    conditions = {
        str(condition): _pairs(by_condition[0].get(condition, {}), by_condition[1].get(condition, {}))
        for condition in second.metadata.conditions
    }
    return Comparison(first.version, second.version, same, overall, conditions, paired)


def _compared_with(card: ModelCard) -> str | None:
    return (card.comparison or {}).get("live_version")


def _paired(comparison: Mapping[str, Any]) -> PairedDifference | None:
    found = comparison.get("difference")
    if not isinstance(found, Mapping):
        return None
    return PairedDifference(found.get("difference"), found.get("lower"), found.get("upper"))


def _fold(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    found = metrics.get("test", {})
    return found if isinstance(found, Mapping) else {}


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Pair]:
    names = [name for name in METRICS if name in first or name in second]
    return {
        name: Pair(first.get(name), second.get(name), _interval(first, name), _interval(second, name)) for name in names
    }


def _interval(figures: Mapping[str, Any], name: str) -> Interval:
    found = figures.get("intervals", {}).get(name)
    return None if found is None else (float(found[0]), float(found[1]))


def _minus(number: float | None) -> float | None:
    return None if number is None else -number


def _json_pairs(pairs: Mapping[str, Pair]) -> dict[str, Any]:
    return {
        name: {
            "first": pair.first,
            "second": pair.second,
            "difference": pair.difference,
            "first_interval": pair.first_interval,
            "second_interval": pair.second_interval,
        }
        for name, pair in pairs.items()
    }
