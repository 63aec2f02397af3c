"""Pauses between tries of something that may succeed later."""

from __future__ import annotations

import random

FIRST_PAUSE_S = 0.2  # doubled each time
LONGEST_PAUSE_S = 5.0


class Backoff:
    """Pauses that double up to a limit, with some jitter so that replicas do not come all at once."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE_S

    def pause_s(self) -> float:
        """Seconds to wait now."""
        pause, self._next = self._next, min(self._next * 2, LONGEST_PAUSE_S)
        return pause * random.uniform(0.8, 1.2)

    def reset(self) -> None:
        """Start with the first pause again: a try has succeeded."""
        self._next = FIRST_PAUSE_S
