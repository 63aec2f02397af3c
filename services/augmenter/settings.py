"""Settings of the augmenter."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from shared.events import stated
from shared.settings import Port, Settings


class AugmenterSettings(Settings):
    """The augmenter's own settings, beside those that every service has."""

    port: Port = 8002
    """Port of health and metrics; 0 takes a free one."""
    flip_threads: Annotated[int, stated(unit="threads")] = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=256
    )
    """Threads that flip; absent: one a core."""
