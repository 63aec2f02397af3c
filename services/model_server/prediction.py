"""Answers a selfie: prepares it, predicts, and composes the answer. Runs on a worker's thread; keeps nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.model_server.heatmaps import Heatmap, heatmap_png
from services.model_server.portrait_policy import PortraitPolicy
from services.model_server.predictor import LEVELS, Predictor
from services.model_server.predictor import Prediction as Output
from shared.documents.predictions import NOTICE, Crop, Prediction
from shared.errors import EvenskinError, ModelInvalid
from shared.faces import FaceDetector, FaceSearch
from shared.frames import Frame
from shared.imaging import PictureWarning, Pixels
from shared.judging import judged_face, portrait_of
from shared.portraits import Advice, AdviceCode
from shared.preprocessing import Prepared, first_side, prepare

DIGITS = 6  # decimals of a probability: finer than the parity of 1e-4 that the trainer proves
ELONGATED_RATIO = 1.8  # ratio of sides from which the middle square leaves out too much; 16:9 is still usual


@dataclass(frozen=True)
class Pictures:
    """How pictures are read and judged.

    `detector`: None where no face is looked for. `max_bytes`, `max_pixels`: of the largest picture that is read;
    `heatmap_max_side`: pixels of a heatmap's longer side.
    """

    detector: FaceDetector | None
    policy: PortraitPolicy
    max_bytes: int
    max_pixels: int
    heatmap_max_side: int

    def first_side(self, predictor: Predictor) -> int:
        """Pixels of the shorter side that a picture is decoded to for this model."""
        return first_side(predictor.metadata.input_size, looks=self.detector is not None)


def answer_picture(
    predictor: Predictor,
    data: bytes,
    pictures: Pictures,
    *,
    heatmap: Heatmap,
    arrived: float,
    seen: Callable[[Pixels, Output], None] | None = None,
) -> Prediction:
    """Prepare an encoded picture, judge it as a portrait, predict, and put the answer together.

    `arrived`: `time.perf_counter()` at the request's arrival. `seen` is told what the model saw and gave. Raises the
    ImageErrors of `shared.imaging.decode`, and a PortraitUnfit where the policy refuses the picture.
    """
    started = time.perf_counter()
    size = predictor.metadata.input_size
    prepared = prepare(
        data,
        size,
        predictor.preprocessing,
        detector=pictures.detector,
        max_bytes=pictures.max_bytes,
        max_pixels=pictures.max_pixels,
    )
    portrait = portrait_of(prepared)
    advice = () if portrait is None else pictures.policy.judged(portrait)
    read = time.perf_counter()
    try:
        output = predictor.predict(prepared.pixels[np.newaxis])
    except ModelInvalid as error:  # after its warm-up: our fault, not the picture's
        raise EvenskinError(f"The model gave no usable answer: {error.message}") from error
    predicted = time.perf_counter()
    if seen is not None:
        seen(prepared.pixels, output)
    warnings = (
        *predictor.metadata.warnings,
        *picture_warnings(prepared, size, advice, frames_the_face=predictor.preprocessing.frames_the_face),
        *(given.message for given in advice),
    )
    # Put together in one call: each model on its own would be checked by itself, at half a millisecond an answer.
    return Prediction.model_validate(
        {
            "notice": NOTICE,
            "model_version": predictor.metadata.version,
            "preprocessing": predictor.preprocessing.value,
            "conditions": _conditions(predictor, output, heatmap, pictures.heatmap_max_side),
            "image": _picture_read(prepared),
            "face_search": (FaceSearch.OFF if pictures.detector is None else FaceSearch.ON).value,
            "face": judged_face(prepared),
            "frame": _frame_cut(prepared.frame),
            "advice": [given.model_dump(mode="json") for given in advice],
            "warnings": warnings,
            "timing_ms": {
                "decode": _milliseconds(read - started),
                "inference": _milliseconds(predicted - read),
                "total": _milliseconds(time.perf_counter() - arrived),
            },
        }
    )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _conditions(predictor: Predictor, output: Output, heatmap: Heatmap, heatmap_side: int) -> list[dict[str, Any]]:
    """What the model says of each condition. Decided by the figures as they are shown, so that none contradicts it."""
    told = []
    names, thresholds = predictor.metadata.conditions, predictor.metadata.thresholds
    for index, (condition, levels) in enumerate(zip(names, output.probabilities[0].tolist(), strict=True)):
        shown = [round(level, DIGITS) for level in levels]
        probability = round(1 - shown[0], DIGITS)
        present = probability >= thresholds[condition]
        band = predictor.metadata.abstention.get(condition)
        likeliest = max(range(1, len(LEVELS)), key=shown.__getitem__)
        found = {
            "condition": condition,
            "present": present,
            "probability": probability,
            "abstained": band is not None and band.low <= probability <= band.high,
            "severity": LEVELS[likeliest] if present else None,
            "severity_probabilities": dict(zip(LEVELS, shown, strict=True)),
        }
        if heatmap is not Heatmap.NONE:
            found["heatmap"] = heatmap_png(output.activation[0, index], heatmap, heatmap_side)
        told.append(found)
    return told


def _picture_read(prepared: Prepared) -> dict[str, Any]:
    decoded = prepared.decoded
    return {
        "width": decoded.width,
        "height": decoded.height,
        "format": decoded.format,
        "orientation": decoded.orientation,
        "crop": crop_of(prepared.frame),
    }


def _frame_cut(frame: Frame) -> dict[str, Any]:
    return {
        "found": frame.found,
        "width": frame.width,
        "height": frame.height,
        "turn": frame.turn,
        "square": dict(frame.square),  # every field, also what was left out
    }


def crop_of(frame: Frame) -> Crop:
    """What of a frame's square lies in the picture as displayed, the square's roll left out, in its pixels."""
    x, y = frame.square.x, frame.square.y
    width, height = frame.width, frame.height
    for _ in range(frame.turn // 90):  # each turns the picture back by a quarter, counter-clockwise
        (x, y), (width, height) = (y, width - x), (height, width)
    half = frame.square.side / 2
    left, top = max(0.0, x - half), max(0.0, y - half)
    return Crop(left=left, top=top, width=min(width, x + half) - left, height=min(height, y + half) - top)


def picture_warnings(
    prepared: Prepared, input_size: int, advice: tuple[Advice, ...], *, frames_the_face: bool
) -> list[str]:
    """Sentences on what makes the answer to this picture less certain, beside what `advice` tells."""
    found = []
    decoded = prepared.decoded
    shorter, longer = sorted((decoded.width, decoded.height))
    is_on_face = prepared.frame.face is not None
    if frames_the_face and prepared.faces is None:
        found.append("No face was looked for: the middle of the picture is judged, whatever it shows.")
    if is_on_face and prepared.frame.square.side < input_size:
        if all(given.code is not AdviceCode.FACE_TOO_SMALL for given in advice):
            found.append(
                f"Low resolution: the face's frame has {prepared.frame.square.side:.0f} pixels on a side and the model "
                f"looks at {input_size}; fine detail such as pores cannot be seen."
            )
    elif shorter < input_size:
        found.append(
            f"Low resolution: the picture's shorter side has {shorter} pixels and the model looks at {input_size}; "
            "fine detail such as pores cannot be seen."
        )
    if longer > ELONGATED_RATIO * shorter and not is_on_face:
        found.append(
            f"Long picture: only the square in the middle is looked at, {shorter} of {longer} pixels; "
            "check that the face is in it."
        )
    if PictureWarning.NO_END_MARKER in decoded.warnings:
        found.append("The file lacks its end marker (no_end_marker); the picture in it is whole.")
    return found
