"""What a model says about itself: the metadata inside the ONNX file, the card beside it, the live pointer.

Graph contract: input `image` uint8 (N, S, S, 3), RGB as `shared.preprocessing.prepare` gives it; outputs
`severity_probabilities` float32 (N, 7, 4), for each condition absent, mild, moderate, severe, summing
to 1; and `activation` float32 (N, 7, h, w), where in the picture the evidence for presence lies.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.dataset_summary import DatasetSummary
from shared.errors import InvalidRequest
from shared.taxonomy import Condition

METADATA_KEY = "evenskin"
INPUT_NAME = "image"
MODEL_FILES = {
    "model.onnx": "application/octet-stream",
    "model-fp32.onnx": "application/octet-stream",
    "card.json": "application/json",
    "evaluation.json": "application/json",
}
"""Names and media types of what a version may have. Every version has a card, also one whose model was removed."""
OUTPUT_NAMES = ("severity_probabilities", "activation")
MODELS = "models/"  # beginning of the keys of all versions
LIVE_KEY = "models/live.json"
SYNTHETIC_WARNING = (
    "This model was trained on procedurally drawn stand-in faces. It shows that the loop works; it is not for people."
)


class Calibration(BaseModel):
    """How the graph turns one condition's score into logits of its severities; it is in the graph already."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    slope: float = Field(gt=0, description="Factor of the uncalibrated logits.")
    shifts: tuple[float, ...] = Field(description="Added then, for severity at least 1, 2 and 3.")


class AbstentionBand(BaseModel):
    """Probabilities of a condition, both ends included, at which its answer is as good as a guess."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    low: float = Field(ge=0, le=1, description="The lowest probability of the band.")
    high: float = Field(ge=0, le=1, description="The highest.")


class BackboneUsed(BaseModel):
    """The pretrained network that a model sees through. Its weights are part of the model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    licence: str = Field(description="SPDX identifier of its weights' licence.")
    source: str = Field(description="The package, its version, and the file in it.")
    trained_on: str = Field(description="What it had learnt from before.")
    sha256: str = Field(description="SHA-256 of the file with its weights, in hexadecimal.")


class DetectorUsed(BaseModel):
    """The face detector that frames a model's pictures. It is no part of the model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    licence: str = Field(description="SPDX identifier of its licence.")
    source: str = Field(description="The package, its version, and the file in it.")
    sha256: str = Field(description="SHA-256 of its file, in hexadecimal.")


class ModelMetadata(BaseModel):
    """JSON under METADATA_KEY in the ONNX file's metadata: all that is needed to serve it."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    version: str
    input_size: int = Field(description="Pixels of the square that it looks at, on a side.")
    conditions: tuple[Condition, ...] = Field(description="In the order of its outputs.")
    severities: tuple[str, ...] = Field(description="The four levels, absent first, in the order of its outputs.")
    thresholds: dict[Condition, float] = Field(
        description="A condition is present where 1 - P(absent), from 0 to 1, reaches its threshold."
    )
    abstention: dict[Condition, AbstentionBand] = Field(
        default={},
        description="Bands in which the model abstains, chosen on the validation fold; 0 to 1 for a condition of which "
        "its training had no image, or none without. A condition that is not named is always answered.",
    )
    calibration: dict[Condition, Calibration] = Field(
        default={},
        description="How its probabilities were calibrated on the validation fold, in which they are shares of "
        "pictures; empty: they are not calibrated.",
    )
    backbone: BackboneUsed | None = Field(
        default=None, description="The pretrained network that it sees through; null: fixed filters alone."
    )
    detector: DetectorUsed | None = Field(
        default=None, description="What finds the faces that its pictures are framed on; null: they are not framed."
    )
    preprocessing: str = Field(description="How a picture becomes its input.")
    precision: str = Field(default="fp32", description="Of its weights: fp32, or int8 where the backbone's are.")
    dataset_version: str = Field(description="What it was trained on.")
    manifest_sha256: str = Field(
        default="", description="SHA-256 of that dataset's manifest, in hexadecimal; empty: an older program made it."
    )
    providers: dict[str, int] = Field(
        description='Training originals by where they came from: "imported", "procedural", "openai", "folder".'
    )
    warnings: tuple[str, ...] = Field(default=(), description="What a reader of its answers must know, in sentences.")


class LiveModel(BaseModel):
    """`models/live.json`: which model is served, and which was before (for a rollback)."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    version: str
    key: str = Field(description="Where its ONNX file lies in the object store.")
    sha256: str = Field(description="SHA-256 of its ONNX file, in hexadecimal.")
    generation: int = Field(
        default=0,
        ge=0,
        description="How often the live model has changed, this time included; it alone says which of two promotions "
        "is the later one. 0: an older program made this one live.",
    )
    promoted_at: datetime
    reason: str = Field(description="Why it went live.")
    previous: str | None = Field(default=None, description="The version that was live before.")
    correlation_id: str | None = Field(default=None, description="Of the request that it went live for.")
    traceparent: str | None = Field(default=None, description="W3C trace context of that request.")


class LeftOut(BaseModel):
    """An image of the manifest that a training left out, since this file of it could not be read, and why."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    image_id: str
    key: str
    reason: str


class ModelCard(BaseModel):
    """`models/<version>/card.json`: what the model is, what it was trained on, what was measured.

    `left_out`: the manifest's images that were neither trained nor measured on. `dataset`: what those of the manifest
    are; None: an older program made the model. `evaluation`: key of its evaluation, with every answer to the test fold;
    None: made before there was one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    version: str
    key: str
    sha256: str
    run_id: str
    campaign_id: str
    dataset_version: str
    created_at: datetime
    metadata: ModelMetadata
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None
    parity: dict[str, float]
    config: dict[str, Any]
    intended_use: str
    left_out: tuple[LeftOut, ...] = ()
    dataset: DatasetSummary | None = None
    evaluation: str | None = None


def model_key(version: str) -> str:
    """Key of a version's ONNX file. Raises InvalidRequest for what cannot be a version."""
    if not version or not all(part.isalnum() or part in "-_." for part in version) or version.startswith("."):
        raise InvalidRequest(f"'{version[:80]}' is not a model version.")
    return f"models/{version}/model.onnx"


def fp32_key(version: str) -> str:
    """Key of a version's ONNX file in FP32, where the one that is served is its INT8 copy."""
    return model_key(version).replace("model.onnx", "model-fp32.onnx")


def card_key(version: str) -> str:
    """Key of a version's card."""
    return model_key(version).removesuffix("model.onnx") + "card.json"
