"""Every event, one frozen model each. The class name is the CloudEvents type and the routing key.

Needs only the standard library, pydantic and our taxonomy: anybody may import it. An event carries
keys of the object store, never a picture.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

from shared.errors import InvalidRequest, InvalidTarget
from shared.taxonomy import AgeBand, Condition, Light, Severity, Sex, View, parse_condition, parse_severity

MAX_TARGET = 100_000  # images per condition: far above any dermatology set, far below an accident with a zero too many

Labels = dict[
    Annotated[Condition, BeforeValidator(lambda name: parse_condition(str(name)))],
    Annotated[Severity | None, BeforeValidator(lambda value: None if value is None else parse_severity(value))],
]
Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ReviewPolicy(StrEnum):
    """Who accepts a generated image: the automatic gate, or a person after the gate."""

    AUTO = "auto"
    MANUAL = "manual"


class Verdict(StrEnum):
    """What a review says of an image."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class FailureReason(StrEnum):
    """Why a provider gave no image."""

    MODERATION_BLOCKED = "moderation_blocked"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    INVALID_REQUEST = "invalid_request"
    INVALID_RESPONSE = "invalid_response"
    TIMEOUT = "timeout"
    PROVIDER_ERROR = "provider_error"


class Model(BaseModel):
    """Base of events and their parts: frozen; fields a newer sender added are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Event(Model):
    """Base of all events."""

    from_operator: ClassVar[bool] = False  # whether a bare JSON object is accepted, without CloudEvents
    announcement: ClassVar[bool] = False  # whether nobody listening is no error: the state can be read elsewhere

    @classmethod
    def name(cls) -> str:
        """CloudEvents type and routing key."""
        return cls.__name__


class Subject(Model):
    """The person and the picture a slot asks for."""

    age_band: AgeBand
    skin_tone: Annotated[int, Field(ge=1, le=10)]
    sex: Sex
    light: Light
    view: View


class Variant(Model):
    """An augmented copy in the store. Width and height in pixels, as displayed."""

    operation: str
    key: str
    sha256: str
    width: int
    height: int


class RebalanceRequested(Event):
    """Bring every condition (or the named ones) to a number of accepted originals.

    Names and numbers are checked by `target_of`, not by the shape: a wrong one is answered with
    RebalanceRejected rather than buried as malformed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")  # a person's typo is an error, not passed over

    from_operator: ClassVar[bool] = True

    target_per_condition: StrictInt | None = None
    conditions: tuple[str, ...] | None = None
    targets: dict[str, StrictInt] | None = None
    campaign_id: UUID = Field(default_factory=uuid4)
    max_cost_usd: Usd | None = None
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    review: ReviewPolicy = ReviewPolicy.AUTO

    def target_of(self) -> dict[Condition, int]:
        """The target of every condition that the campaign is about; `targets` overrides.

        Raises UnknownCondition, InvalidTarget, and InvalidRequest where there is no target at all.
        """
        asked: dict[Condition, int] = {}
        if self.target_per_condition is not None:
            named = tuple(Condition) if self.conditions is None else map(parse_condition, self.conditions)
            asked.update(dict.fromkeys(named, self.target_per_condition))
        elif self.conditions:
            raise InvalidRequest("'conditions' needs 'target_per_condition'.")
        asked.update({parse_condition(name): target for name, target in (self.targets or {}).items()})
        if not asked:
            raise InvalidRequest(
                "The rebalance names no target.", advice="Give target_per_condition, or targets {condition: number}."
            )
        for condition, target in asked.items():
            if not 0 <= target <= MAX_TARGET:
                raise InvalidTarget(
                    f"The target of {condition} is {target}.", advice=f"Use a whole number from 0 to {MAX_TARGET}."
                )
        return {condition: asked[condition] for condition in Condition if condition in asked}


class RebalanceRejected(Event):
    """A rebalance that was not started, and why."""

    announcement: ClassVar[bool] = True

    campaign_id: UUID | None
    code: str
    reason: str


class ImageRequested(Event):
    """One slot and attempt to be generated."""

    campaign_id: UUID
    slot_id: UUID
    attempt: int
    image_id: UUID
    condition: Condition
    severity: Severity
    subject: Subject
    earlier_rejections: tuple[str, ...] = ()


class ImageGenerated(Event):
    """An image lies in the store, paid for once."""

    campaign_id: UUID
    slot_id: UUID
    attempt: int
    image_id: UUID
    key: str
    sha256: str
    width: int
    height: int
    media_type: str
    prompt: str
    provider: str
    model: str
    provider_request_id: str | None = None
    cost_usd: Usd
    quality: dict[str, float] = {}


class ImageFailed(Event):
    """A slot's attempt gave no image."""

    campaign_id: UUID
    slot_id: UUID
    attempt: int
    image_id: UUID
    reason: FailureReason
    detail: str
    cost_usd: Usd = 0.0


class ImageLabeled(Event):
    """An image got its verdict and labels."""

    image_id: UUID
    key: str
    verdict: Verdict
    labels: Labels
    complete: bool = True
    reviewer: str
    reason: str | None = None


class ImageAugmented(Event):
    """The variants of an accepted image lie in the store."""

    image_id: UUID
    variants: tuple[Variant, ...]


class QuotaMet(Event):
    """A campaign's last slot was counted: a dataset version is ready to train on.

    `counts` are accepted originals per condition.
    """

    campaign_id: UUID
    dataset_version: str
    manifest_key: str
    counts: dict[Condition, int]
    images: int
    variants: int


class TrainingProgressed(Event):
    """One epoch of a training run ended."""

    announcement: ClassVar[bool] = True

    run_id: str
    campaign_id: UUID
    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    metrics: dict[str, float] = {}


class ModelTrained(Event):
    """A model passed the parity check and lies in the store.

    `comparison` holds this model's and the live one's metrics on the same test fold, or None where no
    model was live. `promoted` says how the gate decided.
    """

    run_id: str
    campaign_id: UUID
    dataset_version: str
    version: str
    key: str
    sha256: str
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None = None
    promoted: bool


class ModelPromoted(Event):
    """The version to serve from now on."""

    announcement: ClassVar[bool] = True

    version: str
    key: str
    sha256: str
    promoted_at: datetime
    reason: str


EVENTS: dict[str, type[Event]] = {
    event.name(): event
    for event in (
        RebalanceRequested,
        RebalanceRejected,
        ImageRequested,
        ImageGenerated,
        ImageFailed,
        ImageLabeled,
        ImageAugmented,
        QuotaMet,
        TrainingProgressed,
        ModelTrained,
        ModelPromoted,
    )
}
"""Every event by its name."""
