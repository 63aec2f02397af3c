"""Recording spans with OpenTelemetry, and exporting them over OTLP/HTTP.

Where to, how much is sampled and what else stands in the resource is read by OpenTelemetry from its standard
variables. Which span is the current one is `shared.tracing`'s to know.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

CLOSE_S = 3.0  # for the spans that are not sent yet when a process ends: a drain has 30 s in all

_KINDS = {kind.name.lower(): kind for kind in SpanKind}


class Recorded:
    """A span being recorded."""

    def __init__(self, span: Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def note(self, name: str, value: str | int) -> None:
        """Add an attribute."""
        self._span.set_attribute(name, value)

    def fail(self, reason: str) -> None:
        """Mark it as failed."""
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def end(self) -> None:
        """It took until now."""
        self._span.end()


class SpanExport:
    """Records the spans of a service and sends them in batches, from a thread. `exporter`: OTLP unless given."""

    def __init__(self, service: str, exporter: SpanExporter | None = None) -> None:
        self._exporter = exporter or OTLPSpanExporter()
        # No exit handler: `close` is called, and waits no longer than it may.
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("evenskin")

    def begin(self, name: str, kind: str, parent: str | None, attributes: Mapping[str, str | int]) -> Recorded:
        """Begin a span below a valid trace parent, or a trace."""
        context = None if parent is None else set_span_in_context(NonRecordingSpan(_context_of(parent)))
        return Recorded(self._tracer.start_span(name, context, _KINDS[kind], dict(attributes)))

    def close(self) -> None:
        """Send what is left; what a collector that does not answer has not taken by then is lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="close spans", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            self._exporter.shutdown()  # ends its waiting for another try
            closing.join(CLOSE_S)


def _context_of(traceparent: str) -> SpanContext:
    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
