"""Settings of the model-server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.model_server.portrait_policy import FacePolicy, MultipleFaces
from shared.admission import PIXELS_AT_ONCE
from shared.cores import usable_cores
from shared.documents.predictions import BATCH_PICTURES
from shared.events import stated
from shared.faces import FaceSearch
from shared.imaging import MAX_BYTES, MAX_PIXELS
from shared.settings import Port, Seconds, Settings

MAX_WORKERS = 4  # threads: more pictures at a time gain little, since decoding is bounded by its pixels


class ModelServerSettings(Settings):
    """The model-server's own settings, beside those that every service has."""

    port: Port = 8080
    """Port of the HTTP server; 0 takes a free one."""
    predict_workers: Annotated[int, stated(unit="threads")] = Field(
        default_factory=lambda: min(MAX_WORKERS, usable_cores()), ge=1, le=64
    )
    """Pictures decoded and predicted at a time, each on a thread of its own; absent: one a usable core, at most 4."""
    predict_queue: Annotated[int, stated(unit="requests")] = Field(default=32, ge=0, le=10_000)
    """Requests that may wait for a worker; one more is answered 503 `overloaded`."""
    predict_threads: Annotated[int, stated(unit="threads")] = Field(default=1, ge=1, le=64)
    """Threads of ONNX Runtime inside one prediction; the workers already use every core."""
    max_image_bytes: Annotated[int, stated(unit="bytes")] = Field(default=MAX_BYTES, ge=1)
    """Most that is read of one upload."""
    max_image_pixels: Annotated[int, stated(unit="pixels")] = Field(default=MAX_PIXELS, ge=1)
    """Size of the largest picture that is decoded, width times height; of a JPEG, at the scale that is needed."""
    faces: FaceSearch = FaceSearch.ON
    """Whether faces are looked for. Off: the middle of a picture is judged, and every answer says so."""
    face_policy: FacePolicy = FacePolicy.WARN
    """What is done about a picture that is no good portrait: nothing, advice beside the answer, or a refusal."""
    multiple_faces: MultipleFaces = MultipleFaces.LARGEST
    """What is done about a picture with several faces: the largest is judged, or the picture refused."""
    decode_pixels: Annotated[int, stated(unit="pixels")] = Field(default=PIXELS_AT_ONCE, ge=1)
    """Pixels decoded at a time, of all pictures together, which bounds memory; a larger picture is decoded alone."""
    upload_timeout_s: Seconds = Field(default=30.0, gt=0)
    """Time an upload may take to arrive, so that a stalled client does not keep a place in the queue."""
    model_poll_s: Seconds = Field(default=30.0, gt=0)
    """Time between looks at `models/live.json`, which mend a missed event."""
    shadow_model: str = ""
    """Version of a model that is shown what the served one sees, and compared in metrics only, at the price of its own
    inference; empty: none."""
    heatmap_max_side: Annotated[int, stated(unit="pixels")] = Field(default=64, ge=1, le=1024)
    """Longer side of a heatmap; larger activation maps are scaled down."""
    infer_max_batch: Annotated[int, stated(unit="pictures")] = Field(default=16, ge=1, le=1024)
    """Pictures in one request of the Open Inference Protocol."""

    @property
    def batch_pictures(self) -> int:
        """Most pictures of one batch: each takes a place of the queue, so more than there are would never fit."""
        return min(BATCH_PICTURES, self.predict_workers + self.predict_queue)
