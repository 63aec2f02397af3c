"""Gives memory back to the system: glibc keeps what a large picture took, since small things lie behind it."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


@cache
def _trim() -> Any:
    """glibc's malloc_trim(3); None where the C library has none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows
        return None


def give_memory_back() -> None:
    """Give freed memory back to the system, where its C library has a call for that. Takes a few milliseconds."""
    if (trim := _trim()) is not None:
        trim(0)
