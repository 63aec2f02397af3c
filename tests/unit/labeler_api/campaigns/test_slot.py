"""A slot's life, cell by cell: what it is, what happens, what it becomes, and what follows for others."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest

from services.labeler_api.campaigns.campaign import Campaign, CampaignState, Terms
from services.labeler_api.campaigns.slot import (
    NOTHING,
    AttemptFailed,
    AttemptPaid,
    AttemptPostponed,
    CampaignCancelled,
    Effects,
    Happening,
    ImageAwaitsReview,
    ImageFits,
    ImageLost,
    RequestDue,
    RequestOverdue,
    Slot,
    SlotState,
    VariantsListed,
    asks_campaign,
    decide,
)
from shared.events import UNANSWERED

OWN, EARLIER = UUID(int=2), UUID(int=1)  # images: of the slot's present attempt, and of the one before
TERMS = Terms(price_micro_usd=30_000, max_attempts=3, max_cost_micro_usd=300_000)
CAMPAIGN = Campaign(CampaignState.RUNNING, total=2, terms=TERMS, committed_micro_usd=60_000)
LAST = replace(CAMPAIGN, terms=replace(TERMS, max_attempts=2))  # the second attempt is the last one

OPEN = Slot(SlotState.OPEN, TERMS, attempt=2, rejections=("blurred",), unsettled=(2,))
REVIEW = replace(OPEN, state=SlotState.REVIEW, image_id=OWN)
AUGMENTING = replace(REVIEW, state=SlotState.AUGMENTING)
COUNTED = replace(REVIEW, state=SlotState.COUNTED)
FAILED = replace(OPEN, state=SlotState.FAILED)
REOPENED = replace(OPEN, attempt=3, rejections=("blurred", "no good"), unsettled=(2, 3))
SLOTS = (OPEN, REVIEW, AUGMENTING, COUNTED, FAILED)

BY_OWN: tuple[Happening, ...] = (
    ImageAwaitsReview(OWN, 2),
    ImageFits(OWN, 2),
    ImageFits(OWN, 2, augmented=True),
    ImageLost(OWN, 2, "no good"),
    AttemptFailed(2, "no good"),
    VariantsListed(OWN, 2),
    RequestDue(),
    RequestOverdue(most_asks=2),
    AttemptPostponed(2),
    CampaignCancelled(),
)
WAITS, FITS, FITS_AUGMENTED, LOST, NO_IMAGE, VARIANTS, DUE, OVERDUE, POSTPONED, CANCELLED = BY_OWN
BY_EARLIER: tuple[Happening, ...] = (
    ImageAwaitsReview(EARLIER, 1),
    ImageFits(EARLIER, 1),
    ImageFits(EARLIER, 1, augmented=True),
    ImageLost(EARLIER, 1, "no good"),
    AttemptFailed(1, "no good"),
    VariantsListed(EARLIER, 1),
    AttemptPostponed(1),
)
LATE_FITS, LATE_FITS_AUGMENTED = BY_EARLIER[1:3]

RETRY = Effects(request=True, committed_micro_usd=30_000)
TAKEN_EARLIER = replace(AUGMENTING, image_id=EARLIER)
COUNTED_EARLIER = replace(COUNTED, image_id=EARLIER)

# While the campaign runs and may retry. Every cell that is not here leaves the slot as it is, and nothing follows.
CELLS: dict[tuple[Slot, Happening], tuple[Slot, Effects]] = {
    (OPEN, WAITS): (REVIEW, NOTHING),
    (OPEN, FITS): (AUGMENTING, Effects(reserved=-1)),
    (OPEN, FITS_AUGMENTED): (COUNTED, Effects(reserved=-1, counted=1)),
    (OPEN, LOST): (REOPENED, RETRY),
    (OPEN, NO_IMAGE): (REOPENED, RETRY),
    (OPEN, DUE): (OPEN, Effects(request=True)),
    (OPEN, OVERDUE): (replace(OPEN, asks=1), Effects(request=True)),
    (OPEN, POSTPONED): (OPEN, Effects(postpone=True)),
    (OPEN, CANCELLED): (FAILED, Effects(reserved=-1, failed=1)),
    (REVIEW, CANCELLED): (FAILED, Effects(reserved=-1, failed=1)),
    (OPEN, LATE_FITS): (TAKEN_EARLIER, Effects(reserved=-1)),
    (OPEN, LATE_FITS_AUGMENTED): (COUNTED_EARLIER, Effects(reserved=-1, counted=1)),
    (REVIEW, WAITS): (REVIEW, NOTHING),
    (REVIEW, FITS): (AUGMENTING, Effects(reserved=-1)),
    (REVIEW, FITS_AUGMENTED): (COUNTED, Effects(reserved=-1, counted=1)),
    (REVIEW, LOST): (REOPENED, RETRY),
    (REVIEW, LATE_FITS): (TAKEN_EARLIER, Effects(reserved=-1)),
    (REVIEW, LATE_FITS_AUGMENTED): (COUNTED_EARLIER, Effects(reserved=-1, counted=1)),
    (AUGMENTING, WAITS): (REVIEW, Effects(reserved=1)),
    (AUGMENTING, FITS): (AUGMENTING, NOTHING),
    (AUGMENTING, FITS_AUGMENTED): (COUNTED, Effects(counted=1)),
    (AUGMENTING, LOST): (REOPENED, replace(RETRY, reserved=1)),
    (AUGMENTING, VARIANTS): (COUNTED, Effects(counted=1)),
    (COUNTED, WAITS): (REVIEW, Effects(reserved=1, counted=-1)),
    (COUNTED, FITS): (AUGMENTING, Effects(counted=-1)),
    (COUNTED, FITS_AUGMENTED): (COUNTED, NOTHING),
    (COUNTED, LOST): (REOPENED, replace(RETRY, reserved=1, counted=-1)),
    (FAILED, LATE_FITS): (TAKEN_EARLIER, Effects(failed=-1)),
    (FAILED, LATE_FITS_AUGMENTED): (COUNTED_EARLIER, Effects(failed=-1, counted=1)),
    (FAILED, FITS): (AUGMENTING, Effects(failed=-1)),
    (FAILED, FITS_AUGMENTED): (COUNTED, Effects(failed=-1, counted=1)),
}
ALL = list(product(SLOTS, (*BY_OWN, *BY_EARLIER)))
RESERVED_SLOTS = (OPEN, REVIEW)
RETRIES = [(slot, happening) for slot, happening in CELLS if CELLS[slot, happening][0] == REOPENED]


def named(value: object) -> str:
    """A parameter's name in the list of tests."""
    return f"{value.state}" if isinstance(value, Slot) else repr(value).replace("UUID", "")


def test_states_are_the_words_that_ledgers_keep() -> None:
    assert list(SlotState) == ["open", "review", "augmenting", "counted", "failed"]


def test_nothing_follows_unless_it_is_said() -> None:
    assert (NOTHING.request, NOTHING.reserved, NOTHING.counted, NOTHING.failed) == (False, 0, 0, 0)
    assert (NOTHING.committed_micro_usd, NOTHING.paid_micro_usd) == (0, 0)


@pytest.mark.parametrize(("slot", "happening"), ALL, ids=named)
def test_every_cell_while_the_campaign_runs(slot: Slot, happening: Happening) -> None:
    assert decide(slot, happening, CAMPAIGN) == CELLS.get((slot, happening), (slot, NOTHING))


@pytest.mark.parametrize(("slot", "happening"), ALL, ids=named)
def test_every_cell_once_the_campaign_has_ended(slot: Slot, happening: Happening) -> None:
    ended = replace(CAMPAIGN, state=CampaignState.MET)
    expected = CELLS.get((slot, happening), (slot, NOTHING))
    if slot in (COUNTED, FAILED):  # what changes now is part of the next campaign
        expected = (slot, NOTHING)
    elif (slot, happening) in RETRIES:  # as of a cancelled one that has not given it up yet
        expected = (
            replace(slot, state=SlotState.FAILED, image_id=None, rejections=REOPENED.rejections),
            Effects(reserved=-(slot in RESERVED_SLOTS), failed=1),
        )
    assert decide(slot, happening, ended) == expected


@pytest.mark.parametrize(("slot", "happening"), ALL, ids=named)
def test_the_campaign_is_asked_for_where_it_decides_and_nowhere_else(slot: Slot, happening: Happening) -> None:
    changed = (slot, happening) in CELLS
    asked = (slot, happening) in RETRIES or (changed and slot in (COUNTED, FAILED))
    assert asks_campaign(slot, happening) is asked
    if asked:
        reason = f"^{type(happening).__name__} of a slot that is {slot.state} asks for its campaign$"
        with pytest.raises(ValueError, match=reason):
            decide(slot, happening)
    else:
        assert decide(slot, happening) == CELLS.get((slot, happening), (slot, NOTHING))


@pytest.mark.parametrize(("slot", "happening"), RETRIES, ids=named)
def test_a_lost_image_fails_the_slot_when_attempts_or_budget_are_used_up(slot: Slot, happening: Happening) -> None:
    before = {OPEN: (1, 0), REVIEW: (1, 0), AUGMENTING: (0, 0), COUNTED: (0, 1)}[slot]
    expected = (
        replace(FAILED, rejections=REOPENED.rejections),
        Effects(reserved=-before[0], counted=-before[1], failed=1),
    )
    assert decide(slot, happening, LAST) == expected
    assert decide(slot, happening, replace(CAMPAIGN, committed_micro_usd=270_001)) == expected
    assert decide(slot, happening, replace(CAMPAIGN, committed_micro_usd=270_000))[0] == REOPENED


@pytest.mark.parametrize("slot", SLOTS, ids=named)
@pytest.mark.parametrize("cost", [0, 30_000, 45_000])
def test_an_attempt_is_settled_once_wherever_its_slot_stands(slot: Slot, cost: int) -> None:
    settled, effects = decide(slot, AttemptPaid(2, cost))
    assert settled == replace(slot, unsettled=())
    assert effects == Effects(paid_micro_usd=cost, committed_micro_usd=cost - 30_000)
    again, effects = decide(settled, AttemptPaid(2, cost))  # paid a second time: nothing was committed for that
    assert again == settled
    assert effects == Effects(paid_micro_usd=cost, committed_micro_usd=cost)
    assert not asks_campaign(slot, AttemptPaid(2, cost))


def test_a_new_slot_has_the_price_of_its_first_attempt_to_settle() -> None:
    settled, effects = decide(Slot(SlotState.OPEN, TERMS), AttemptPaid(1, 45_000))
    assert (settled.unsettled, effects.committed_micro_usd) == ((), 15_000)


def test_a_superseded_attempt_gives_back_its_price_and_no_other_attempts() -> None:
    taken, _ = decide(REOPENED, LATE_FITS)  # the first attempt's image is accepted after all
    assert taken.unsettled == (2, 3)
    settled, effects = decide(taken, AttemptPaid(3, 0))  # the third failed meanwhile, and cost nothing
    assert (settled.unsettled, effects) == ((2,), Effects(committed_micro_usd=-30_000))
    settled, effects = decide(settled, AttemptPaid(2, 30_000))
    assert (settled.unsettled, effects) == ((), Effects(paid_micro_usd=30_000))


@pytest.mark.parametrize(("slot", "happening"), RETRIES, ids=named)
def test_while_the_campaign_is_paused_the_next_attempt_waits_for_it(slot: Slot, happening: Happening) -> None:
    after, effects = decide(slot, happening, replace(CAMPAIGN, state=CampaignState.PAUSED))
    running, asked = decide(slot, happening, CAMPAIGN)
    assert after == running == REOPENED
    assert effects == replace(asked, request=False, postpone=True)


@pytest.mark.parametrize(("slot", "happening"), ALL, ids=named)
def test_what_is_under_way_counts_while_the_campaign_is_paused(slot: Slot, happening: Happening) -> None:
    after, _ = decide(slot, happening, replace(CAMPAIGN, state=CampaignState.PAUSED))
    assert after == CELLS.get((slot, happening), (slot, NOTHING))[0]


def test_the_same_news_twice_changes_a_slot_once() -> None:
    for happening in (FITS, LOST, NO_IMAGE):
        once, _ = decide(OPEN, happening, CAMPAIGN)
        again, effects = decide(once, happening, CAMPAIGN)
        assert (again, effects) == (once, NOTHING)
    counted, _ = decide(AUGMENTING, VARIANTS)
    assert decide(counted, VARIANTS, CAMPAIGN) == (counted, NOTHING)


def test_an_undone_rejection_brings_the_earlier_image_back_while_its_successor_is_out() -> None:
    reopened, asked = decide(REVIEW, LOST, CAMPAIGN)
    assert (reopened.attempt, asked.request) == (3, True)
    waiting, effects = decide(reopened, WAITS, CAMPAIGN)  # undone to "waits": the slot waits for its successor
    assert (waiting, effects) == (reopened, NOTHING)
    taken, effects = decide(reopened, FITS, CAMPAIGN)  # undone to "accepted": that is what it was still waiting for
    assert (taken.state, taken.image_id, effects) == (SlotState.AUGMENTING, OWN, Effects(reserved=-1))
    late, effects = decide(taken, ImageFits(UUID(int=3), 3), CAMPAIGN)  # its successor comes all the same
    assert (late, effects) == (taken, NOTHING)


def test_an_undone_acceptance_of_a_counted_image_takes_it_back_out() -> None:
    waiting, effects = decide(COUNTED, WAITS, CAMPAIGN)
    assert (waiting.state, effects) == (SlotState.REVIEW, Effects(reserved=1, counted=-1))
    again, effects = decide(waiting, FITS_AUGMENTED, CAMPAIGN)
    assert (again, effects) == (COUNTED, Effects(reserved=-1, counted=1))


def test_every_reason_is_told_to_the_next_prompt_in_its_order() -> None:
    slot = Slot(SlotState.OPEN, TERMS)
    slot, _ = decide(slot, AttemptFailed(1, "refused"), CAMPAIGN)
    slot, _ = decide(slot, ImageLost(OWN, 2, "blurred"), CAMPAIGN)
    assert (slot.state, slot.attempt, slot.rejections) == (SlotState.OPEN, 3, ("refused", "blurred"))
    slot, _ = decide(slot, AttemptFailed(3, "refused"), CAMPAIGN)
    assert (slot.state, slot.attempt, slot.image_id) == (SlotState.FAILED, 3, None)


UNHEARD = replace(OPEN, asks=2)  # asked for as often as it may be
GIVEN_UP = replace(
    OPEN,
    attempt=3,
    rejections=("blurred", f"{UNANSWERED}: asked for 3 times, and no answer came"),
    unsettled=(3,),
    given_up=(2,),
)


def test_an_attempt_that_nobody_answers_is_asked_for_so_often_and_no_more() -> None:
    slot = OPEN
    for asks in (1, 2):
        slot, effects = decide(slot, OVERDUE)
        assert (slot, effects) == (replace(OPEN, asks=asks), Effects(request=True))
    assert asks_campaign(slot, OVERDUE)
    with pytest.raises(ValueError, match="asks for its campaign"):
        decide(slot, OVERDUE)
    # Booked as paid, at its price, which gives way to the next attempt's in what the campaign is committed to.
    assert decide(slot, OVERDUE, CAMPAIGN) == (GIVEN_UP, replace(RETRY, paid_micro_usd=30_000))
    failed, effects = decide(slot, OVERDUE, LAST)
    assert failed == replace(FAILED, rejections=GIVEN_UP.rejections, unsettled=(), asks=2, given_up=(2,))
    assert effects == Effects(reserved=-1, failed=1, paid_micro_usd=30_000)


def test_a_given_up_attempt_that_was_paid_before_is_booked_once_more_and_within_the_budget() -> None:
    settled = replace(UNHEARD, unsettled=())
    after, effects = decide(settled, OVERDUE, replace(CAMPAIGN, committed_micro_usd=240_000))
    assert (after, effects) == (GIVEN_UP, replace(RETRY, paid_micro_usd=30_000, committed_micro_usd=60_000))
    after, effects = decide(settled, OVERDUE, replace(CAMPAIGN, committed_micro_usd=240_001))
    assert (after.state, effects.committed_micro_usd, effects.paid_micro_usd) == (SlotState.FAILED, 30_000, 30_000)


@pytest.mark.parametrize("cost", [0, 30_000, 45_000])
def test_a_late_answer_of_a_given_up_attempt_is_settled_once(cost: int) -> None:
    after, effects = decide(GIVEN_UP, AttemptPaid(2, cost))
    assert after == replace(GIVEN_UP, given_up=())
    assert effects == Effects(paid_micro_usd=cost - 30_000, committed_micro_usd=cost - 30_000)
    again, effects = decide(after, AttemptPaid(2, cost))
    assert (again, effects) == (after, Effects(paid_micro_usd=cost, committed_micro_usd=cost))


def test_what_was_put_off_counts_as_no_ask_and_begins_anew() -> None:
    assert decide(UNHEARD, DUE) == (UNHEARD, Effects(request=True))
    assert decide(UNHEARD, POSTPONED) == (OPEN, Effects(postpone=True))
    paused, effects = decide(UNHEARD, OVERDUE, replace(CAMPAIGN, state=CampaignState.PAUSED))
    assert (paused, effects.request, effects.postpone) == (GIVEN_UP, False, True)
