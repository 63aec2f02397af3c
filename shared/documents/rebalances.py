"""Plans and rebalances: what would be generated, and how far a campaign has come."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from shared.documents.base import Count, Document, Id, Moment, SeverityName, Usd
from shared.events import ReviewPolicy
from shared.prices import PriceWarning
from shared.taxonomy import MONK_TONES, ClearSkin, Kind

CampaignStateName = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "enum": ["running", "paused", "closing", "met", "exhausted", "cancelled", "rejected"]}
    ),
]
"""A campaign's state by name. A client takes any name, since a newer server may know more of them."""


class QuotaDocument(Document):
    """How many images one condition and severity must still get."""

    condition: Kind
    severity: SeverityName | None = Field(description="null: it is clear skin.")
    count: Count = Field(description="Images asked for.")


ByTone = Annotated[tuple[Count, ...], Field(min_length=len(MONK_TONES), max_length=len(MONK_TONES))]
"""Images by skin tone: ten numbers, for the steps of the Monk scale from 1, lightest, to 10, darkest."""


class ConditionTones(Document):
    """The skin tones of one condition's images: those that are there, and those that would be generated."""

    condition: Kind
    there: ByTone = Field(description="Images of a known tone that are accepted or on their way.")
    missing: dict[SeverityName | ClearSkin, ByTone] = Field(
        description="The missing images, by severity and tone; those of clear skin, which has none, as `clear`."
    )


class PlanWarning(Document):
    """What to know before a rebalance is paid for."""

    code: PriceWarning = Field(description="What it is about.")
    message: str = Field(description="In words, with what to do.")


class PlanDocument(Document):
    """`GET /v1/plan`: what a rebalance would generate, cost and take."""

    targets: dict[Kind, Count] = Field(description="Accepted images that each condition, or clear skin, shall have.")
    missing: dict[Kind, Count] = Field(description="Images that each of them lacks.")
    quotas: tuple[QuotaDocument, ...] = Field(description="The missing images, split over the severities.")
    tones: tuple[ConditionTones, ...] = Field(
        default=(),
        description="The same by skin tone, of every condition that lacks images: each gets most of the tones that it "
        "has least of.",
    )
    total: Count = Field(description="Images that would be generated.")
    price_usd: Usd = Field(description="US dollars for one image.")
    cost_usd: Usd = Field(description="US dollars, if every first attempt is accepted.")
    worst_cost_usd: Usd = Field(description="US dollars, if every attempt is used up.")
    max_attempts: int = Field(ge=1, description="Attempts that one image gets.")
    provider: str = Field(description="Who would make the images.")
    images_per_minute: float = Field(gt=0, description="The provider's pace, in images a minute.")
    duration_s: float = Field(ge=0, description="Seconds at that pace, without second attempts.")
    warnings: tuple[PlanWarning, ...] = Field(
        default=(), description="What to know before it is paid for: an old price list, a model that is shut down."
    )


class CampaignQuota(QuotaDocument):
    """A quota of a campaign, and how far it has come."""

    counted: Count = Field(description="Images that are accepted and augmented.")
    failed: Count = Field(description="Images that used up their attempts.")


class SlotCounts(Document):
    """A campaign's slots by how they stand: one slot is one image to be got."""

    total: Count
    counted: Count = Field(description="Slots whose image is accepted and augmented.")
    failed: Count = Field(description="Slots that used up their attempts.")
    open: Count = Field(description="Slots that still wait for their image, asked for or not yet.")


class EpochDocument(Document):
    """What one epoch of a training run measured."""

    epoch: int = Field(description="The epoch's number, from 1.")
    epochs: int = Field(description="Epochs that the run has at most.")
    train_loss: float = Field(description="Mean loss over the training fold.")
    validation_loss: float = Field(description="Mean loss over the validation fold.")
    metrics: dict[str, float] = Field(description="What else was measured, by name.")


class TrainingDocument(EpochDocument):
    """A campaign's training run: its last epoch, and every one where a single campaign is asked for."""

    run_id: str
    history: tuple[EpochDocument, ...] | None = Field(
        default=None, description="Every epoch so far, the first one first. Left out of lists."
    )


class TrainedModel(Document):
    """The model that came out of a campaign."""

    version: str
    promoted: bool = Field(description="Whether it went live when it was trained.")
    metrics: dict[str, Any] = Field(description="Shares from 0 to 1 by fold and condition, with their intervals.")
    comparison: dict[str, Any] | None = Field(
        description="Metrics of this model and of the one that was live, on the same pictures, their difference, and "
        "how the gate decided; null where none was live."
    )
    reason: str = Field(default="", description="How the gate decided, in sentences; empty: an older trainer's model.")


class Campaign(Document):
    """`GET /v1/rebalances/{id}`: a campaign with its progress, cost, training and model."""

    id: Id
    state: CampaignStateName
    reason: str | None = Field(
        description="Why it was rejected, paused or cancelled, is exhausted, or has no model, in one sentence."
    )
    targets: dict[Kind, Count] = Field(description="Accepted images that each condition, or clear skin, shall have.")
    review: ReviewPolicy = Field(description="Who accepts its images: the automatic gate, or a person after it.")
    quotas: tuple[CampaignQuota, ...]
    correlation_id: str = Field(description="Names the request in logs and events.")
    slots: SlotCounts
    spent_usd: Usd = Field(description="US dollars that its images have cost so far.")
    worst_cost_usd: Usd = Field(description="US dollars that they can cost at most.")
    max_attempts: int = Field(ge=1, description="Attempts that one image gets.")
    created_at: Moment
    met_at: Moment | None = Field(description="When its last slot was counted.")
    dataset_version: str | None = Field(description="The dataset that came out of it.")
    training: TrainingDocument | None
    model: TrainedModel | None


class CampaignList(Document):
    """`GET /v1/rebalances`: the latest campaigns, the newest first, without the history of their trainings."""

    rebalances: tuple[Campaign, ...]
