"""Is a picture a portrait that skin can be judged on? What is measured, and what to advise.

Names and definitions follow ISO/IEC 29794-5, as its open reference OFIQ (BSI) computes them, where one fits; each
measure tells where it differs. The limits are ours: a passport's are for recognising who it is, these for seeing skin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from shared.frames import RISE, Face, Square, frame_of
from shared.squares import cut
from shared.taxonomy import MONK_SRGB

# Drawn: 500 drawn faces of every tone, light and view. The photographs are two portraits of public domain.
MAX_OTHER_FACE = 0.3  # size of the second face by the largest's: smaller, it is somebody in the background
MIN_EYE_DISTANCE = 60.0  # pixels: the frame has 200 then, about what a model looks at; drawn at 512: 122 and more
MIN_SIDE_MARGIN = 0.45  # eye distances; drawn: 0.65 and more, cut at an eye 0.33 and less
MIN_MARGIN_ABOVE = 0.6  # distances from eyes to mouth; drawn: 0.86 and more, cut at the brow 0.43 and less
MIN_MARGIN_BELOW = 0.5  # the same; drawn: 0.56 and more, cut below the mouth 0.44 and less
MAX_YAW = 0.35  # eye distances; drawn, turned by up to 26 degrees: 0.30 and less
MIN_SHARPNESS = 0.05  # drawn: 0.15 and more, photographs 0.19; blurred by 2% of the face's size 0.022 and less
MIN_BRIGHTEST = 80.0  # of 255; drawn: 91 and more in every tone, at a third of their light 69 and less
MAX_OVER_EXPOSED = 0.2  # share; drawn: 0, photographs 0.001
MAX_WHITE = 0.5  # the same of a picture without a face, which may have a white ground
MAX_TONE_DISTANCE = 25.0  # of L*: three or four steps of the scale's darker half; drawn: within it but for 0.2%

_SIDE = 160  # pixels of the square that light and sharpness are measured on, so that large pictures do not seem sharper
_FACE = 0.92  # of the box's axes: the ellipse of the face without hair and ground
_DARK, _BRIGHT = 25, 247  # grey up to which, and from which, a pixel counts as under- and over-exposed (OFIQ's ranges)
_LEAST_VARIANCE = 25.0  # of grey: below, a face is flat, and its noise would look sharp
_CHEEK = 0.16  # radius of what is looked at of a cheek, in eye distances
_LIGHTEST = 72.0  # L* that light skin is exposed to in a photograph; the lightest swatches are nearly white

Greys = npt.NDArray[np.float64]
Share = Annotated[float, Field(ge=0, le=1)]


class AdviceCode(StrEnum):
    """What makes a picture unfit, or less fit."""

    NO_FACE = "no_face"
    MULTIPLE_FACES = "multiple_faces"
    FACE_TOO_SMALL = "face_too_small"
    FACE_CUT = "face_cut"
    FACE_TURNED = "face_turned"
    TOO_BLURRY = "too_blurry"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Advice(_Model):
    """One thing that is wrong with a portrait."""

    code: AdviceCode
    """What is wrong."""
    measure: str
    """The measure that says so, a field of `Portrait`."""
    value: float
    """What was measured."""
    limit: float
    """The least or the most that is right."""
    message: str
    """What is wrong and what to do, in one sentence."""


class Portrait(_Model):
    """What is measured of a picture. Without a face that has its eyes in it, its light is measured as a whole."""

    faces: Annotated[int, Field(ge=0, json_schema_extra={"x-unit": "faces"})]
    """Faces that were found."""
    has_eyes: bool = False
    """Whether a face has both eyes in the picture; what follows is of the largest that has."""
    single_face_present: Share | None = None
    """Size of the second largest face by the largest's, 0 without a second. SingleFacePresent's native value."""
    inter_eye_distance: Annotated[float, Field(ge=0, json_schema_extra={"x-unit": "pixels"})] | None = None
    """Distance between the eyes, without InterEyeDistance's correction for yaw."""
    head_pose_yaw: float | None = None
    """`Face.yaw`, in eye distances where HeadPoseYaw is in degrees: five points do not give an angle."""
    head_pose_roll: Annotated[float, Field(json_schema_extra={"x-unit": "degrees"})] | None = None
    """Roll of the line through the eyes, as HeadPoseRoll. The frame mends it: there is no limit."""
    side_margin: float | None = None
    """From an eye to the nearest side edge in eye distances: the lesser of LeftwardCropOfTheFaceImage and
    RightwardCropOfTheFaceImage."""
    margin_above: float | None = None
    """From the eyes to the upper edge, by the distance from eyes to mouth (MarginAboveOfTheFaceImage divides by that to
    the chin, which five points do not have)."""
    margin_below: float | None = None
    """From the mouth to the lower edge, by the distance from eyes to mouth (cf. MarginBelowOfTheFaceImage)."""
    sharpness: float | None = None
    """Variance of the Laplacian of the face's grey by the variance of the grey, which light and skin tone do not change
    (Pech-Pacheco and others, ICPR 2000; OFIQ's Sharpness asks a random forest about filters of this kind)."""
    brightest: Annotated[float, Field(ge=0, le=255)] | None = None
    """Grey that 1% of the face is brighter than: eyes, teeth and gloss. Unlike UnderExposurePrevention and
    LuminanceMean it does not take dark skin for little light."""
    under_exposed: Share | None = None
    """Share of the face with a grey up to 25, UnderExposurePrevention's native value."""
    over_exposed: Share | None = None
    """Share of the face with a grey from 247, OverExposurePrevention's native value."""
    skin_lightness: Annotated[float, Field(ge=0, le=100)] | None = None
    """CIE L* of the better lit cheek, the median of its pixels."""


def measure(image: Image.Image, faces: tuple[Face, ...], face: Face | None) -> Portrait:
    """Measure a portrait.

    `image`: upright, RGB, perhaps smaller than the picture. `faces`: all that were found, largest first, and `face` the
    one that is framed, in pixels of `image`; None where none has its eyes in the picture.
    """
    if face is None:
        whole = np.asarray(image.convert("L").reduce(max(1, min(image.size) // _SIDE)))
        return Portrait(faces=len(faces), **_light(whole))
    (left, left_y), (right, right_y), _, *mouth = face.points
    eyes_y, mouth_y = (left_y + right_y) / 2, (mouth[0][1] + mouth[1][1]) / 2
    to_mouth = math.dist(((left + right) / 2, eyes_y), ((mouth[0][0] + mouth[1][0]) / 2, mouth_y)) or 1.0
    distance = face.eye_distance or 1.0
    others = [other.size for other in faces if other is not face]
    square = frame_of(face, *image.size).square
    pixels = np.asarray(cut(image, square, _SIDE))
    return Portrait(
        faces=len(faces),
        has_eyes=True,
        single_face_present=round(min(1.0, max(others, default=0.0) / face.size), 3),
        inter_eye_distance=round(face.eye_distance, 1),
        head_pose_yaw=round(face.yaw, 3),
        head_pose_roll=round(face.roll, 1),
        side_margin=round(min(left, image.width - right) / distance, 2),
        margin_above=round(eyes_y / to_mouth, 2),
        margin_below=round((image.height - mouth_y) / to_mouth, 2),
        skin_lightness=round(_skin_lightness(pixels, face, square), 1),
        **_light_and_sharpness(pixels, face, square),
    )


def measure_whole(image: Image.Image, scale: float, faces: tuple[Face, ...], face: Face | None) -> Portrait:
    """Measure a portrait whose picture was decoded smaller: `image` has `scale` pixels for one of the whole, a side.

    `faces` and `face` are in pixels of the whole picture, and so is the distance between the eyes.
    """
    seen = {id(found): found.scaled(scale) for found in faces}
    if face is None:
        return measure(image, tuple(seen.values()), None)
    measured = measure(image, tuple(seen.values()), seen[id(face)])
    return measured.model_copy(update={"inter_eye_distance": round(face.eye_distance, 1)})


def advise(portrait: Portrait, limits: Mapping[str, float] = MappingProxyType({})) -> tuple[Advice, ...]:
    """What is wrong with a portrait, in the order of the codes; nothing where it is fit.

    `limits`: other limits than this module's, above 0, by the names of their measures.
    """
    if portrait.faces == 0:
        no_face = _advice(AdviceCode.NO_FACE, "faces", 0, 1, "No face was found; send a picture of one face.")
        light = (_too_little(portrait, *_TOO_DARK), _too_much(portrait, *_TOO_WHITE))
        return (no_face, *filter(None, light))
    if not portrait.has_eyes:
        sentence = "The face is cut off: its eyes are not in the picture; move it to the middle."
        return (_advice(AdviceCode.FACE_CUT, "has_eyes", 0, 1, sentence),)
    found = [
        judge(portrait, code, name, limits.get(name, limit), sentence)
        for judge, rows in ((_too_much, _MOST), (_too_little, _LEAST))
        for code, name, limit, sentence in rows
    ]
    worst: dict[AdviceCode, Advice] = {}
    for advice in filter(None, found):
        known = worst.get(advice.code)
        if known is None or advice.value / advice.limit < known.value / known.limit:  # a face may be cut at two edges
            worst[advice.code] = advice
    return tuple(worst[code] for code in AdviceCode if code in worst)


def skin_tone_distance(portrait: Portrait, tone: int) -> float | None:
    """How much lighter (or, negative, darker) the skin is than the tone of the Monk scale, in L*; None without a face.

    Light alone moves it: on 499 drawn faces of the asked tone it is between −19 and 27 (see MAX_TONE_DISTANCE).
    """
    if portrait.skin_lightness is None:
        return None
    return portrait.skin_lightness - min(_LIGHTEST, _lightness(np.array(MONK_SRGB[tone], np.float64)))


_MOST = (
    (
        AdviceCode.MULTIPLE_FACES,
        "single_face_present",
        MAX_OTHER_FACE,
        "Another face is {value:.0%} as large as the largest, and at most {limit:.0%} is right; "
        "send a picture of one face.",
    ),
    (
        AdviceCode.FACE_TURNED,
        "head_pose_yaw",
        MAX_YAW,
        "The face is turned to the side by {value:.2f} eye distances, and at most {limit:.2f} is right; "
        "look into the camera.",
    ),
    (
        AdviceCode.TOO_BRIGHT,
        "over_exposed",
        MAX_OVER_EXPOSED,
        "{value:.0%} of the face is white for too much light, and at most {limit:.0%} is right; use less light.",
    ),
)
_TOO_WHITE = (
    AdviceCode.TOO_BRIGHT,
    "over_exposed",
    MAX_WHITE,
    "{value:.0%} of the picture is white, and at most {limit:.0%} is right; use less light.",
)
_TOO_DARK = (
    AdviceCode.TOO_DARK,
    "brightest",
    MIN_BRIGHTEST,
    "It is too dark: the brightest parts have {value:.0f} of 255, and at least {limit:.0f} is right; use more light.",
)
_LEAST = (
    (
        AdviceCode.FACE_TOO_SMALL,
        "inter_eye_distance",
        MIN_EYE_DISTANCE,
        "The eyes are {value:.0f} pixels apart, and at least {limit:.0f} show skin; "
        "come nearer or send a larger picture.",
    ),
    (
        AdviceCode.FACE_CUT,
        "side_margin",
        MIN_SIDE_MARGIN,
        "The face is cut off at the side: an eye is {value:.2f} eye distances from it, and at least {limit:.2f} is "
        "right; move the face to the middle.",
    ),
    (
        AdviceCode.FACE_CUT,
        "margin_above",
        MIN_MARGIN_ABOVE,
        "The forehead is cut off: {value:.2f} of the distance from eyes to mouth is above the eyes, and at least "
        "{limit:.2f} is right; move the face to the middle.",
    ),
    (
        AdviceCode.FACE_CUT,
        "margin_below",
        MIN_MARGIN_BELOW,
        "The chin is cut off: {value:.2f} of the distance from eyes to mouth is below the mouth, and at least "
        "{limit:.2f} is right; move the face to the middle.",
    ),
    (
        AdviceCode.TOO_BLURRY,
        "sharpness",
        MIN_SHARPNESS,
        "The face is blurred: its sharpness is {value:.3f}, and at least {limit:.2f} shows skin; "
        "hold still and focus on the face.",
    ),
    _TOO_DARK,
)


def _too_much(portrait: Portrait, code: AdviceCode, name: str, limit: float, sentence: str) -> Advice | None:
    value = abs(float(getattr(portrait, name)))
    return _advice(code, name, value, limit, sentence) if value > limit else None


def _too_little(portrait: Portrait, code: AdviceCode, name: str, limit: float, sentence: str) -> Advice | None:
    value = float(getattr(portrait, name))
    return _advice(code, name, value, limit, sentence) if value < limit else None


def _advice(code: AdviceCode, name: str, value: float, limit: float, sentence: str) -> Advice:
    message = sentence.format(value=value, limit=limit)
    return Advice(code=code, measure=name, value=value, limit=limit, message=message)


def _light_and_sharpness(pixels: npt.NDArray[np.uint8], face: Face, square: Square) -> dict[str, float]:
    """The measures of a face's grey, in the cut along its frame."""
    grey: Greys = np.asarray(Image.fromarray(pixels).convert("L")).astype(np.float64)
    scale = _SIDE / square.side
    across, down = face.width * scale / 2 * _FACE, face.height * scale / 2 * _FACE
    rows, columns = (axis + 0.5 for axis in np.ogrid[:_SIDE, :_SIDE])
    middle = _SIDE / 2
    inside = ((columns - middle) / across) ** 2 + ((rows - middle - RISE * face.size * scale) / down) ** 2 <= 1
    values = grey[inside]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    edges = laplacian[inside[1:-1, 1:-1]]
    return {
        "sharpness": round(float(edges.var() / max(values.var(), _LEAST_VARIANCE)), 4),
        **_light(values),
    }


def _light(values: npt.NDArray[Any]) -> dict[str, float]:
    """The measures of light, of grey values in any order."""
    return {
        "brightest": round(float(np.percentile(values, 99)), 1),
        "under_exposed": round(float((values <= _DARK).mean()), 3),
        "over_exposed": round(float((values >= _BRIGHT).mean()), 3),
    }


def _skin_lightness(pixels: npt.NDArray[np.uint8], face: Face, square: Square) -> float:
    """L* of the better lit cheek, between eye and corner of the mouth, in the cut along the face's frame."""
    turned = math.radians(square.roll)
    turn = np.array([[math.cos(turned), -math.sin(turned)], [math.sin(turned), math.cos(turned)]])
    scale = _SIDE / square.side
    places = (np.array(face.points) - (square.x, square.y)) @ turn * scale + _SIDE / 2
    rows, columns = (axis + 0.5 for axis in np.ogrid[:_SIDE, :_SIDE])
    radius = max(_CHEEK * face.eye_distance * scale, 2.0)
    found = [0.0]
    for eye, corner in ((0, 3), (1, 4)):
        x, y = places[eye][0], (0.45 * places[eye] + 0.55 * places[corner])[1]
        cheek = pixels[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2]
        if len(cheek):
            found.append(_lightness(np.median(cheek, axis=0)))
    return max(found)


def _lightness(srgb: npt.NDArray[np.float64]) -> float:
    """CIE L*, 0 to 100, of an sRGB colour of 0 to 255 (IEC 61966-2-1; CIE 15)."""
    share = srgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return 116 * luminance ** (1 / 3) - 16 if luminance > 216 / 24389 else luminance * 24389 / 27
