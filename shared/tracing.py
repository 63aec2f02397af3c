"""The W3C trace and the correlation id of the work under way, carried through events and HTTP calls.

A `Span` is a unit of work. While it lasts, log lines, published events and HTTP calls carry its ids. The ids are
always made, at the price of two random numbers; spans are recorded only after `configure_tracing` found an exporter.

https://www.w3.org/TR/trace-context/ has the form of `traceparent`: version, trace id, span id, flags.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self
from uuid import UUID

import structlog

from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.remote.spans import Recorded, SpanExport

CORRELATION_HEADER = "X-Correlation-ID"
TRACE_HEADER = "traceparent"
MAX_CORRELATION_CHARACTERS = 128  # of an id from outside: it is kept in every row and log line that it causes
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own variables: without one of them no span is recorded."""

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
_random = random.Random()  # its own: a seed that somebody sets must not make two traces one


class Scope(NamedTuple):
    """The ids of the work under way. `fields` stand in its log lines beside them."""

    correlation_id: str
    traceparent: str
    fields: Mapping[str, str]


_scope: ContextVar[Scope | None] = ContextVar("evenskin_scope", default=None)
_export: SpanExport | None = None


def new_traceparent() -> str:
    """A new trace, flagged as sampled, so that services further on record it."""
    return f"00-{_random.getrandbits(128) or 1:032x}-{_random.getrandbits(64) or 1:016x}-01"


def new_correlation_id() -> str:
    """A random UUID, by our own generator: the system's costs a call of it each time."""
    return str(UUID(int=_random.getrandbits(128), version=4))


def child_of(traceparent: str) -> str:
    """A new span on a valid trace."""
    return f"{traceparent[:36]}{_random.getrandbits(64) or 1:016x}{traceparent[52:]}"


def trace_id(traceparent: str) -> str:
    """The trace's id: 32 hexadecimal digits."""
    return traceparent[3:35]


def valid_traceparent(value: object) -> str | None:
    """Check a trace parent from outside. None where it is malformed, and so to be ignored.

    Of a version newer than 00, only the parts of version 00 are kept, as the standard asks.
    """
    found = _TRACEPARENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or (found[1] == "00" and found[5]):
        return None
    return f"00-{found[2]}-{found[3]}-{found[4]}"


def valid_correlation_id(value: object) -> str | None:
    """Clean a correlation id from outside to printable ASCII and cut it to the limit. None where nothing is left."""
    return _UNPRINTABLE.sub("", str(value or ""))[:MAX_CORRELATION_CHARACTERS] or None


def current_correlation_id() -> str:
    """The correlation id of the work under way, or a new one."""
    scope = _scope.get()
    return scope.correlation_id if scope is not None else new_correlation_id()


def current_traceparent() -> str:
    """The span of the work under way, or a new trace."""
    scope = _scope.get()
    return scope.traceparent if scope is not None else new_traceparent()


def continued(traceparent: str) -> str:
    """The span of the work under way if it is on this trace, else `traceparent` itself."""
    scope = _scope.get()
    if scope is not None and trace_id(scope.traceparent) == trace_id(traceparent):
        return scope.traceparent
    return traceparent


class Span:
    """A unit of work, as a context manager.

    `kind`: OpenTelemetry's, one of internal, server, client, producer, consumer. Parent and correlation id are
    those of the work under way unless others are given; where there are none, a trace begins. `attributes` are
    the recorded span's, `fields` those of its log lines.
    """

    __slots__ = ("_attributes", "_correlation_id", "_fields", "_kind", "_name", "_parent", "_recorded", "_token")

    def __init__(
        self,
        name: str,
        *,
        kind: str = "internal",
        parent: str | None = None,
        correlation_id: str | None = None,
        attributes: Mapping[str, str | int] | None = None,
        **fields: str,
    ) -> None:
        self._name = name
        self._kind = kind
        self._parent = parent
        self._correlation_id = correlation_id
        self._attributes = attributes
        self._fields = fields
        self._recorded: Recorded | None = None
        self._token: Token[Scope | None] | None = None

    def __enter__(self) -> Self:
        around = _scope.get()
        parent = self._parent or (around.traceparent if around is not None else None)
        if _export is not None:
            self._recorded = _export.begin(self._name, self._kind, parent, {**(self._attributes or {}), **self._fields})
        own = self._recorded.traceparent if self._recorded is not None else None
        own = own or (child_of(parent) if parent else new_traceparent())
        correlation_id = self._correlation_id or (around.correlation_id if around is not None else new_correlation_id())
        fields = {**around.fields, **self._fields} if around is not None and around.fields else self._fields
        self._token = _scope.set(Scope(correlation_id, own, fields))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        _scope.reset(self._token)
        if self._recorded is not None:
            if error is not None:
                self._recorded.fail(type(error).__name__)
            self._recorded.end()

    def fail(self, reason: str) -> None:
        """Mark the recorded span as failed, for an error that does not leave it as an exception."""
        if self._recorded is not None:
            self._recorded.fail(reason)

    def note(self, name: str, value: str | int) -> None:
        """Add an attribute, known only now, to the recorded span."""
        if self._recorded is not None:
            self._recorded.note(name, value)


def outgoing_headers() -> dict[str, str]:
    """Headers that carry the ids of the work under way on an HTTP call to one of our services."""
    return {TRACE_HEADER: current_traceparent(), CORRELATION_HEADER: current_correlation_id()}


def is_recording() -> bool:
    """Whether spans are recorded in this process."""
    return _export is not None


def add_ids(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Processor of structlog: the ids of the work under way, in every log line of it."""
    scope = _scope.get()
    if scope is not None:
        for name, value in scope.fields.items():
            line.setdefault(name, value)
        line.setdefault("correlation_id", scope.correlation_id)
        line.setdefault("trace_id", trace_id(scope.traceparent))
    return line


def configure_tracing(service: str, environment: Mapping[str, str] = os.environ) -> None:
    """Record and export spans from now on if the environment names an endpoint.

    Raises ConfigurationError where OpenTelemetry's packages are missing.
    """
    global _export
    close_tracing()
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or not any(environment.get(name, "").strip() for name in ENDPOINTS):
        return
    try:
        from shared.remote.spans import SpanExport  # OpenTelemetry: loaded only where spans are recorded
    except ImportError as error:
        raise ConfigurationError(
            "An OTEL_EXPORTER_OTLP endpoint is set, and OpenTelemetry is not installed.",
            advice="Install evenskin[tracing], or unset the variable.",
        ) from error
    _export = SpanExport(service)


def close_tracing() -> None:
    """Export the recorded spans, for a bounded time, and record no more."""
    global _export
    export, _export = _export, None
    if export is not None:
        export.close()
