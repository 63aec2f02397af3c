"""The trainer's Prometheus metrics. The scores of a model are in `scores.py`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import EvenskinError
from shared.metrics import MetricRegistry

_BUCKETS = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0)  # seconds


class TrainerMetrics:
    """The trainer's own metrics, in the service's registry. An epoch's values stay until the next epoch, of any run."""

    def __init__(self, registry: MetricRegistry) -> None:
        self._trainings = registry.counter(
            "evenskin_trainings_total",
            "Trainings by outcome: promoted, kept_back (worse than the live model, or not shown to be as good), "
            "failed, interrupted (goes on from its checkpoint)",
            "outcome",
        )
        self._seconds = registry.histogram(
            "evenskin_training_seconds", "Time a training took that ended with a model", buckets=_BUCKETS
        )
        self._in_progress = registry.gauge("evenskin_trainings_in_progress", "Trainings under way")
        self._epoch = registry.gauge("evenskin_training_epoch", "Epochs that are done")
        self._epochs = registry.gauge("evenskin_training_epochs", "Epochs that the run has at most")
        self._loss = registry.gauge(
            "evenskin_training_loss", "Loss of the last epoch, on the train and the validation fold", "fold"
        )
        self._score = registry.gauge(
            "evenskin_training_score_ratio", "Scores of the last epoch on the validation fold, 0 to 1", "metric"
        )

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Wrap a training: time one that ends with a model, and count one that does not by what ended it."""
        began = time.monotonic()
        self._in_progress.inc()
        outcome = "interrupted"
        try:
            yield
            outcome = ""
        except EvenskinError as error:
            outcome = "interrupted" if error.retryable else "failed"
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            self._in_progress.dec()
            if outcome:
                self._trainings.labels(outcome).inc()
            else:
                self._seconds.observe(time.monotonic() - began)

    def decided(self, *, promoted: bool) -> None:
        """Count the gate's decision on a new model."""
        self._trainings.labels("promoted" if promoted else "kept_back").inc()

    def epoch_ended(self, epoch: Mapping[str, Any]) -> None:
        """Show what an epoch measured."""
        self._epoch.set(epoch["epoch"])
        self._epochs.set(epoch["epochs"])
        self._loss.labels("train").set(epoch["train_loss"])
        self._loss.labels("validation").set(epoch["validation_loss"])
        for name, value in epoch["metrics"].items():
            self._score.labels(name).set(value)
