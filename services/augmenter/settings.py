"""Settings of the augmenter."""

from __future__ import annotations

import os

from pydantic import Field

from shared.settings import Settings


class AugmenterSettings(Settings):
    """The augmenter's own settings, beside those that every service has."""

    port: int = 8002
    """Port of health and metrics; 0 takes a free one."""
    flip_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=256)
    """Threads that flip."""
