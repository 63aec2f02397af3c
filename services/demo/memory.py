"""Measures the peak memory of the demo."""

from __future__ import annotations

import asyncio
import contextlib

import psutil

SAMPLE_S = 0.5  # seconds between looks at the memory: what grows to matter stays longer


class MemoryMeter:
    """Peak memory of this process and all its children together, in MB, sampled while it runs.

    Pages that processes share are counted in each: the true figure is somewhat lower.
    """

    def __init__(self) -> None:
        self.peak_mb = 0.0

    async def run(self) -> None:
        """Sample for ever."""
        process = psutil.Process()
        while True:
            total = 0
            for member in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):  # it ended meanwhile
                    total += member.memory_info().rss
            self.peak_mb = max(self.peak_mb, round(total / 1e6, 1))
            await asyncio.sleep(SAMPLE_S)
