"""A campaign's life: what happens to it, and what follows. Pure: no connection, no clock, no bus.

A campaign is `running` while its slots are filled, then `closing` while its dataset is written, and `met` once that
is published, with a reason if there will be no model; or `exhausted`, where slots failed; or `rejected`, and never ran.
While it is `paused`, nothing is asked for, and what is under way still counts; `cancelled`, it gives up its open slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from services.labeler_api.campaigns.prices import fits_budget


class CampaignState(StrEnum):
    """Where a campaign stands."""

    RUNNING = "running"
    PAUSED = "paused"
    CLOSING = "closing"
    MET = "met"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


FILLING = (CampaignState.RUNNING, CampaignState.PAUSED)
"""States of a campaign whose slots may still change."""

ACTIVE = (CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.CLOSING)
"""States of a campaign that the closer still has to end."""


@dataclass(frozen=True)
class Terms:
    """What a campaign was started with. Money in millionths of a US dollar; no budget is no limit."""

    price_micro_usd: int
    max_attempts: int
    max_cost_micro_usd: int | None = None


@dataclass(frozen=True)
class Campaign:
    """A campaign at one moment.

    `total`: its slots. `committed_micro_usd`: what the attempts that were asked for cost, or will at their price.
    `awaits_model`: its dataset is published, and there is neither a model yet nor word that there will be none.
    """

    state: CampaignState
    total: int
    terms: Terms
    committed_micro_usd: int = 0
    reason: str | None = None
    awaits_model: bool = False

    @property
    def asks(self) -> bool:
        """Whether it asks for images now."""
        return self.state is CampaignState.RUNNING

    @property
    def is_filling(self) -> bool:
        """Whether its slots may still change."""
        return self.state in FILLING

    def may_retry(self, attempt: int) -> bool:
        """Whether a slot may have an attempt after this one: neither campaign, attempts nor budget have ended."""
        if not self.is_filling:
            return False
        committed = self.committed_micro_usd + self.terms.price_micro_usd
        return attempt < self.terms.max_attempts and fits_budget(committed, self.terms.max_cost_micro_usd)


@dataclass(frozen=True)
class PauseAsked:
    """It shall ask for nothing more until it is resumed. `why`: what has to be mended, or who wants it."""

    why: str


@dataclass(frozen=True)
class ResumeAsked:
    """It shall go on."""


@dataclass(frozen=True)
class CancelAsked:
    """It shall end with what it has."""

    why: str


@dataclass(frozen=True)
class SlotsEnded:
    """So many of its slots are counted, and so many failed. `why`: what the last attempt at one of these ended with."""

    counted: int
    failed: int
    why: str | None = None


@dataclass(frozen=True)
class DatasetWritten:
    """The manifest of its dataset lies in the store."""


@dataclass(frozen=True)
class TrainingAdvanced:
    """The trainer told of an epoch."""


@dataclass(frozen=True)
class ModelMade:
    """The trainer made a model of its dataset."""


@dataclass(frozen=True)
class TrainingGivenUp:
    """The trainer made no model of its dataset, and will not. `why`: its reason and what to do."""

    why: str


@dataclass(frozen=True)
class TrainingOverdue:
    """The trainer was not heard of for too long."""


Happening = (
    PauseAsked
    | ResumeAsked
    | CancelAsked
    | SlotsEnded
    | DatasetWritten
    | TrainingAdvanced
    | ModelMade
    | TrainingGivenUp
    | TrainingOverdue
)


@dataclass(frozen=True)
class Effects:
    """What follows for others.

    `publish`: QuotaMet is published, for the first time or again. `await_model`: from now on, a model is overdue
    after the training's deadline.
    """

    publish: bool = False
    await_model: bool = False


NOTHING = Effects()

TRANSITIONS: Mapping[tuple[CampaignState, type[Happening]], tuple[CampaignState, Effects]] = {
    (CampaignState.RUNNING, PauseAsked): (CampaignState.PAUSED, NOTHING),
    (CampaignState.RUNNING, CancelAsked): (CampaignState.CANCELLED, NOTHING),
    (CampaignState.RUNNING, SlotsEnded): (CampaignState.CLOSING, NOTHING),  # or EXHAUSTED: see `decide`
    (CampaignState.PAUSED, ResumeAsked): (CampaignState.RUNNING, NOTHING),
    (CampaignState.PAUSED, CancelAsked): (CampaignState.CANCELLED, NOTHING),
    (CampaignState.PAUSED, SlotsEnded): (CampaignState.CLOSING, NOTHING),
    (CampaignState.CLOSING, DatasetWritten): (CampaignState.MET, Effects(publish=True, await_model=True)),
    (CampaignState.MET, TrainingAdvanced): (CampaignState.MET, Effects(await_model=True)),
    (CampaignState.MET, ModelMade): (CampaignState.MET, NOTHING),
    (CampaignState.MET, TrainingGivenUp): (CampaignState.MET, NOTHING),
    (CampaignState.MET, TrainingOverdue): (CampaignState.MET, Effects(publish=True, await_model=True)),
}
"""Every happening that changes something, by the state it meets. Any other leaves the campaign as it is."""


def decide(campaign: Campaign, happening: Happening) -> tuple[Campaign, Effects]:
    """The campaign after a happening, and what follows for others."""
    cell = TRANSITIONS.get((campaign.state, type(happening)))
    if cell is None:
        return campaign, NOTHING
    state, effects = cell
    match happening:
        case PauseAsked(why) | CancelAsked(why):
            return replace(campaign, state=state, reason=why), effects
        case ResumeAsked():
            return replace(campaign, state=state, reason=None), effects
        case SlotsEnded(counted, failed) if counted + failed < campaign.total:
            return campaign, NOTHING
        case SlotsEnded(failed=failed, why=why) if failed:
            reason = f"{failed} of {campaign.total} slots used up their attempts or the budget"
            if why is not None:
                reason += f"; one of them ended with {why}"
            return replace(campaign, state=CampaignState.EXHAUSTED, reason=reason), NOTHING
        case SlotsEnded():
            return replace(campaign, state=state, reason=None), effects
        case TrainingAdvanced() | TrainingGivenUp() | TrainingOverdue() if not campaign.awaits_model:
            return campaign, NOTHING
        case TrainingGivenUp(why):
            return replace(campaign, awaits_model=False, reason=f"not trained: {why}"), effects
        case ModelMade():  # by another try: the training was not hopeless after all
            return replace(campaign, awaits_model=False, reason=None), effects
    return replace(campaign, state=state, awaits_model=effects.await_model), effects
