"""`POST /v1/predictions`: what the model sees in a picture, and of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.documents.base import Document, SeverityName, Share
from shared.documents.problems import Problem
from shared.frames import Face, Square, Turn
from shared.taxonomy import Condition

AdviceName = Literal[
    "no_face",
    "multiple_faces",
    "face_too_small",
    "face_cut",
    "face_turned",
    "too_blurry",
    "too_dark",
    "too_bright",
]
"""The codes of `shared.portraits.AdviceCode`, without what measuring needs."""


class SeverityProbabilities(Document):
    """How the model spreads its belief over the four levels; they sum to 1."""

    absent: Share
    mild: Share
    moderate: Share
    severe: Share


class ConditionPrediction(Document):
    """What the model says of one condition of the seven."""

    condition: Condition
    present: bool = Field(description="Whether `probability` reaches the model's threshold for this condition.")
    probability: Share = Field(description="That the condition shows at all: 1 - P(absent).")
    abstained: bool = Field(
        default=False,
        description="Whether `probability` lies in the model's band of abstention for this condition, where `present` "
        "is little better than a guess. Always so of a condition that the model was never shown.",
    )
    severity: SeverityName | None = Field(
        description="Where present, the likeliest of the three given presence, by `severity_probabilities`; else null."
    )
    severity_probabilities: SeverityProbabilities
    heatmap: str | None = Field(
        default=None,
        description="Base64 of a PNG that covers `frame.square`: lay it on the upright picture with its centre at x "
        "and y, its sides of `side`, turned clockwise by `roll`. With `heatmap=1` or `grid` it is small, 8-bit "
        "greyscale: white is where this condition's evidence is strongest in this picture, black where it is weakest. "
        "With `overlay` it is the same, coloured from blue to yellow and clear where evidence is weak, to be laid over "
        "as it is. Each map has a scale of its own, so it says where to look, not how much there is.",
    )


class FrameCut(Document):
    """The square that the model looks at, in pixels of the upright picture."""

    found: bool | None = Field(
        description="Whether there is a face with its eyes in the picture; null where nobody looked. The model's "
        "preprocessing frames it; without one, or with an older model, the square is the picture's middle."
    )
    width: int = Field(ge=1, description="Width of the upright picture, in pixels.")
    height: int = Field(ge=1, description="Height of the upright picture, in pixels.")
    turn: Turn = Field(
        description="Degrees clockwise that the picture as displayed is turned by, to be upright: more than 0 only "
        "where EXIF is silent and the face lies."
    )
    square: Square = Field(description="It may leave the picture, which is then mirrored at its edge.")


class Crop(Document):
    """For older clients: what of the frame lies in the picture as displayed, in its pixels, without the frame's roll.

    Left and top are measured from its upper left corner.
    """

    left: float = Field(ge=0)
    top: float = Field(ge=0)
    width: float = Field(gt=0)
    height: float = Field(gt=0)


class PictureRead(Document):
    """The picture as it was read."""

    width: int = Field(ge=1, description="Pixels, as displayed.")
    height: int = Field(ge=1, description="Pixels, as displayed.")
    format: Literal["JPEG", "PNG", "WEBP", "HEIF", "AVIF"]
    orientation: int = Field(ge=1, le=8, description="EXIF orientation it was stored in; already applied.")
    crop: Crop


class PictureAdvice(Document):
    """One thing that is wrong with a picture as a portrait."""

    code: AdviceName
    measure: str = Field(description="The measure that says so; docs/pictures.md has all.")
    value: float = Field(description="What was measured.")
    limit: float = Field(description="The least or the most that is right.")
    message: str = Field(description="What is wrong and what to do, in one sentence.")


class Timing(Document):
    """How long it took, in milliseconds."""

    decode: float = Field(ge=0, description="Reading the picture, finding the face and cutting the square.")
    inference: float = Field(ge=0)
    total: float = Field(ge=0, description="From the request's arrival to the answer: upload and waiting are in it.")


NOTICE = "No diagnosis: this describes what a picture shows; have a doctor look at what worries you."

BATCH_PICTURES = 32
"""Most pictures of one batch."""


class Prediction(Document):
    """The answer about one picture."""

    notice: str = Field(description="That the answer is no diagnosis, in a sentence to be shown with it.")
    model_version: str
    preprocessing: str = Field(description="Version of what makes the model's square out of a picture.")
    conditions: tuple[ConditionPrediction, ...] = Field(min_length=7, max_length=7)
    image: PictureRead
    face_search: Literal["on", "off"] = Field(description="`off`: this server looks for no face (EVENSKIN_FACES).")
    face: Face | None = Field(
        description="The face that is judged, the largest one with its eyes in the picture, in pixels of the upright "
        "picture; null without one."
    )
    frame: FrameCut
    advice: tuple[PictureAdvice, ...] = Field(
        description="What is wrong with the picture as a portrait, measured; empty with EVENSKIN_FACE_POLICY=off."
    )
    warnings: tuple[str, ...] = Field(
        description="What a reader of this answer must know, in sentences; those of `advice` are among them."
    )
    timing_ms: Timing


class PortraitProblem(Problem):
    """A problem with a picture; one that is refused as a portrait says what was measured."""

    reasons: tuple[PictureAdvice, ...] | None = Field(
        default=None, description="All that is wrong with it as a portrait; `code` is the first one's."
    )
    portrait: dict[str, float | bool | None] | None = Field(
        default=None, description="Every measure by its name, with null where it does not apply."
    )


class PictureAnswer(Document):
    """What is said of one picture of a batch: the one or the other."""

    prediction: Prediction | None = Field(default=None, description="The answer; left out of a refused picture.")
    problem: PortraitProblem | None = Field(
        default=None, description="Why the picture is refused, as by itself; left out of one that is answered."
    )


class PredictionBatch(Document):
    """The answers about the pictures of a batch, in the order in which they were sent, all by one model."""

    model_version: str
    pictures: tuple[PictureAnswer, ...] = Field(min_length=1, max_length=BATCH_PICTURES)
