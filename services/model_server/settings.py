"""Settings of the model-server."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from shared.events import stated
from shared.imaging import MAX_BYTES, MAX_PIXELS
from shared.settings import Port, Seconds, Settings

MAX_WORKERS = 4  # threads: each may hold a 50-megapixel picture, 570 MB while it is turned and its colours converted


def _usable_cores() -> int:
    """CPU cores this process may use, which in a container are fewer than the machine has."""
    return max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0))))


class ModelServerSettings(Settings):
    """The model-server's own settings, beside those that every service has."""

    port: Port = 8080
    """Port of the HTTP server; 0 takes a free one."""
    predict_workers: Annotated[int, stated(unit="threads")] = Field(default_factory=_usable_cores, ge=1, le=64)
    """Pictures decoded and predicted at a time, each on a thread of its own; absent: one a usable core, at most 4."""
    predict_queue: Annotated[int, stated(unit="requests")] = Field(default=32, ge=0, le=10_000)
    """Requests that may wait for a worker; one more is answered 503 `overloaded`."""
    predict_threads: Annotated[int, stated(unit="threads")] = Field(default=1, ge=1, le=64)
    """Threads of ONNX Runtime inside one prediction; the workers already use every core."""
    max_image_bytes: Annotated[int, stated(unit="bytes")] = Field(default=MAX_BYTES, ge=1)
    """Most that is read of one upload."""
    max_image_pixels: Annotated[int, stated(unit="pixels")] = Field(default=MAX_PIXELS, ge=1)
    """Size of the largest picture that is decoded, width times height."""
    upload_timeout_s: Seconds = Field(default=30.0, gt=0)
    """Time an upload may take to arrive, so that a stalled client does not keep a place in the queue."""
    model_poll_s: Seconds = Field(default=30.0, gt=0)
    """Time between looks at `models/live.json`, which mend a missed event."""
    heatmap_max_side: Annotated[int, stated(unit="pixels")] = Field(default=64, ge=1, le=1024)
    """Longer side of a heatmap; larger activation maps are scaled down."""
    infer_max_batch: Annotated[int, stated(unit="pictures")] = Field(default=16, ge=1, le=1024)
    """Pictures in one request of the Open Inference Protocol."""
