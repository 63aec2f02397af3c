"""Drift: what is expected by a model's card, and what is counted of the traffic."""

from __future__ import annotations

import numpy as np
import pytest

from services.model_server.drift import DriftMetrics, expected_rates
from shared.metrics import MetricRegistry


def scores(n: int, positives: int, recall: float | None, specificity: float | None) -> dict[str, float | int | None]:
    return {"n": n, "positives": positives, "recall": recall, "specificity": specificity}


def test_the_expected_rate_has_the_true_and_the_false_positives() -> None:
    card = {"conditions": {"acne": scores(100, 20, 0.9, 0.75), "aging": scores(50, 0, None, 0.9)}}
    assert expected_rates(card) == {"acne": pytest.approx(0.18 + 0.2), "aging": pytest.approx(0.1)}
    assert expected_rates({"conditions": {"redness": scores(10, 10, 0.5, None)}}) == {"redness": 0.5}


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"overall": {}},
        {"conditions": None},
        {"conditions": {"acne": None}},
        {"conditions": {"acne": {"n": 3}}},
        {"conditions": {"acne": scores(0, 0, None, None)}},
        {"conditions": {"freckles": scores(10, 5, 1.0, 1.0)}},
    ],
)
def test_without_figures_nothing_is_expected(metrics: dict[str, object]) -> None:
    assert expected_rates(metrics) == {}


def test_light_is_told_by_white() -> None:
    registry = MetricRegistry()
    drift = DriftMetrics(registry)
    drift.seen(np.full((64, 64, 3), 51, np.uint8))
    checks = np.zeros((64, 64, 3), np.uint8)
    checks[:, 32:] = 255
    drift.seen(checks)
    assert registry.get_sample_value("evenskin_input_brightness_ratio_sum") == pytest.approx(0.2 + 0.5)
    assert registry.get_sample_value("evenskin_input_contrast_ratio_sum") == pytest.approx(0.5)
