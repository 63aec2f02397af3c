"""Sample pictures by condition and severity, and pictures as text inside the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from shared.taxonomy import Condition, Severity

Face = tuple[str, str | None, bytes]
"""Condition (or "clear"), severity, and a picture's bytes."""

_MAGIC = ((b"\x89PNG", "image/png"), (b"RIFF", "image/webp"))


def cards(faces: Sequence[Face]) -> dict[str, list[tuple[str | None, str]]]:
    """Severities and data URIs by condition, clear skin last.

    Mild, moderate and severe lie beside each other: the first of each, then the second of each.
    """
    found: dict[str, list[tuple[str | None, str]]] = {}
    for name in (*Condition, "clear"):
        seen: dict[str | None, int] = {}
        placed = []
        for severity, data in ((severity, data) for condition, severity, data in faces if condition == name):
            seen[severity] = seen.get(severity, 0) + 1
            placed.append((seen[severity], _rank(severity), severity, data))
        if placed:
            ordered = sorted(placed, key=lambda place: place[:2])
            found[str(name)] = [(severity, data_uri(data)) for _, _, severity, data in ordered]
    return found


def data_uri(data: bytes) -> str:
    """A picture inside the page, so that the report is one file."""
    media_type = next((name for magic, name in _MAGIC if data.startswith(magic)), "image/jpeg")
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _rank(severity: str | None) -> int:
    labels = [s.label for s in Severity]
    return labels.index(severity) if severity in labels else len(labels)
