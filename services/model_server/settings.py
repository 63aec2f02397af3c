"""Settings of the model-server."""

from __future__ import annotations

import os

from pydantic import Field

from shared.imaging import MAX_BYTES, MAX_PIXELS
from shared.settings import Settings

MAX_WORKERS = 4  # threads: each may hold a 50-megapixel picture, 570 MB while it is turned and its colours converted


def _usable_cores() -> int:
    """CPU cores this process may use, which in a container are fewer than the machine has."""
    return max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0))))


class ModelServerSettings(Settings):
    """The model-server's own settings, beside those that every service has."""

    port: int = 8080
    """Port of the HTTP server; 0 takes a free one."""
    predict_workers: int = Field(default_factory=_usable_cores, ge=1, le=64)
    """Pictures decoded and predicted at a time, each on a thread of its own."""
    predict_queue: int = Field(default=32, ge=0, le=10_000)
    """Requests that may wait for a worker; one more is answered 503 `overloaded`."""
    predict_threads: int = Field(default=1, ge=1, le=64)
    """Threads of ONNX Runtime inside one prediction; the workers already use every core."""
    max_image_bytes: int = Field(default=MAX_BYTES, ge=1)
    """Bytes of one upload that are read."""
    max_image_pixels: int = Field(default=MAX_PIXELS, ge=1)
    """Pixels of one picture that are decoded."""
    upload_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds an upload may take to arrive, so that a stalled client does not keep a place in the queue."""
    model_poll_s: float = Field(default=30.0, gt=0)
    """Seconds between looks at `models/live.json`, which mend a missed event."""
    heatmap_max_side: int = Field(default=64, ge=1, le=1024)
    """Pixels of a heatmap's longer side; larger activation maps are scaled down."""
    infer_max_batch: int = Field(default=16, ge=1, le=1024)
    """Pictures in one request of the Open Inference Protocol."""
