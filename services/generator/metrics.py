"""The generator's Prometheus metrics: pictures, and what they cost."""

from __future__ import annotations

from collections.abc import Callable

from shared.metrics import MetricRegistry

_BUCKETS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)  # seconds: a drawing to a slow API's retries


class GeneratorMetrics:
    """The generator's own metrics, in the service's registry. `provider` is a label of those about it."""

    def __init__(
        self, registry: MetricRegistry, provider: str, at_work: Callable[[], int], pace: Callable[[], float]
    ) -> None:
        self._provider = provider
        self._images = registry.counter(
            "evenskin_images_generated_total",
            "Images asked of the provider, by outcome: generated, or the reason of the failure",
            "provider",
            "condition",
            "outcome",
        )
        cost = registry.counter(
            "evenskin_generation_cost_usd_total",
            "What was paid, unknown outcomes included",
            "provider",
        )
        self._cost = cost.labels(provider)
        requests = registry.counter(
            "evenskin_provider_requests_total", "Requests begun at the provider, repeated ones too", "provider"
        )
        self._requests = requests.labels(provider)
        unknown = registry.counter(
            "evenskin_provider_unknown_requests_total",
            "Requests whose outcome stayed unknown; they are booked as paid",
            "provider",
        )
        self._unknown = unknown.labels(provider)
        self._refusals = registry.counter(
            "evenskin_prompts_refused_total",
            "Prompts that a content filter refused, by condition and severity and by wording: 0 is the plainest",
            "provider",
            "condition",
            "severity",
            "wording",
        )
        self._seconds = registry.histogram(
            "evenskin_provider_seconds",
            "Time the provider took for an image, repeated requests included, waiting between them excluded",
            "provider",
            buckets=_BUCKETS,
        ).labels(provider)
        registry.gauge("evenskin_images_in_progress", "Images being generated or stored").set_function(at_work)
        registry.gauge(
            "evenskin_provider_pace_per_second",
            "Requests a second that all replicas together may begin now, as this one knows; infinite without a pace",
        ).set_function(lambda: pace() / 60)

    def image_ended(self, condition: str, outcome: str, cost_usd: float, unknown_calls: int) -> None:
        """Count an image that was made or failed, what it cost, and its requests whose outcome is unknown."""
        self._images.labels(self._provider, condition, outcome).inc()
        self._cost.inc(cost_usd)
        self._unknown.inc(unknown_calls)

    def provider_took(self, seconds: float) -> None:
        """Observe the seconds that the provider took for an image."""
        self._seconds.observe(seconds)

    def prompt_refused(self, condition: str, severity: str, wording: int) -> None:
        """Count a prompt that a content filter refused."""
        self._refusals.labels(self._provider, condition, severity, str(wording)).inc()

    def request_began(self) -> None:
        """Count a request that is sent."""
        self._requests.inc()
