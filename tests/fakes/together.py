"""Counts how many calls of functions run at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Together:
    """Watches functions that run on threads. `count`: calls; `most`: of them at the same time."""

    def __init__(self) -> None:
        self.count = self.most = self._running = 0
        self._lock = threading.Lock()

    def watching(self, function: Callable[P, T]) -> Callable[P, T]:
        """The function, counted; it takes a little longer, so that calls meet."""

        def watched(*args: P.args, **kwargs: P.kwargs) -> T:
            with self._lock:
                self.count += 1
                self._running += 1
                self.most = max(self.most, self._running)
            try:
                time.sleep(0.02)
                return function(*args, **kwargs)
            finally:
                with self._lock:
                    self._running -= 1

        return watched
