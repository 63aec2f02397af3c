"""Shapes of the documents that labeler-api and model-server answer with, for the client and the tables.

They say what a caller may rely on; a server may send more.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class Severities(TypedDict):
    """Accepted images by severity; `unknown`: present, not graded."""

    mild: int
    moderate: int
    severe: int
    unknown: int


class ConditionBalance(TypedDict):
    """Images that show one condition."""

    accepted: int
    pending: int
    rejected: int
    severities: Severities


class ImageCounts(TypedDict):
    """Images by state."""

    accepted: int
    pending: int
    rejected: int


class Balance(TypedDict):
    """`GET /v1/balance`."""

    conditions: dict[str, ConditionBalance]
    images: ImageCounts
    variants: int
    unaugmented: int


class QuotaDocument(TypedDict):
    """How many images a condition and severity must still get; the last two only in a campaign."""

    condition: str
    severity: str
    count: int
    counted: NotRequired[int]
    failed: NotRequired[int]


class Plan(TypedDict):
    """`GET /v1/plan`: a rebalance's dry run."""

    total: int
    quotas: list[QuotaDocument]
    targets: dict[str, int]
    missing: dict[str, int]
    cost_usd: float
    worst_cost_usd: float
    price_usd: float
    images_per_minute: float
    duration_s: float
    provider: str
    max_attempts: int


class SlotCounts(TypedDict):
    """A campaign's slots by state."""

    total: int
    counted: int
    failed: int
    open: int


class Epoch(TypedDict):
    """What one epoch of a training run measured."""

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    metrics: dict[str, float]


class Training(Epoch):
    """The last epoch of a campaign's training run, and every one where a single campaign is asked for."""

    run_id: str
    history: NotRequired[list[Epoch]]


class TrainedModel(TypedDict):
    """The model that came out of a campaign."""

    version: str
    promoted: bool
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None


class Campaign(TypedDict):
    """`GET /v1/rebalances/{id}`."""

    id: str
    state: str  # running, closing, met, exhausted or rejected
    targets: dict[str, int]
    quotas: list[QuotaDocument]
    slots: SlotCounts
    spent_usd: float
    worst_cost_usd: float
    created_at: str
    met_at: str | None
    dataset_version: str | None
    review: str
    training: Training | None
    model: TrainedModel | None
    reason: str | None


class ImageDocument(TypedDict):
    """One image of the ledger."""

    id: str
    status: NotRequired[str]
    labels: NotRequired[dict[str, str | None]]


class ImagePage(TypedDict):
    """`GET /v1/images`."""

    images: list[ImageDocument]
    next_cursor: str | None


class ModelSummary(TypedDict):
    """One model version."""

    version: str
    created_at: str
    live: bool
    metrics: NotRequired[dict[str, Any]]


class Models(TypedDict):
    """`GET /v1/models`."""

    live: dict[str, Any] | None
    models: list[ModelSummary]


class DeadLetterDocument(TypedDict):
    """A message that was given up, with its error."""

    id: str
    queue: str
    event: str
    error: str
    tries: int
    died_at: str
    body: str


class ConditionPrediction(TypedDict):
    """What the model says of one condition."""

    condition: str
    present: bool
    probability: float
    severity: str | None
    severity_probabilities: dict[str, float]


class Prediction(TypedDict):
    """`POST /v1/predictions`."""

    model_version: str
    conditions: list[ConditionPrediction]
    image: dict[str, Any]
    warnings: list[str]
    timing_ms: dict[str, float]
