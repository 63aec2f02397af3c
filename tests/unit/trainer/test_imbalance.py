"""What evens out rare conditions: weights, sampling, and the odds that calibration takes back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.trainer.imbalance import balanced_importance, imbalance_of
from services.trainer.losses import MAX_POSITIVE_WEIGHT, positive_weights
from services.trainer.spec import TrainingConfig

SEVERITY = np.array([[1, 0]] * 60 + [[0, 2]] * 10 + [[0, 0]] * 30, np.int8)
"""Sixty with the first condition, ten with the second, thirty of clear skin."""


def test_class_weights_are_the_default_and_what_calibration_takes_back() -> None:
    found = imbalance_of(SEVERITY, TrainingConfig())
    assert torch.equal(found.weights, positive_weights(SEVERITY))
    assert torch.equal(found.odds, found.weights)
    assert found.importance is None


def test_without_them_everything_counts_as_it_is_there() -> None:
    found = imbalance_of(SEVERITY, TrainingConfig(class_weights=False))
    assert torch.equal(found.weights, torch.ones(2, 3))
    assert torch.equal(found.odds, torch.ones(2, 3))


def test_balanced_sampling_shows_each_condition_and_clear_skin_as_often() -> None:
    importance = balanced_importance(SEVERITY)
    assert importance.mean().item() == pytest.approx(1)
    each = [importance[:60].sum().item(), importance[60:70].sum().item(), importance[70:].sum().item()]
    assert each == pytest.approx([100 / 3] * 3, rel=1e-5)


def test_a_picture_with_two_conditions_counts_for_the_rarer_and_none_is_shown_without_end() -> None:
    severity = np.array([[1, 0]] * 999 + [[1, 1]], np.int8)
    importance = balanced_importance(severity)
    assert importance[-1] / importance[0] == pytest.approx(MAX_POSITIVE_WEIGHT)


@pytest.mark.parametrize("class_weights", [True, False])
def test_the_odds_of_balanced_sampling_are_known(class_weights: bool) -> None:
    found = imbalance_of(SEVERITY, TrainingConfig(sampling="balanced", class_weights=class_weights))
    there = torch.tensor([60 / 40, 10 / 90])
    trained = torch.ones(2) if class_weights else torch.tensor([0.5, 0.5])  # a third against two thirds
    assert found.odds[:, 0].tolist() == pytest.approx((trained / there).tolist(), rel=1e-4)
    assert found.odds.isfinite().all()
