"""How many cores there are to work on."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """CPU cores that this process may use, which in a container can be fewer than the machine has; at least 1."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone has it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
