"""`POST /v1/predictions`: what the model sees in a picture."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.documents.base import Document, SeverityName, Share
from shared.taxonomy import Condition


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
    severity: SeverityName | None = Field(description="The likeliest severity where present, else null.")
    severity_probabilities: SeverityProbabilities
    heatmap: str | None = Field(
        default=None,
        description="Only with `heatmap=1`: base64 of a small 8-bit greyscale PNG that covers `image.crop`. White is "
        "where this condition's evidence is strongest in this picture, black where it is weakest: each map has a scale "
        "of its own, so it says where to look, not how much there is.",
    )


class Crop(Document):
    """The square the model looks at, in pixels of the upright picture from its upper left corner."""

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


class Timing(Document):
    """How long it took, in milliseconds."""

    decode: float = Field(ge=0, description="Reading the picture and cutting the square.")
    inference: float = Field(ge=0)
    total: float = Field(ge=0, description="From the request's arrival to the answer: upload and waiting are in it.")


class Prediction(Document):
    """The answer about one picture."""

    model_version: str
    conditions: tuple[ConditionPrediction, ...] = Field(min_length=7, max_length=7)
    image: PictureRead
    warnings: tuple[str, ...] = Field(description="What a reader of this answer must know, in sentences.")
    timing_ms: Timing
