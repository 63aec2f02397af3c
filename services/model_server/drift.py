"""What the traffic looks like beside the pictures that the model was measured on. Of a picture, nothing is kept."""

from __future__ import annotations

from typing import Any

from shared.documents.predictions import Prediction
from shared.imaging import Pixels
from shared.metrics import MetricRegistry
from shared.model_card import ModelCard
from shared.taxonomy import Condition

_STEP = 8  # pixels between those that are looked at, in both directions: the light of a picture needs no more
_TENTHS = tuple(n / 10 for n in range(1, 11))
_FINE = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)  # a verdict is seldom less likely than not


class DriftMetrics:
    """Counts verdicts, how sure they are, and the light of what the model sees. Any thread may call it."""

    def __init__(self, registry: MetricRegistry) -> None:
        verdicts = registry.counter(
            "evenskin_condition_verdicts_total",
            "Verdicts on the conditions of answered pictures: present, absent",
            "condition",
            "verdict",
        )
        self._verdicts = {
            (condition.value, present): verdicts.labels(condition.value, "present" if present else "absent")
            for condition in Condition
            for present in (True, False)
        }
        self._expected = registry.gauge(
            "evenskin_condition_expected_ratio",
            "Share of its test pictures that the served model calls present, by its card; absent without a card",
            "condition",
        )
        self._confidence = registry.histogram(
            "evenskin_verdict_confidence_ratio",
            "Probability that the model gives to its own verdicts, the mean over a picture's conditions",
            buckets=_FINE,
        )
        self._brightness = registry.histogram(
            "evenskin_input_brightness_ratio", "Mean of what the model sees of a picture, by white", buckets=_TENTHS
        )
        self._contrast = registry.histogram(
            "evenskin_input_contrast_ratio",
            "Standard deviation of what the model sees of a picture, by white",
            buckets=tuple(tenth / 2 for tenth in _TENTHS),
        )

    def seen(self, pixels: Pixels) -> None:
        """Observe the light of a model's square, uint8 (S, S, 3)."""
        few = pixels[::_STEP, ::_STEP]
        self._brightness.observe(float(few.mean()) / 255)
        self._contrast.observe(float(few.std()) / 255)

    def answered(self, answer: Prediction) -> None:
        """Count the verdicts of an answer."""
        sure = 0.0
        for found in answer.conditions:
            self._verdicts[found.condition.value, found.present].inc()
            sure += found.probability if found.present else 1 - found.probability
        self._confidence.observe(sure / len(answer.conditions))

    def expect(self, card: ModelCard | None) -> None:
        """Take what is to be expected from the card of the model that is served from now on."""
        self._expected.clear()
        for condition, rate in expected_rates({} if card is None else card.metrics).items():
            self._expected.labels(condition).set(rate)


def expected_rates(metrics: dict[str, Any]) -> dict[str, float]:
    """The share of test pictures called present, by condition, from a card's metrics; a condition without is left out.

    True and false positives: recall × P + (1 - specificity) × (1 - P), where P is the share of positives.
    """
    rates = {}
    conditions = metrics.get("conditions")
    for condition, scores in (conditions if isinstance(conditions, dict) else {}).items():
        try:
            share = scores["positives"] / scores["n"]
            hit = share * scores["recall"] if share else 0.0
            false_alarm = (1 - share) * (1 - scores["specificity"]) if share < 1 else 0.0
        except (KeyError, TypeError, ZeroDivisionError):  # another program's card, or a fold without pictures
            continue
        if condition in tuple(Condition):
            rates[condition] = hit + false_alarm
    return rates
