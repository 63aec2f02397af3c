"""How long a server asks its clients to wait, in every form that is met: milliseconds, seconds, or a date. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait: `retry-after-ms`, else `Retry-After` (RFC 9110, 10.2.3).

    `headers` is not case-sensitive. A date counts from the answer's own `Date`, so that clocks may differ. Returns
    None where nothing is asked, the date is past, or it is nonsense; infinity for a number too large.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    until = _timestamp(text)
    if until is None:
        return None
    now = _timestamp(headers.get("date"))
    wait_s = until - (time.time() if now is None else now)
    return wait_s if wait_s >= 0 else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if number >= 0 else None  # not a number is not either


def _timestamp(text: str | None) -> float | None:
    """Seconds since 1970 of an HTTP date."""
    try:
        date = parsedate_to_datetime(text or "")
        # Without a zone it is UTC, as all HTTP dates are.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
