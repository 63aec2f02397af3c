"""The model-server's Prometheus metrics: predictions, and the model that is served."""

from __future__ import annotations

from services.model_server.drift import DriftMetrics
from shared.documents.predictions import Prediction, Timing
from shared.metrics import MetricRegistry
from shared.model_card import ModelCard

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds: a small PNG to a queue of large HEICs

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32)  # pictures


class ServerMetrics:
    """The model-server's own metrics, in the service's registry."""

    def __init__(self, registry: MetricRegistry) -> None:
        self.predictions = registry.counter(
            "evenskin_predictions_total",
            "Pictures asked about, by outcome: ok, client_gone, or the error's code; a batch that fails as such is one",
            "outcome",
        )
        self.seconds = registry.histogram(
            "evenskin_prediction_seconds",
            "Time of an answered prediction request: decode, inference, total (with upload and waiting)",
            "stage",
            buckets=_BUCKETS,
        )
        self._stages = {stage: self.seconds.labels(stage) for stage in Timing.model_fields}
        self.advice = registry.counter(
            "evenskin_picture_advice_total", "Answered pictures that are no good portraits, by what is wrong", "code"
        )
        self.drift = DriftMetrics(registry)
        self.batch = registry.histogram(
            "evenskin_inference_batch_pictures",
            "Pictures in one request of the Open Inference Protocol",
            buckets=_BATCH_BUCKETS,
        )
        self.in_hand = registry.gauge("evenskin_predictions_in_hand", "Requests being read, waiting or predicted")
        self.limit = registry.gauge(
            "evenskin_predictions_in_hand_limit", "Requests that are taken at a time; more are turned away"
        )
        self.swaps = registry.counter(
            "evenskin_model_swaps_total", "Promotions, by outcome: done, failed, ignored (older)", "outcome"
        )
        self._model = registry.gauge(
            "evenskin_model_info", "1 for the model that is served", "version", "dataset_version"
        )

    def answered(self, answer: Prediction) -> None:
        """Observe an answered picture. Any thread may call it."""
        self.drift.answered(answer)
        for stage, milliseconds in answer.timing_ms:
            self._stages[stage].observe(milliseconds / 1000)
        for given in answer.advice:
            self.advice.labels(given.code).inc()

    def model_served(self, version: str, dataset_version: str, card: ModelCard | None) -> None:
        """Name the model that is served from now on, and what its card expects. Only that model has a series."""
        self.drift.expect(card)
        self._model.clear()
        self._model.labels(version, dataset_version).set(1)
