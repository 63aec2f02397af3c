"""A recorder of spans in memory, in the place of OpenTelemetry's."""

from __future__ import annotations

from collections.abc import Mapping

from shared.tracing import child_of, new_traceparent


class Recorded:
    """A span as it was begun, with the reason it failed for, if it did."""

    def __init__(self, name: str, kind: str, parent: str | None, attributes: Mapping[str, str | int]) -> None:
        self.name, self.kind, self.parent, self.attributes = name, kind, parent, dict(attributes)
        self.traceparent = child_of(parent) if parent else new_traceparent()
        self.failure: str | None = None
        self.ended = False

    def fail(self, reason: str) -> None:
        """Keep the reason."""
        self.failure = reason

    def note(self, name: str, value: str | int) -> None:
        """Keep the attribute."""
        self.attributes[name] = value

    def end(self) -> None:
        """Keep that it ended."""
        self.ended = True


class Spans:
    """Every span that was begun, in that order."""

    def __init__(self) -> None:
        self.spans: list[Recorded] = []

    def begin(self, name: str, kind: str, parent: str | None, attributes: Mapping[str, str | int]) -> Recorded:
        """Begin a span."""
        self.spans.append(Recorded(name, kind, parent, attributes))
        return self.spans[-1]

    def close(self) -> None:
        """Nothing is kept back."""
