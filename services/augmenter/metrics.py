"""The augmenter's Prometheus metrics: variants."""

from __future__ import annotations

from services.augmenter.jpeg import Way
from shared.metrics import MetricRegistry

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds: a small JPEG to a large PNG


class AugmenterMetrics:
    """The augmenter's own metrics, in the service's registry."""

    def __init__(self, registry: MetricRegistry, jpeg_way: Way) -> None:
        self._variants = registry.counter(
            "evenskin_variants_made_total",
            "Variants made, by operation and whether no pixel lost anything",
            "operation",
            "lossless",
        )
        self._seconds = registry.histogram(
            "evenskin_variant_seconds",
            "Time a variant took, waiting for a thread included",
            "operation",
            buckets=_BUCKETS,
        )
        ways = registry.gauge("evenskin_jpeg_flips_info", f"1 for what flips JPEGs: {', '.join(Way)}", "way")
        ways.labels(jpeg_way).set(1)

    def variant_made(self, operation: str, *, lossless: bool, seconds: float) -> None:
        """Count a variant, and observe the seconds it took."""
        self._variants.labels(operation, "true" if lossless else "false").inc()
        self._seconds.labels(operation).observe(seconds)
