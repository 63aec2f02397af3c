"""A campaign's life, cell by cell: what it is, what happens, what it becomes, and what follows for others."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from services.labeler_api.campaigns.campaign import (
    ACTIVE,
    NOTHING,
    Campaign,
    CampaignState,
    CancelAsked,
    DatasetWritten,
    Effects,
    Happening,
    ModelMade,
    PauseAsked,
    ResumeAsked,
    SlotsEnded,
    Terms,
    TrainingAdvanced,
    TrainingGivenUp,
    TrainingOverdue,
    decide,
)

TERMS = Terms(price_micro_usd=30_000, max_attempts=3, max_cost_micro_usd=300_000)
RUNNING = Campaign(CampaignState.RUNNING, total=4, terms=TERMS, committed_micro_usd=120_000)
CLOSING = replace(RUNNING, state=CampaignState.CLOSING)
WAITING = replace(RUNNING, state=CampaignState.MET, awaits_model=True)
TRAINED = replace(WAITING, awaits_model=False)
UNTRAINED = replace(WAITING, awaits_model=False, reason="not trained: parity_failed: They differ.")
PAUSED = replace(RUNNING, state=CampaignState.PAUSED, reason="no credit")
CANCELLED = replace(RUNNING, state=CampaignState.CANCELLED, reason="enough")
EXHAUSTED = replace(RUNNING, state=CampaignState.EXHAUSTED, reason="1 of 4 slots used up their attempts or the budget")
REJECTED = replace(RUNNING, state=CampaignState.REJECTED, total=0, reason="over budget")
CAMPAIGNS = (RUNNING, PAUSED, CANCELLED, CLOSING, WAITING, TRAINED, UNTRAINED, EXHAUSTED, REJECTED)

ALL_COUNTED, ONE_FAILED, ONE_LEFT = SlotsEnded(4, 0), SlotsEnded(3, 1), SlotsEnded(3, 0)
ONE_LEFT_ONE_FAILED = SlotsEnded(2, 1)
WRITTEN, ADVANCED, MADE, OVERDUE = DatasetWritten(), TrainingAdvanced(), ModelMade(), TrainingOverdue()
GIVEN_UP = TrainingGivenUp("parity_failed: They differ.")
PAUSE, RESUME, CANCEL = PauseAsked("no credit"), ResumeAsked(), CancelAsked("enough")
CHANGES: tuple[Happening, ...] = (PAUSE, RESUME, CANCEL)
HAPPENINGS = (
    PAUSE,
    RESUME,
    CANCEL,
    ALL_COUNTED,
    ONE_FAILED,
    ONE_LEFT,
    ONE_LEFT_ONE_FAILED,
    WRITTEN,
    ADVANCED,
    MADE,
    GIVEN_UP,
    OVERDUE,
)

CELLS: dict[tuple[Campaign, Happening], tuple[Campaign, Effects]] = {
    (RUNNING, PAUSE): (PAUSED, NOTHING),
    (RUNNING, CANCEL): (CANCELLED, NOTHING),
    (PAUSED, RESUME): (RUNNING, NOTHING),
    (PAUSED, CANCEL): (CANCELLED, NOTHING),
    (PAUSED, ALL_COUNTED): (CLOSING, NOTHING),
    (PAUSED, ONE_FAILED): (EXHAUSTED, NOTHING),
    (RUNNING, ALL_COUNTED): (CLOSING, NOTHING),
    (RUNNING, ONE_FAILED): (EXHAUSTED, NOTHING),
    (CLOSING, WRITTEN): (WAITING, Effects(publish=True, await_model=True)),
    (WAITING, ADVANCED): (WAITING, Effects(await_model=True)),
    (WAITING, MADE): (TRAINED, NOTHING),
    (WAITING, GIVEN_UP): (UNTRAINED, NOTHING),
    (UNTRAINED, MADE): (TRAINED, NOTHING),
    (WAITING, OVERDUE): (WAITING, Effects(publish=True, await_model=True)),
}
"""Every cell that is not here leaves the campaign as it is, and nothing follows."""


def test_states_are_the_words_that_ledgers_keep() -> None:
    assert list(CampaignState) == ["running", "paused", "closing", "met", "exhausted", "cancelled", "rejected"]


def test_nothing_is_committed_and_nothing_follows_unless_it_is_said() -> None:
    new = Campaign(CampaignState.RUNNING, total=4, terms=TERMS)
    assert (new.committed_micro_usd, new.awaits_model) == (0, False)
    assert (NOTHING.publish, NOTHING.await_model) == (False, False)


@pytest.mark.parametrize(("campaign", "happening"), list(product(CAMPAIGNS, HAPPENINGS)), ids=str)
def test_every_cell(campaign: Campaign, happening: Happening) -> None:
    assert decide(campaign, happening) == CELLS.get((campaign, happening), (campaign, NOTHING))


def test_a_campaign_of_nothing_has_ended_slots_from_the_start() -> None:
    assert decide(replace(RUNNING, total=0), SlotsEnded(0, 0)) == (replace(CLOSING, total=0), NOTHING)


def test_all_slots_may_fail() -> None:
    after, _ = decide(RUNNING, SlotsEnded(0, 4))
    assert after.state is CampaignState.EXHAUSTED
    assert after.reason == "4 of 4 slots used up their attempts or the budget"
    after, _ = decide(RUNNING, SlotsEnded(1, 3, why="moderation_blocked: No."))
    told = "3 of 4 slots used up their attempts or the budget; one of them ended with moderation_blocked: No."
    assert (after.state, after.reason) == (CampaignState.EXHAUSTED, told)


@pytest.mark.parametrize(
    ("attempt", "committed", "granted"),
    [(1, 120_000, True), (2, 270_000, True), (3, 120_000, False), (4, 0, False), (1, 270_001, False)],
)
def test_a_retry_needs_an_attempt_that_is_left_and_fits_the_budget(attempt: int, committed: int, granted: bool) -> None:
    assert replace(RUNNING, committed_micro_usd=committed).may_retry(attempt) is granted


@pytest.mark.parametrize("state", CampaignState)
def test_only_a_campaign_that_is_being_filled_grants_a_retry(state: CampaignState) -> None:
    assert replace(RUNNING, state=state).may_retry(1) is (state in ("running", "paused"))


def test_no_budget_is_no_limit() -> None:
    unlimited = replace(RUNNING, terms=replace(TERMS, max_cost_micro_usd=None), committed_micro_usd=10**15)
    assert unlimited.may_retry(2)
    assert not unlimited.may_retry(3)


def test_a_paused_campaign_asks_for_nothing_and_takes_what_comes() -> None:
    assert [campaign for campaign in CAMPAIGNS if campaign.asks] == [RUNNING]
    assert [campaign for campaign in CAMPAIGNS if campaign.is_filling] == [RUNNING, PAUSED]
    assert {campaign.state for campaign in (RUNNING, PAUSED, CLOSING)} == set(ACTIVE)
