"""Answers a selfie: decodes it, predicts, and composes the answer. Runs on a worker's thread; keeps nothing."""

from __future__ import annotations

import base64
import io
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.model_server.predictor import LEVELS, Predictor
from services.model_server.predictor import Prediction as Output
from shared.documents.predictions import (
    ConditionPrediction,
    Crop,
    PictureRead,
    Prediction,
    SeverityProbabilities,
    Timing,
)
from shared.errors import EvenskinError, ModelInvalid
from shared.imaging import Decoded, PictureWarning, decode, needed_side, square

DIGITS = 6  # decimals of a probability: finer than the parity of 1e-4 that the trainer proves
ELONGATED_RATIO = 1.8  # ratio of sides from which the square crop leaves out too much of the frame; 16:9 is still usual


@dataclass(frozen=True)
class Limits:
    """The largest picture that is read, in bytes and pixels, and the longest side of a heatmap, in pixels."""

    max_bytes: int
    max_pixels: int
    heatmap_max_side: int


def answer_picture(predictor: Predictor, data: bytes, *, limits: Limits, heatmap: bool, arrived: float) -> Prediction:
    """Decode an encoded picture, predict, and put the answer together.

    `arrived`: `time.perf_counter()` at the request's arrival. Raises the ImageErrors of `shared.imaging.decode`.
    """
    started = time.perf_counter()
    size = predictor.metadata.input_size
    decoded = decode(data, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, min_side=needed_side(size))
    batch = square(decoded.image, size)[np.newaxis]
    read = time.perf_counter()
    try:
        output = predictor.predict(batch)
    except ModelInvalid as error:  # after its warm-up: our fault, not the picture's
        raise EvenskinError(f"The model gave no usable answer: {error.message}") from error
    predicted = time.perf_counter()
    conditions = (
        _condition(predictor, output, index, limits.heatmap_max_side if heatmap else None)
        for index in range(len(predictor.metadata.conditions))
    )
    return Prediction(
        model_version=predictor.metadata.version,
        conditions=tuple(conditions),
        image=PictureRead.model_validate(
            {
                "width": decoded.width,
                "height": decoded.height,
                "format": decoded.format,
                "orientation": decoded.orientation,
                "crop": crop_of(decoded.width, decoded.height),
            }
        ),
        warnings=(*predictor.metadata.warnings, *picture_warnings(decoded, size)),
        timing_ms=Timing(
            decode=_milliseconds(read - started),
            inference=_milliseconds(predicted - read),
            total=_milliseconds(time.perf_counter() - arrived),
        ),
    )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _condition(predictor: Predictor, output: Output, index: int, heatmap_side: int | None) -> ConditionPrediction:
    condition = predictor.metadata.conditions[index]
    levels = output.probabilities[0, index].astype(float)
    probability = float(np.clip(1 - levels[0], 0, 1))
    present = probability >= predictor.metadata.thresholds[condition]
    rounded = {name: round(float(level), DIGITS) for name, level in zip(LEVELS, levels, strict=True)}
    found = {
        "condition": condition,
        "present": present,
        "probability": round(probability, DIGITS),
        "severity": LEVELS[1 + int(levels[1:].argmax())] if present else None,
        "severity_probabilities": SeverityProbabilities(**rounded),
    }
    if heatmap_side is not None:
        found["heatmap"] = heatmap_png(output.activation[0, index], heatmap_side)
    return ConditionPrediction.model_validate(found)


def crop_of(width: int, height: int) -> Crop:
    """The square that `shared.imaging.square` cuts from the middle, in pixels of the upright picture."""
    side = min(width, height)
    return Crop(left=(width - side) / 2, top=(height - side) / 2, width=side, height=side)


def picture_warnings(decoded: Decoded, input_size: int) -> list[str]:
    """Sentences on what makes the answer to this picture less certain."""
    found = []
    shorter, longer = sorted((decoded.width, decoded.height))
    if shorter < input_size:
        found.append(
            f"Low resolution: the picture's shorter side has {shorter} pixels and the model looks at {input_size}; "
            "fine detail such as pores cannot be seen."
        )
    if longer > ELONGATED_RATIO * shorter:
        found.append(
            f"Long picture: only the square in the middle is looked at, {shorter} of {longer} pixels; "
            "check that the face is in it."
        )
    if PictureWarning.NO_END_MARKER in decoded.warnings:
        found.append("The file lacks its end marker (no_end_marker); the picture in it is whole.")
    return found


def heatmap_png(activation: npt.NDArray[np.float32], max_side: int) -> str:
    """One activation map (h, w) as base64 of a greyscale PNG, stretched from its least (0) to its greatest (255).

    A constant map points nowhere and becomes black.
    """
    values = activation.astype(np.float64)
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low) if high - low > np.finfo(np.float32).eps else np.zeros_like(values)
    picture = Image.fromarray(np.round(scaled * 255).astype(np.uint8))
    picture.thumbnail((max_side, max_side), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
