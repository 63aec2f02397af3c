"""What Prometheus is told of trainings, whichever way they end."""

from __future__ import annotations

import pytest

from services.trainer.metrics import TrainerMetrics
from services.trainer.worker_process import WorkerCrashed
from shared.errors import DatasetTooSmall, StoreUnavailable
from shared.metrics import MetricRegistry


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DatasetTooSmall("Too small."), "failed"),
        (ZeroDivisionError(), "failed"),
        (StoreUnavailable("Down."), "interrupted"),
        (WorkerCrashed("Killed."), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_a_training_without_a_model_is_counted_with_what_ended_it(error: BaseException, outcome: str) -> None:
    registry = MetricRegistry()
    metrics = TrainerMetrics(registry)
    with pytest.raises(type(error)), metrics.training():
        raise error
    assert registry.get_sample_value("evenskin_trainings_total", {"outcome": outcome}) == 1
    assert registry.get_sample_value("evenskin_trainings_in_progress") == 0
    assert registry.get_sample_value("evenskin_training_seconds_count") == 0


def test_a_model_is_counted_by_what_the_gate_decided_and_epochs_are_shown() -> None:
    registry = MetricRegistry()
    metrics = TrainerMetrics(registry)
    epoch = {"epoch": 2, "epochs": 9, "train_loss": 0.5, "validation_loss": 0.6, "metrics": {"accuracy": 0.7}}
    with metrics.training():
        assert registry.get_sample_value("evenskin_trainings_in_progress") == 1
        metrics.epoch_ended(epoch)
    metrics.decided(promoted=False)
    metrics.decided(promoted=True)
    for name, labels, value in (
        ("evenskin_trainings_total", {"outcome": "kept_back"}, 1),
        ("evenskin_trainings_total", {"outcome": "promoted"}, 1),
        ("evenskin_training_seconds_count", {}, 1),
        ("evenskin_training_epoch", {}, 2),
        ("evenskin_training_epochs", {}, 9),
        ("evenskin_training_loss", {"fold": "validation"}, 0.6),
        ("evenskin_training_score_ratio", {"metric": "accuracy"}, 0.7),
    ):
        assert registry.get_sample_value(name, labels) == value, name
