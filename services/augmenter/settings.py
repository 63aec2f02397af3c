"""Settings of the augmenter."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.admission import PIXELS_AT_ONCE
from shared.cores import usable_cores
from shared.events import stated
from shared.settings import Port, Settings


class AugmenterSettings(Settings):
    """The augmenter's own settings, beside those that every service has."""

    port: Port = 8002
    """Port of health and metrics; 0 takes a free one."""
    flip_threads: Annotated[int, stated(unit="threads")] = Field(default_factory=usable_cores, ge=1, le=256)
    """Threads that flip; absent: one a usable core."""
    decode_pixels: Annotated[int, stated(unit="pixels")] = Field(default=PIXELS_AT_ONCE, ge=1)
    """Pixels decoded at a time, of all pictures together, which bounds memory; a larger picture is decoded alone."""
