"""Models: every version in the ledger, the live one, and what the model-server says of the one it serves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.documents.base import Document, Moment
from shared.model_card import LiveModel, ModelMetadata


class LiveModelDocument(LiveModel, Document):
    """Which model is live, and which one was before: `models/live.json`."""


class ModelSummary(Document):
    """One model version."""

    version: str
    created_at: Moment
    dataset_version: str
    promoted: bool = Field(description="Whether it went live when it was trained.")
    sha256: str = Field(description="SHA-256 of its ONNX file, in hexadecimal.")
    metrics: dict[str, Any] = Field(description="Shares from 0 to 1 by fold and condition, with their intervals.")
    reason: str = Field(default="", description="How the gate decided, in sentences; empty: an older trainer's model.")
    live: bool = Field(description="Whether it is live now.")
    stored: bool = Field(default=True, description="Whether its ONNX file is kept; an old one's is not.")


class Models(Document):
    """`GET /v1/models`: every version, the newest first, and the live one."""

    live: LiveModelDocument | None = Field(description="null while no model is live.")
    models: tuple[ModelSummary, ...]


class CardSummary(Document):
    """What a model's card says beyond its metadata."""

    created_at: datetime
    run_id: str
    intended_use: str
    metrics: dict[str, Any] = Field(description="Shares from 0 to 1 by fold and condition, with their intervals.")
    comparison: dict[str, Any] | None = Field(
        description="Metrics of this model and of the one that was live, on the same pictures; null where none was."
    )
    parity: dict[str, float] = Field(description="How far ONNX Runtime and PyTorch differed on real images.")


class ServedModel(Document):
    """`GET /v1/model`: the model in service."""

    version: str
    sha256: str = Field(description="SHA-256 of its ONNX file, in hexadecimal.")
    promoted_at: datetime
    reason: str = Field(description="Why it went live.")
    loaded_at: datetime
    metadata: ModelMetadata
    card: CardSummary | None = Field(description="null where the store has none.")
