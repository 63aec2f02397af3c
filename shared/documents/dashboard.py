"""`GET /v1/dashboard`: the dataset, the rebalance under way and the newest models at one moment."""

from __future__ import annotations

from pydantic import Field

from shared.documents.balance import Balance
from shared.documents.base import Count, Document, Usd
from shared.documents.rebalances import ByTone, Campaign, TrainedModel
from shared.taxonomy import Condition


class CampaignProgress(Document):
    """How far a campaign has come, and where it is heading. An attempt is one image that was asked for."""

    requested: Count = Field(description="Attempts that were asked for.")
    generated: Count = Field(description="Images that came.")
    in_review: Count = Field(description="Of these, those that wait for a verdict.")
    accepted: Count = Field(description="Of these, those that are accepted.")
    rejected: Count = Field(description="Of these, those that are rejected.")
    augmented: Count = Field(description="Of the accepted ones, those whose variants are there.")
    committed_usd: Usd = Field(
        description="US dollars that every attempt asked for costs, and the first one of every image."
    )
    projected_usd: Usd = Field(
        description="US dollars at its end, if every image costs what a counted one has cost so far, lost attempts "
        "included; never less than what is committed, nor more than the worst cost."
    )
    images_per_minute: float | None = Field(
        ge=0,
        description="Pace, in images a minute: those whose variants came in the last five minutes, or since it was "
        "started if that is less. null once nothing is missing.",
    )
    remaining_s: float | None = Field(
        ge=0, description="Seconds until nothing is missing, at that pace; null where there is none, or it is paused."
    )


class Dashboard(Document):
    """What the dashboard shows. It is the same for everybody who looks at the same moment."""

    balance: Balance
    tones: dict[Condition, ByTone] = Field(description="Accepted images of a known skin tone, by condition.")
    campaign: Campaign | None = Field(
        description="The newest rebalance under way, else the newest one, with every epoch of its training; null while "
        "there was none."
    )
    progress: CampaignProgress | None = Field(description="The same rebalance in numbers.")
    models: tuple[TrainedModel, ...] = Field(max_length=2, description="The last two models, the newest first.")
    dead_letters: Count | None = Field(description="Messages that were given up; null while the broker is away.")
