"""Every event, one frozen model each. The class name is the CloudEvents type and the routing key.

Needs only the standard library, pydantic and our taxonomy: anybody may import it. An event carries
keys of the object store, never a picture. `docs/events.md` is written from what stands here.
"""

from __future__ import annotations

import contextlib
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, StrictInt, model_validator

from shared.errors import InvalidRequest, InvalidTarget
from shared.taxonomy import (
    CLEAR,
    KINDS,
    AgeBand,
    Condition,
    Kind,
    Light,
    Severity,
    Sex,
    View,
    parse_condition,
    parse_kind,
    parse_severity,
)

MAX_TARGET = 100_000  # images per condition: far above any dermatology set, far below an accident with a zero too many


def stated(*, unit: str = "", bounds: str = "") -> Any:
    """Annotate a type with its unit, and with bounds that senders keep to. They are stated, never checked.

    Both stand in the JSON Schema as `x-unit` and `x-bounds`; bounds that are checked are pydantic's own (`ge`, `le`).
    """
    keywords = {"x-unit": unit, "x-bounds": bounds}
    return Field(json_schema_extra={name: text for name, text in keywords.items() if text})


Labels = dict[
    Annotated[Condition, BeforeValidator(lambda name: parse_condition(str(name)))],
    Annotated[Severity | None, BeforeValidator(lambda value: None if value is None else parse_severity(value))],
]
Usd = Annotated[float, Field(ge=0, allow_inf_nan=False), stated(unit="US dollars")]
Pixels = Annotated[int, stated(unit="pixels", bounds="1 or more")]
Images = Annotated[int, stated(unit="images", bounds="0 or more")]
Requests = Annotated[int, Field(ge=0), stated(unit="requests")]
Target = Annotated[StrictInt, stated(unit="images", bounds=f"0 to {MAX_TARGET}, else RebalanceRejected")]
Attempt = Annotated[int, stated(unit="attempts", bounds="1 to the campaign's max_attempts")]
Epochs = Annotated[int, stated(unit="epochs", bounds="1 or more")]
Loss = Annotated[float, stated(unit="nats", bounds="0 or more")]
ConditionName = Annotated[str, stated(bounds="a condition, `clear` or a synonym, else RebalanceRejected")]
Quality = Annotated[str, stated(bounds="as the model has them: low, medium, high or auto")]
Key = Annotated[str, stated(bounds="a key of the object store")]
Sha256 = Annotated[str, stated(bounds="64 hexadecimal digits, lower case")]
RunId = Annotated[str, stated(bounds="`run-` and 12 hexadecimal digits")]
ModelVersion = Annotated[str, stated(bounds="letters, digits, `-`, `_` and `.`")]
DatasetVersion = Annotated[str, stated(bounds="`ds-` and 16 hexadecimal digits")]


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
    KEY_REJECTED = "key_rejected"
    PERMISSION_DENIED = "permission_denied"
    MODEL_UNAVAILABLE = "model_unavailable"
    PRICE_EXCEEDED = "price_exceeded"
    SETTINGS_REFUSED = "settings_refused"
    PROVIDER_UNREACHABLE = "provider_unreachable"
    PICTURES_EXHAUSTED = "pictures_exhausted"
    INVALID_REQUEST = "invalid_request"
    INVALID_RESPONSE = "invalid_response"
    TIMEOUT = "timeout"
    OUTCOME_UNKNOWN = "outcome_unknown"
    PROVIDER_ERROR = "provider_error"


_PROBLEM_CHARACTERS = 500  # of what is wrong with a request that cannot be read
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,12}(\.0{1,6})?\s*")  # of a target: far more digits than MAX_TARGET has
CHANGE_REASON_CHARACTERS = 500  # of why a campaign is paused, resumed or cancelled, over the bus and over HTTP

UNANSWERED = "unanswered"  # why an attempt was lost that was asked for again and again; told with earlier rejections

ACCOUNT_FAILURES = frozenset(
    {
        FailureReason.RATE_LIMITED,
        FailureReason.QUOTA_EXHAUSTED,
        FailureReason.KEY_REJECTED,
        FailureReason.PERMISSION_DENIED,
        FailureReason.MODEL_UNAVAILABLE,
        FailureReason.PRICE_EXCEEDED,
        FailureReason.SETTINGS_REFUSED,
        FailureReason.PROVIDER_UNREACHABLE,
        FailureReason.PICTURES_EXHAUSTED,
    }
)
"""Reasons that lie in the account or its settings, not in the image: every other image would fail as well, until a
person mends it, or waits as long as the provider asks. Such an attempt cost nothing and has not ended: the same
request may be sent again."""


class TrainingFailure(StrEnum):
    """Why a dataset gives no model."""

    DATASET_TOO_SMALL = "dataset_too_small"
    DATASET_UNREADABLE = "dataset_unreadable"
    IMAGES_UNREADABLE = "images_unreadable"
    LABELS_CONTRADICT = "labels_contradict"
    FOLDS_LEAK = "folds_leak"
    LOSS_NOT_FINITE = "loss_not_finite"
    WEIGHTS_UNUSABLE = "weights_unusable"
    PARITY_FAILED = "parity_failed"
    DISK_FULL = "disk_full"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"


class Model(BaseModel):
    """Base of events and their parts: frozen; fields a newer sender added are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=(), use_attribute_docstrings=True)


class Event(Model):
    """Base of all events."""

    from_operator: ClassVar[bool] = False  # whether a bare JSON object is accepted, without CloudEvents
    announcement: ClassVar[bool] = False  # whether nobody listening is no error: the state can be read elsewhere

    @classmethod
    def name(cls) -> str:
        """CloudEvents type and routing key."""
        return cls.__name__

    @classmethod
    def understood(cls, data: object) -> object:
        """What was sent, as the model reads it: where a sender's habits are harmless, they are no error."""
        return data

    @classmethod
    def unreadable(cls, data: object, problem: str) -> Event | None:
        """An event that is answered with the problem of what was sent in its stead; None: it is buried."""
        return None


class Subject(Model):
    """The person and the picture a slot asks for."""

    age_band: AgeBand
    """Age of the person in years, as a band."""
    skin_tone: Annotated[int, Field(ge=1, le=10), stated(unit="steps of the Monk scale")]
    """Skin tone, from 1, lightest, to 10, darkest."""
    sex: Sex
    """Sex of the person as it shows in the picture."""
    light: Light
    """Lighting of the picture."""
    view: View
    """Pose of the head, seen from the camera."""


class Variant(Model):
    """An augmented copy in the store."""

    operation: str
    """What was done to the original: `hflip`, a horizontal flip."""
    key: Key
    """Where the copy lies: `images/<image_id>/<operation>.<ext>`."""
    sha256: Sha256
    """Hash of the copy's bytes."""
    width: Pixels
    """Width as displayed, after any EXIF rotation."""
    height: Pixels
    """Height as displayed, after any EXIF rotation."""


class RebalanceRequested(Event):
    """Bring every condition (or the named ones) to a number of accepted originals.

    Names and numbers are checked by `target_of`, not by the shape: a wrong one is answered with
    RebalanceRejected rather than buried as malformed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")  # a person's typo is an error, not passed over

    from_operator: ClassVar[bool] = True

    target_per_condition: Target | None = None
    """Accepted originals that each of `conditions` shall have."""
    conditions: tuple[ConditionName, ...] | None = None
    """Conditions that `target_per_condition` is for; null: all seven. `clear`, skin without any, only where named."""
    targets: dict[ConditionName, Target] | None = None
    """Accepted originals by condition, and of `clear` skin; overrides `target_per_condition`."""
    campaign_id: UUID = Field(default_factory=uuid4)
    """Id of the campaign to be; the same id again starts nothing. Absent: a fresh one."""
    max_cost_usd: Usd | None = None
    """Budget: no attempt is asked for whose price would exceed it. A plan that does is rejected; null: no limit."""
    max_attempts: Annotated[int, Field(ge=1, le=20), stated(unit="attempts")] = 3
    """Pictures that a slot may ask for before it fails."""
    review: ReviewPolicy = ReviewPolicy.AUTO
    """Who accepts the generated images."""

    _problem: str | None = PrivateAttr(default=None)

    @classmethod
    def understood(cls, data: object) -> object:
        """Targets that other tools write as texts, or as numbers such as 200.0, as whole numbers."""
        if not isinstance(data, dict):
            return data
        found = dict(data)
        if "target_per_condition" in found:
            found["target_per_condition"] = _whole(found["target_per_condition"])
        if isinstance(found.get("targets"), dict):
            found["targets"] = {name: _whole(target) for name, target in found["targets"].items()}
        return found

    @classmethod
    def unreadable(cls, data: object, problem: str) -> RebalanceRequested | None:
        """A request for which `target_of` says what is wrong, so that the operator is answered."""
        if not isinstance(data, dict):
            return None
        request = cls()
        with contextlib.suppress(ValueError):
            request = cls(campaign_id=UUID(str(data.get("campaign_id"))))
        request._problem = problem[:_PROBLEM_CHARACTERS]
        return request

    def target_of(self) -> dict[Kind, int]:
        """The target of every condition that the campaign is about, and of clear skin; `targets` overrides.

        Raises UnknownCondition, InvalidTarget, and InvalidRequest where there is no target at all.
        """
        if self._problem is not None:
            raise InvalidRequest(self._problem)
        asked: dict[Kind, int] = {}
        if self.target_per_condition is not None:
            named = tuple(Condition) if self.conditions is None else map(parse_kind, self.conditions)
            asked.update(dict.fromkeys(named, self.target_per_condition))
        elif self.conditions:
            raise InvalidRequest("'conditions' needs 'target_per_condition'.")
        asked.update({parse_kind(name): target for name, target in (self.targets or {}).items()})
        if not asked:
            raise InvalidRequest(
                "The rebalance names no target.", advice="Give target_per_condition, or targets {condition: number}."
            )
        for kind, target in asked.items():
            if not 0 <= target <= MAX_TARGET:
                raise InvalidTarget(
                    f"The target of {kind} is {target}.", advice=f"Use a whole number from 0 to {MAX_TARGET}."
                )
        return {kind: asked[kind] for kind in KINDS if kind in asked}


def _whole(value: object) -> object:
    """`"200"`, `"200.0"` and `200.0` → 200; anything else as it is."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value.strip().partition(".")[0])
    return int(value) if isinstance(value, float) and value.is_integer() else value


class CampaignChange(StrEnum):
    """What an operator may do with a campaign under way."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


class RebalanceChangeRequested(Event):
    """Pause, resume or cancel a campaign.

    While it is paused nothing more is asked for, and what is under way still counts: at most so many images as
    EVENSKIN_REQUESTS_UNDER_WAY says. One that has ended is left as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_operator: ClassVar[bool] = True

    campaign_id: UUID
    """The campaign."""
    change: CampaignChange
    """What shall become of it."""
    reason: Annotated[str, Field(max_length=CHANGE_REASON_CHARACTERS)] | None = None
    """Why; it is shown with the campaign."""


class RebalanceRejected(Event):
    """A rebalance that was not started, and why."""

    announcement: ClassVar[bool] = True

    campaign_id: UUID | None
    """Campaign that was not started."""
    code: Annotated[str, stated(bounds="one of the codes in docs/errors.md")]
    """What was wrong, for programs."""
    reason: str
    """What was wrong and what to do, in sentences for people."""


class ImageRequested(Event):
    """One slot and attempt to be generated."""

    campaign_id: UUID
    """Campaign that asks."""
    slot_id: UUID
    """Slot to be filled."""
    attempt: Attempt
    """Number of this attempt at the slot, from 1."""
    image_id: UUID
    """Id of the image to be, the UUIDv5 of slot and attempt: a redelivery asks for the same image."""
    condition: Kind
    """The one condition that the picture shall show, or `clear`: none at all."""
    severity: Severity | None
    """How strongly the condition shall show: 1 mild, 2 moderate, 3 severe; null: it is clear skin."""
    subject: Subject
    """The person and the picture that the slot asks for."""
    earlier_rejections: tuple[str, ...] = ()
    """Why earlier attempts at the slot were not taken, oldest first."""
    price_usd: Usd | None = None
    """What the ledger reckons with for one picture; a generator that pays more makes none. Null: whatever it costs."""
    quality: Quality | None = None
    """Quality of the picture, as the provider's model names it; null: the generator's own, or the model's default."""

    @model_validator(mode="after")
    def _grade_conditions_only(self) -> ImageRequested:
        if (self.condition is CLEAR) != (self.severity is None):
            raise ValueError("a condition has a severity, and clear skin has none")
        return self


class ImageGenerated(Event):
    """An image lies in the store, paid for once."""

    campaign_id: UUID
    """Campaign that asked."""
    slot_id: UUID
    """Slot that asked."""
    attempt: Attempt
    """Attempt at the slot that this answers."""
    image_id: UUID
    """Id of the image, as requested."""
    key: Key
    """Where the picture lies: `images/<image_id>/original.<png|jpg|webp>`."""
    sha256: Sha256
    """Hash of the picture's bytes."""
    width: Pixels
    """Width as stored, before any EXIF rotation."""
    height: Pixels
    """Height as stored, before any EXIF rotation."""
    media_type: Annotated[str, stated(bounds="image/png, image/jpeg or image/webp")]
    """Media type of the picture."""
    c2pa: bool = False
    """Whether the picture came with a C2PA manifest; it lies as it came then, without marks of ours."""
    prompt: str
    """Prompt that the picture was asked for with."""
    prompts_sha256: Sha256 | None = None
    """Hash of the file that the prompt's words came from; null where none was sent."""
    provider: Annotated[str, stated(bounds="procedural, openai or folder")]
    """Who made the picture."""
    model: str
    """The provider's name of the model that made it."""
    provider_request_id: str | None = None
    """The provider's id of the request; null where it gives none."""
    cost_usd: Usd
    """What the picture cost."""
    quality: dict[str, Annotated[float, stated(unit="each signal's own", bounds="finite")]] = {}
    """Signals by name; `provider_calls` is how many requests were sent for the picture, failed ones too."""


class ImageFailed(Event):
    """A slot's attempt gave no image."""

    campaign_id: UUID
    """Campaign that asked."""
    slot_id: UUID
    """Slot that asked."""
    attempt: Attempt
    """Attempt at the slot that failed."""
    image_id: UUID
    """Id that the image would have had."""
    reason: FailureReason
    """Why there is no image, for programs."""
    detail: str
    """Why there is no image, for people."""
    cost_usd: Usd = 0.0
    """What the attempt cost all the same, a request whose outcome is unknown included."""
    unknown_calls: Requests = 0
    """Requests sent for it whose outcome is unknown: 1 or none; it may have been done, and is booked as paid."""


class ImageLabeled(Event):
    """An image got its verdict and labels."""

    image_id: UUID
    """Image that was reviewed."""
    key: Key
    """Where its original lies."""
    verdict: Verdict
    """Whether it belongs to the dataset."""
    labels: Labels
    """Conditions that it shows, with severity: 1 mild, 2 moderate, 3 severe, null present and not graded."""
    complete: bool = True
    """Whether a condition that `labels` does not name is absent; else it is unknown."""
    reviewer: str
    """Who decided: `gate`, `import`, or a person's name."""
    reason: str | None = None
    """Why it was rejected, if it was."""


class ImageAugmented(Event):
    """The variants of an accepted image lie in the store, or it cannot have any."""

    image_id: UUID
    """Image that was augmented."""
    variants: tuple[Variant, ...]
    """All its variants; none where it cannot be augmented."""
    reason: Annotated[str, stated(bounds="at most 1,000 characters")] | None = None
    """Why it cannot be augmented: an image error's code and sentence; null where it has variants."""


class QuotaMet(Event):
    """A campaign's last slot was counted: a dataset version is ready to train on."""

    campaign_id: UUID
    """Campaign that is met."""
    dataset_version: DatasetVersion
    """Version of the dataset; the digits are the head of its manifest's SHA-256."""
    manifest_key: Key
    """Where the manifest lies: `datasets/<dataset_version>/manifest.jsonl`."""
    counts: dict[Condition, Images]
    """Accepted originals by condition; an image counts for every condition that it shows."""
    images: Images
    """Accepted originals in the manifest, those of clear skin included."""
    variants: Annotated[int, stated(unit="variants", bounds="0 or more")]
    """Variants in the manifest."""
    without_variants: Images | None = None
    """Accepted originals in the manifest that have no variant; null: not counted."""


class TrainingProgressed(Event):
    """One epoch of a training run ended."""

    announcement: ClassVar[bool] = True

    run_id: RunId
    """Training run, the same for every try at one QuotaMet."""
    campaign_id: UUID
    """Campaign whose dataset is trained on."""
    epoch: Epochs
    """Number of the epoch, from 1."""
    epochs: Epochs
    """Epochs that the run has at most."""
    train_loss: Loss
    """Loss on the train fold, averaged over the epoch: mean weighted binary cross-entropy."""
    validation_loss: Loss
    """Loss on the validation fold after the epoch."""
    metrics: dict[str, Annotated[float, stated(unit="ratio", bounds="0 to 1")]] = {}
    """Scores on the validation fold: `validation_accuracy` and `validation_balanced_accuracy`."""


class TrainingFailed(Event):
    """A dataset will not be trained on: trying again would end the same way.

    The campaign is met, without a model. A new rebalance, or a new dataset, is trained on anew.
    """

    run_id: RunId
    """Training run that was given up."""
    campaign_id: UUID
    """Campaign whose dataset it was."""
    dataset_version: DatasetVersion
    """Version of that dataset."""
    reason: TrainingFailure
    """Why there is no model, for programs; `crashed` says that every try ended without naming its cause."""
    detail: str
    """Why there is no model and what to do, in sentences for people."""


class ModelTrained(Event):
    """A model passed the parity check and lies in the store."""

    run_id: RunId
    """Training run that made the model."""
    campaign_id: UUID
    """Campaign whose dataset it was trained on."""
    dataset_version: DatasetVersion
    """Version of that dataset."""
    version: ModelVersion
    """Version of the model: `m-` and the run's digits."""
    key: Key
    """Where the model lies: `models/<version>/model.onnx`."""
    sha256: Sha256
    """Hash of the model's bytes."""
    metrics: dict[str, Any]
    """What was measured: on the `test` fold, the `baseline`'s there, the `history` of epochs."""
    comparison: dict[str, Any] | None = None
    """This model and the live one on the same test fold: metrics, their `difference` with one-sided 95% bounds, the
    gate's `verdict` (not_worse, worse, worst_group or undecided) and its `reason`; null where no model was live."""
    promoted: bool
    """Whether the gate lets the model go live."""
    reason: str = ""
    """How the gate decided, in sentences; empty: an older sender."""


class ModelPromoted(Event):
    """The version to serve from now on."""

    announcement: ClassVar[bool] = True

    version: ModelVersion
    """Version of the model."""
    key: Key
    """Where the model lies: `models/<version>/model.onnx`."""
    sha256: Sha256
    """Hash of the model's bytes."""
    generation: Annotated[int, Field(ge=0), stated(unit="changes")] = 0
    """How often the live model had changed by then; the highest number is the newest. 0: an older sender."""
    promoted_at: Annotated[datetime, stated(bounds="with an offset from UTC")]
    """When it went live."""
    reason: str
    """Why it went live: how the gate decided, or what an operator said."""


EVENTS: dict[str, type[Event]] = {
    event.name(): event
    for event in (
        RebalanceRequested,
        RebalanceChangeRequested,
        RebalanceRejected,
        ImageRequested,
        ImageGenerated,
        ImageFailed,
        ImageLabeled,
        ImageAugmented,
        QuotaMet,
        TrainingProgressed,
        TrainingFailed,
        ModelTrained,
        ModelPromoted,
    )
}
"""Every event by its name."""
