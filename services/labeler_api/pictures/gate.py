"""The automatic review gate: is a generated picture fit to be a training image at all?

Readable, right size, sharp, neither black nor white; one face, large, whole and frontal enough, of the tone that was
asked for. Whether it is a near-duplicate is asked of the ledger with the hashes that are made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from PIL import Image

from services.labeler_api.pictures.perceptual_hash import Look, look
from shared.errors import ImageError
from shared.faces import FaceDetector
from shared.frames import Frame
from shared.framing import find_frame
from shared.imaging import decode
from shared.portraits import AdviceCode, Portrait, advise, measure_whole, skin_tone_distance

MIN_SIDE = 256  # pixels: below, pores and fine lines cannot be seen
MAX_ASPECT = 2.0  # longer side by shorter side: beyond, it is not a portrait
SHARPNESS_SIDE = 256  # pixels of the shorter side at which sharpness is measured
LOOKED_AT_SIDE = 2 * SHARPNESS_SIDE  # pixels of the shorter side that are decoded: sharpness is measured on reductions
MIN_SHARPNESS = 6.0  # variance of the Laplacian on 0…255 grey; a portrait blurred beyond use has about 2
MIN_BRIGHTNESS, MAX_BRIGHTNESS = 14.0, 241.0  # mean grey; darkest skin on a dark ground stays above 20
MIN_CONTRAST = 8.0  # standard deviation of grey: below, the picture is one flat colour

FACE_REASONS = (
    AdviceCode.NO_FACE,
    AdviceCode.MULTIPLE_FACES,
    AdviceCode.FACE_TOO_SMALL,
    AdviceCode.FACE_CUT,
    AdviceCode.FACE_TURNED,
)
"""The advice that refuses a generated picture; the gate measures light and sharpness in its own way."""
WRONG_SKIN_TONE = "wrong_skin_tone"
KEPT_MEASURES = ("inter_eye_distance", "head_pose_yaw", "skin_lightness")  # of a portrait, for whoever reviews it

_LEVELS = np.arange(256.0)  # of grey


@dataclass(frozen=True)
class GateReport:
    """What the gate found. `reasons` is empty where the picture passes."""

    reasons: tuple[str, ...]
    quality: dict[str, float] = field(default_factory=dict)
    look: Look | None = None
    width: int = 0
    height: int = 0
    frame: Frame | None = None
    portrait: Portrait | None = None


def examine(
    data: bytes, detector: FaceDetector | None = None, limits: Mapping[str, float] = MappingProxyType({})
) -> GateReport:
    """Examine the encoded picture of a portrait. Never raises for a bad picture: that is a reason.

    `detector`: None where no face is looked for, nor missed. `limits`: as for `shared.portraits.advise`.
    """
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
    framed = find_frame(decoded, detector, may_lie=False, coarsely=True)
    portrait = None
    if framed.faces is not None:
        portrait = measure_whole(framed.upright, decoded.scale, framed.faces, framed.face)
        found = (advice for advice in advise(portrait, limits) if advice.code in FACE_REASONS)
        reasons += [f"{advice.code}: {_first_clause(advice.message)}" for advice in found]
        quality |= {name: value for name in KEPT_MEASURES if (value := getattr(portrait, name)) is not None}
    return GateReport(tuple(reasons), quality, look(grey), decoded.width, decoded.height, framed.frame, portrait)


def tone_reason(report: GateReport, asked: int, reach: float) -> str | None:
    """Why a picture's skin is not that of the asked step of the Monk scale; None where it is, or nobody looked.

    `reach`: how much lighter or darker it may be, in L*.
    """
    distance = None if report.portrait is None else skin_tone_distance(report.portrait, asked)
    if distance is None or abs(distance) <= reach:
        return None
    word = "lighter" if distance > 0 else "darker"
    return (
        f"{WRONG_SKIN_TONE}: the skin is {abs(distance):.0f} L* {word} than tone {asked} of the Monk scale, "
        f"and at most {reach:.0f} is right"
    )


def _first_clause(message: str) -> str:
    """What is wrong, without what a person is to do."""
    clause = message.partition(";")[0]
    return clause[:1].lower() + clause[1:]


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
