"""What Prometheus is told of predictions and of the model that is served."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds: a small PNG to a queue of large HEICs


class ServerMetrics:
    """The model-server's own metrics, in the service's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.predictions = Counter(
            "evenskin_predictions",
            "Prediction requests, by outcome: ok, or the error's code",
            ["outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "evenskin_prediction_seconds",
            "Time of an answered prediction request: decode, inference, total (with upload and waiting)",
            ["stage"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.in_hand = Gauge(
            "evenskin_predictions_in_hand", "Requests being read, waiting or predicted", registry=registry
        )
        self.swaps = Counter(
            "evenskin_model_swaps",
            "Promotions, by outcome: done, failed, ignored (older)",
            ["outcome"],
            registry=registry,
        )
        self._model = Gauge(
            "evenskin_model_info", "1 for the model that is served", ["version", "dataset_version"], registry=registry
        )

    def serve(self, version: str, dataset_version: str) -> None:
        """Name the model that is served from now on; only that one has a series."""
        self._model.clear()
        self._model.labels(version, dataset_version).set(1)
