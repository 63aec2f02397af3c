"""`report.json`: what one run of the loop measured. The numbers are those of the run; none is written here.

Shares (accuracy and the like) are between 0 and 1; None says that it could not be measured, such as the
recall of a condition that no test picture shows. Fields that a newer run added are kept.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

Interval = tuple[float, float]


class Part(BaseModel):
    """Base of the report and its parts."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class Quota(Part):
    """Images that one condition and severity had to get."""

    condition: str
    severity: str
    count: int


class Plan(Part):
    """What the rebalance was going to generate and cost, as it was shown before it began."""

    total: int
    cost_usd: float
    quotas: list[Quota]
    price_usd: float | None = None
    worst_cost_usd: float | None = None
    duration_s: float | None = None
    images_per_minute: float | None = None
    provider: str | None = None
    targets: dict[str, int] = {}
    missing: dict[str, int] = {}


class Dataset(Part):
    """Originals by condition before and after the rebalance, and how many variants they have in all."""

    before: dict[str, int]
    after: dict[str, int]
    variants: int
    originals: int | None = None


class Metrics(Part):
    """Measured on `n` originals of the test fold, of which `positives` show the condition.

    `intervals`: 95% interval of a metric, by its name.
    """

    accuracy: float | None = None
    balanced_accuracy: float | None = None
    recall: float | None = None
    f1: float | None = None
    n: int = 0
    positives: int | None = None
    intervals: dict[str, Interval | None] = {}


class Epoch(Part):
    """One epoch of a training run."""

    epoch: int
    train_loss: float
    validation_loss: float


class Evaluation(Part):
    """One model's numbers on the test fold, and how its training went."""

    overall: Metrics
    conditions: dict[str, Metrics]
    version: str | None = None
    training: list[Epoch] = []


INTERVAL_METHOD = (
    "Wilson's score interval for accuracy and recall; for balanced accuracy the MOVER combination of two of them; for "
    "F1 Wilson's interval of TP / (TP + FP + FN), carried over; for means over conditions a percentile bootstrap over "
    "the test pictures"
)
"""How the trainer's metrics make their 95% intervals."""


class Models(Part):
    """The model before the rebalance and the one after, on the same test pictures; and a plain baseline."""

    before: Evaluation | None = None
    after: Evaluation | None = None
    baseline: Evaluation | None = None
    baseline_text: str = "a logistic regression on colour histograms, trained on the same pictures as the model after"
    interval_method: str = INTERVAL_METHOD

    @property
    def measured(self) -> dict[str, Evaluation]:
        """Those that there are, by their names."""
        found = {"before": self.before, "after": self.after, "baseline": self.baseline}
        return {name: model for name, model in found.items() if model is not None}


class Promotion(Part):
    """Whether the model after went live, and why."""

    promoted: bool
    version: str | None = None
    reason: str | None = None


class PredictedCondition(Part):
    """What the served model said of one condition."""

    condition: str
    present: bool
    probability: float
    severity: str | None = None
    severity_probabilities: dict[str, float] = {}


class Prediction(Part):
    """The served model's answer about one picture. `truth`: what was drawn or labelled, where that is known."""

    model_version: str
    conditions: list[PredictedCondition]
    warnings: list[str] = []
    timing_ms: dict[str, float] | float | None = None
    truth: dict[str, str | None] | None = None
    source: str | None = None


class Report(Part):
    """The whole of `report.json`."""

    plan: Plan
    dataset: Dataset
    models: Models
    prediction: Prediction | None = None
    promotion: Promotion | None = None
    seconds: dict[str, float] = {}
    peak_memory_mb: float | None = None
    versions: dict[str, str] = {}
    seed: int | None = None
    date: datetime | None = None
    scale: float = 1.0
    warnings: list[str] = Field(default=[])
