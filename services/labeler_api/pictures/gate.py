"""The automatic review gate: is a generated picture fit to be a training image at all?

Readable, right size, sharp, neither black nor white; whether it is a near-duplicate is asked of the
ledger with the hashes that are made here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from services.labeler_api.pictures.perceptual_hash import Look, look
from shared.errors import ImageError
from shared.imaging import decode

MIN_SIDE = 256  # pixels: below, pores and fine lines cannot be seen
MAX_ASPECT = 2.0  # longer side by shorter side: beyond, it is not a portrait
SHARPNESS_SIDE = 256  # pixels of the shorter side at which sharpness is measured
LOOKED_AT_SIDE = 2 * SHARPNESS_SIDE  # pixels of the shorter side that are decoded: sharpness is measured on reductions
MIN_SHARPNESS = 6.0  # variance of the Laplacian on 0…255 grey; a portrait blurred beyond use has about 2
MIN_BRIGHTNESS, MAX_BRIGHTNESS = 14.0, 241.0  # mean grey; darkest skin on a dark ground stays above 20
MIN_CONTRAST = 8.0  # standard deviation of grey: below, the picture is one flat colour

_LEVELS = np.arange(256.0)  # of grey


@dataclass(frozen=True)
class GateReport:
    """What the gate found. `reasons` is empty where the picture passes."""

    reasons: tuple[str, ...]
    quality: dict[str, float] = field(default_factory=dict)
    look: Look | None = None
    width: int = 0
    height: int = 0


def examine(data: bytes) -> GateReport:
    """Examine the encoded picture. Never raises for a bad picture: that is a reason."""
    try:
        decoded = decode(data, min_side=LOOKED_AT_SIDE)
    except ImageError as error:
        return GateReport((f"unreadable: {error.message}",))
    reasons = []
    shorter, longer = sorted((decoded.width, decoded.height))
    if shorter < MIN_SIDE:
        reasons.append(f"too_small: {decoded.width}×{decoded.height}, the shorter side must have {MIN_SIDE} pixels")
    if longer / shorter > MAX_ASPECT:
        reasons.append("wrong_shape: too long for a portrait")
    grey = decoded.image.convert("L")
    quality = measure(grey)
    if quality["contrast"] < MIN_CONTRAST or not MIN_BRIGHTNESS <= quality["brightness"] <= MAX_BRIGHTNESS:
        reasons.append("flat: nearly black, white or one colour")
    elif quality["sharpness"] < MIN_SHARPNESS:
        reasons.append("blurred: skin detail cannot be seen")
    return GateReport(tuple(reasons), quality, look(grey), decoded.width, decoded.height)


def measure(image: Image.Image) -> dict[str, float]:
    """Brightness (mean grey, 0 to 255), contrast (its standard deviation) and sharpness.

    Sharpness is the variance of the Laplacian (Pech-Pacheco and others, ICPR 2000), measured at one size
    so that large pictures do not seem sharper; of a picture longer than a portrait, its middle is looked at.
    """
    side = min(image.size)
    width, height = (min(length, MAX_ASPECT * side) for length in image.size)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    size = (round(width * SHARPNESS_SIDE / side), round(height * SHARPNESS_SIDE / side))
    box = (left, top, left + width, top + height)
    grey = image.convert("L").resize(size, Image.Resampling.BOX, box)
    shares = np.array(grey.histogram()) / (grey.width * grey.height)
    brightness = shares @ _LEVELS
    values = np.asarray(grey).astype(np.int16)
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1]
    laplacian += values[1:-1, :-2]
    laplacian += values[1:-1, 2:]
    laplacian -= 4 * values[1:-1, 1:-1]
    edges = laplacian.astype(np.float32).ravel()
    return {
        "brightness": round(float(brightness), 2),
        "contrast": round(float(np.sqrt(shares @ (_LEVELS - brightness) ** 2)), 2),
        "sharpness": round(float(edges @ edges / edges.size - laplacian.mean() ** 2), 2),
    }
