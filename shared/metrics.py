"""Prometheus metrics: a registry that describes what is in it, and the metrics that every service has.

Names follow https://prometheus.io/docs/practices/naming/: the prefix `evenskin_`, base units, `_total` for what
only grows. Labels have few values: routes as templates, never ids.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from shared import VERSION
from shared.message import Message

HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
HANDLER_BUCKETS = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)  # seconds: a write to a training


@dataclass(frozen=True)
class Described:
    """A metric as `/metrics` shows it: its full name, type, meaning and labels."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]


class MetricRegistry(CollectorRegistry):
    """A service's metrics. docs/metrics.md lists what is made or described here."""

    def __init__(self) -> None:
        super().__init__()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside every counter, which nobody asks for
        self.described: list[Described] = []

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """A counter; its name ends in `_total`."""
        self.describe_as(name, "counter", meaning, *labels)
        return Counter(name, meaning, labels, registry=self)

    def gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        """A gauge."""
        self.describe_as(name, "gauge", meaning, *labels)
        return Gauge(name, meaning, labels, registry=self)

    def histogram(self, name: str, meaning: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        """A histogram; the buckets' bounds are in the name's unit."""
        self.describe_as(name, "histogram", meaning, *labels)
        return Histogram(name, meaning, labels, buckets=buckets, registry=self)

    def describe_as(self, name: str, kind: str, meaning: str, *labels: str) -> None:
        """Describe a metric that a collector of its own gives."""
        self.described.append(Described(name, kind, meaning, labels))


class ServiceMetrics:
    """The metrics that every service has: requests, events, the build and the process."""

    def __init__(self, registry: MetricRegistry, service: str) -> None:
        self._service = service
        self._requests = registry.counter(
            "evenskin_http_requests_total", "HTTP requests by route template and status", "method", "route", "status"
        )
        self._request_seconds = registry.histogram(
            "evenskin_http_request_seconds",
            "Time to the end of an answer, streams included",
            "method",
            "route",
            buckets=HTTP_BUCKETS,
        )
        self._handled = registry.counter(
            "evenskin_events_handled_total",
            "Deliveries by outcome: done, retried, dead (in the dead-letter queue), given_back (the service stops), "
            "dropped (a failed one that every replica hears)",
            "event",
            "outcome",
        )
        self._handling_seconds = registry.histogram(
            "evenskin_event_handling_seconds", "Time a handler took", "event", buckets=HANDLER_BUCKETS
        )
        self._published = registry.counter(
            "evenskin_events_published_total", "Events that the broker has confirmed", "event"
        )
        build = registry.gauge(
            "evenskin_build_info", "1 for the version that runs", "service", "version", "python_version"
        )
        build.labels(service, VERSION, platform.python_version()).set(1)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def request_answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered HTTP request, and observe its seconds."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def delivery_ended(self, event: str, outcome: str) -> None:
        """Count a delivery of an event by its outcome."""
        self._handled.labels(event, outcome).inc()

    def handler_ended(self, event: str, seconds: float) -> None:
        """Observe the seconds of a handler, whether it succeeded or failed."""
        self._handling_seconds.labels(event).observe(seconds)

    def message_published(self, message: Message) -> None:
        """Count a published message if it is this service's: several services may share a bus."""
        if message.source == self._service:
            self._published.labels(message.event.name()).inc()
