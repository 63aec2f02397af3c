"""Settings of the augmenter."""

from __future__ import annotations

import os

from pydantic import Field

from shared.settings import Settings


class AugmenterSettings(Settings):
    """What the augmenter is told, beside what every service is."""

    port: int = 8002
    """Port of health and metrics; 0 takes a free one."""
    flip_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=256)
    """Threads that flip."""
