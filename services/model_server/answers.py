"""The JSON that the model-server answers with. `openapi.py` takes its schemas from these models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.model_card import ModelMetadata
from shared.taxonomy import Condition

Probability = Annotated[float, Field(ge=0, le=1)]
SeverityName = Literal["mild", "moderate", "severe"]


class Answer(BaseModel):
    """Base of all answers: frozen, and nothing in them that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class SeverityProbabilities(Answer):
    """How the model spreads its belief over the four levels; they sum to 1."""

    absent: Probability
    mild: Probability
    moderate: Probability
    severe: Probability


class ConditionAnswer(Answer):
    """One condition of the seven."""

    condition: Condition
    present: bool = Field(description="Whether `probability` reaches the model's threshold for this condition.")
    probability: Probability = Field(description="That the condition shows at all: 1 - P(absent).")
    severity: SeverityName | None = Field(description="The likeliest severity where present, else null.")
    severity_probabilities: SeverityProbabilities
    heatmap: str | None = Field(
        default=None,
        description="Only with `heatmap=1`: base64 of a small 8-bit greyscale PNG that covers `image.crop`. White is "
        "where this condition's evidence is strongest in this picture, black where it is weakest: each map has a scale "
        "of its own, so it says where to look, not how much there is.",
    )


class Crop(Answer):
    """The square the model looks at, in pixels of the upright picture from its upper left corner."""

    left: float
    top: float
    width: float
    height: float


class ImageAnswer(Answer):
    """The picture as it was read. Width and height in pixels, as displayed."""

    width: int
    height: int
    format: Literal["JPEG", "PNG", "WEBP", "HEIF"]
    orientation: int = Field(ge=1, le=8, description="EXIF orientation it was stored in; already applied.")
    crop: Crop


class Timing(Answer):
    """Milliseconds. `total` is from the request's arrival to the answer: upload and waiting are in it."""

    decode: float
    inference: float
    total: float


class PredictionAnswer(Answer):
    """`POST /v1/predictions`."""

    model_version: str
    conditions: list[ConditionAnswer] = Field(min_length=7, max_length=7)
    image: ImageAnswer
    warnings: list[str] = Field(description="What a reader of this answer must know, in sentences.")
    timing_ms: Timing


class CardSummary(Answer):
    """What the model's card says beyond its metadata."""

    created_at: datetime
    run_id: str
    intended_use: str
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None
    parity: dict[str, float]


class ModelAnswer(Answer):
    """`GET /v1/model`: the model in service. `card` is null where the store has none."""

    version: str
    sha256: str
    promoted_at: datetime
    reason: str
    loaded_at: datetime
    metadata: ModelMetadata
    card: CardSummary | None
