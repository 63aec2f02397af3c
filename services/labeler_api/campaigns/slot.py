"""A slot's life: what happens to it, and what follows. Pure: no connection, no clock, no bus.

A slot is `open` while a request for its image is out, `review` while a person looks at its image, `augmenting` once
that is accepted, `counted` once its variants are listed, and `failed` when attempts or budget are used up. An image
is the slot's own if it holds the slot, or answers the attempt that the slot is open for. Any other is late,
superseded by a later attempt, or answers for the second time: it changes nothing, unless it fits and the slot still
lacks an image, as by an undo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from services.labeler_api.campaigns.campaign import Campaign, Terms
from services.labeler_api.campaigns.prices import commitment_change
from shared.events import UNANSWERED


class SlotState(StrEnum):
    """Where a slot stands."""

    OPEN = "open"
    REVIEW = "review"
    AUGMENTING = "augmenting"
    COUNTED = "counted"
    FAILED = "failed"


RESERVED = (SlotState.OPEN, SlotState.REVIEW)
"""States in which the slot stands for an image that the dataset does not have yet."""

ENDED = (SlotState.COUNTED, SlotState.FAILED)
"""States in which the slot waits for nothing. Its campaign may have ended with it."""


@dataclass(frozen=True)
class Slot:
    """A slot at one moment.

    `attempt`: 1, 2, …: the one it is open for, or was last. `image_id`: of the image that holds it, which a person
    looks at or which was accepted for it. `rejections`: why attempts were lost, for the next prompt, or for whoever
    asks why it failed. `unsettled`: attempts whose price is committed and whose cost is not known yet, each until its
    first answer. `asks`: how often its attempt was asked for again because no answer came. `given_up`: attempts that
    were lost so, and are booked as paid at their price, each until an answer comes after all.
    """

    state: SlotState
    terms: Terms
    attempt: int = 1
    image_id: UUID | None = None
    rejections: tuple[str, ...] = ()
    unsettled: tuple[int, ...] = (1,)
    asks: int = 0
    given_up: tuple[int, ...] = ()

    def is_open_for(self, attempt: int) -> bool:
        """Whether it waits for the answer to this attempt."""
        return self.state is SlotState.OPEN and self.attempt == attempt


@dataclass(frozen=True)
class AttemptPaid:
    """An attempt was answered, and cost this much (millionths of a US dollar)."""

    attempt: int
    cost_micro_usd: int


@dataclass(frozen=True)
class AttemptPostponed:
    """An attempt could not be made, for a reason that is not the image's: it is still to be made."""

    attempt: int


@dataclass(frozen=True)
class AttemptFailed:
    """An attempt brought no image."""

    attempt: int
    reason: str


@dataclass(frozen=True)
class ImageAwaitsReview:
    """An image waits for a person's verdict, or for another one."""

    image_id: UUID
    attempt: int


@dataclass(frozen=True)
class ImageFits:
    """An image is accepted, and shows what the slot asks for. `augmented`: its variants are listed already."""

    image_id: UUID
    attempt: int
    augmented: bool = False


@dataclass(frozen=True)
class ImageLost:
    """An image is rejected, or accepted and shows something else."""

    image_id: UUID
    attempt: int
    reason: str


@dataclass(frozen=True)
class VariantsListed:
    """The variants of an image are in the dataset."""

    image_id: UUID
    attempt: int


@dataclass(frozen=True)
class RequestDue:
    """The request that was put off may be made now, or its queue is gone: nobody failed to answer it."""


@dataclass(frozen=True)
class RequestOverdue:
    """The request that is out went unanswered past its deadline.

    `most_asks`: how often an attempt is asked for again. After that, nobody will answer, and nobody knows what it cost.
    """

    most_asks: int


@dataclass(frozen=True)
class CampaignCancelled:
    """Its campaign gives up what it does not have yet."""


_Changing = ImageAwaitsReview | ImageFits | ImageLost | AttemptFailed | VariantsListed | CampaignCancelled
Happening = _Changing | AttemptPaid | AttemptPostponed | RequestDue | RequestOverdue


@dataclass(frozen=True)
class Effects:
    """What follows for others.

    `request`: an image is asked for, for the slot's attempt. `postpone`: it is to be asked for once the campaign asks
    for images again. `reserved`, `counted`, `failed`: what the counters of
    slots in these states change by. `committed_micro_usd`: what the campaign's commitment changes by, and
    `paid_micro_usd` what it has spent.
    """

    request: bool = False
    postpone: bool = False
    reserved: int = 0
    counted: int = 0
    failed: int = 0
    committed_micro_usd: int = 0
    paid_micro_usd: int = 0


NOTHING = Effects()


_VERDICTS = (ImageAwaitsReview, ImageFits, ImageLost)

BY_ITS_OWN: Mapping[SlotState, tuple[type[Happening], ...]] = {
    SlotState.OPEN: (*_VERDICTS, AttemptFailed, AttemptPostponed, RequestDue, RequestOverdue, CampaignCancelled),
    SlotState.REVIEW: (*_VERDICTS, CampaignCancelled),
    SlotState.AUGMENTING: (*_VERDICTS, VariantsListed),
    SlotState.COUNTED: _VERDICTS,
    SlotState.FAILED: (),  # no image holds it
}
"""What changes a slot, by its state, where it happens to the slot's own image or request. Nothing else does."""

BY_ANOTHER: Mapping[SlotState, tuple[type[Happening], ...]] = {
    SlotState.OPEN: (ImageFits,),
    SlotState.REVIEW: (ImageFits,),
    SlotState.AUGMENTING: (),
    SlotState.COUNTED: (),
    SlotState.FAILED: (ImageFits,),
}
"""What changes it where it happens to another image: only that one which the slot still lacks is there after all."""


def asks_campaign(slot: Slot, happening: Happening) -> bool:
    """Whether what follows depends on the campaign as it is now, which must then be locked and given to `decide`."""
    retries = isinstance(happening, ImageLost | AttemptFailed) or _is_given_up(slot, happening)
    return _changes(slot, happening) and (retries or slot.state in ENDED)


def decide(slot: Slot, happening: Happening, campaign: Campaign | None = None) -> tuple[Slot, Effects]:
    """The slot after a happening, and what follows for others. Raises ValueError where it lacks the campaign.

    Once a campaign has ended, what happens to its ended slots is part of the next one.
    """
    if isinstance(happening, AttemptPaid):
        return _settle(slot, happening)
    if not _changes(slot, happening):
        return slot, NOTHING
    if asks_campaign(slot, happening) and campaign is None:
        raise ValueError(f"{type(happening).__name__} of a slot that is {slot.state} asks for its campaign")
    if campaign is not None and slot.state in ENDED and not campaign.is_filling:
        return slot, NOTHING
    match happening:
        case AttemptPostponed():  # which is an answer
            return replace(slot, asks=0), Effects(postpone=True)
        case RequestDue():
            return slot, Effects(request=True)
        case RequestOverdue() if not _is_given_up(slot, happening):
            return replace(slot, asks=slot.asks + 1), Effects(request=True)
        case RequestOverdue():
            assert campaign is not None
            return _give_up(slot, campaign)
    after = _after(slot, happening, may_retry=campaign is not None and campaign.may_retry(slot.attempt))
    asks = after.attempt != slot.attempt
    may_ask = campaign is not None and campaign.asks
    return after, Effects(
        request=asks and may_ask,
        postpone=asks and not may_ask,
        committed_micro_usd=slot.terms.price_micro_usd if asks else 0,
        reserved=(after.state in RESERVED) - (slot.state in RESERVED),
        counted=(after.state is SlotState.COUNTED) - (slot.state is SlotState.COUNTED),
        failed=(after.state is SlotState.FAILED) - (slot.state is SlotState.FAILED),
    )


def _is_given_up(slot: Slot, happening: Happening) -> bool:
    return isinstance(happening, RequestOverdue) and slot.asks >= happening.most_asks


def _give_up(slot: Slot, campaign: Campaign) -> tuple[Slot, Effects]:
    """Lose the present attempt, which may have been paid and is booked so."""
    price = slot.terms.price_micro_usd
    booked, booking = _settle(slot, AttemptPaid(slot.attempt, price))
    committed = campaign.committed_micro_usd + booking.committed_micro_usd
    lost = AttemptFailed(slot.attempt, f"{UNANSWERED}: asked for {slot.asks + 1} times, and no answer came")
    after, effects = decide(booked, lost, replace(campaign, committed_micro_usd=committed))
    return replace(after, given_up=(*after.given_up, slot.attempt)), replace(
        effects,
        committed_micro_usd=booking.committed_micro_usd + effects.committed_micro_usd,
        paid_micro_usd=booking.paid_micro_usd,
    )


def _changes(slot: Slot, happening: Happening) -> bool:
    table = BY_ITS_OWN if _is_its_own(slot, happening) else BY_ANOTHER
    return isinstance(happening, table[slot.state])


def _is_its_own(slot: Slot, happening: Happening) -> bool:
    match happening:
        case RequestDue() | RequestOverdue() | CampaignCancelled():
            return True
        case AttemptPaid(attempt=attempt) | AttemptFailed(attempt=attempt) | AttemptPostponed(attempt=attempt):
            return slot.is_open_for(attempt)
        case _:
            return happening.image_id == slot.image_id or slot.is_open_for(happening.attempt)


def _after(slot: Slot, happening: _Changing, *, may_retry: bool) -> Slot:
    match happening:
        case ImageAwaitsReview(image_id=image_id):
            return replace(slot, state=SlotState.REVIEW, image_id=image_id)
        case ImageFits(image_id=image_id, augmented=augmented):
            return replace(slot, state=SlotState.COUNTED if augmented else SlotState.AUGMENTING, image_id=image_id)
        case VariantsListed():
            return replace(slot, state=SlotState.COUNTED)
        case CampaignCancelled():
            return replace(slot, state=SlotState.FAILED, image_id=None)
        case ImageLost(reason=reason) | AttemptFailed(reason=reason):
            rejections = (*slot.rejections, reason)
            if not may_retry:
                return replace(slot, state=SlotState.FAILED, image_id=None, rejections=rejections)
            return replace(
                slot,
                state=SlotState.OPEN,
                attempt=slot.attempt + 1,
                image_id=None,
                rejections=rejections,
                unsettled=(*slot.unsettled, slot.attempt + 1),
                asks=0,
            )


def _settle(slot: Slot, paid: AttemptPaid) -> tuple[Slot, Effects]:
    """Settle an attempt's commitment, once; whatever is paid for it again is committed as well.

    The first answer for one that was given up takes the place of the price that was booked for it.
    """
    if paid.attempt in slot.given_up:
        more = paid.cost_micro_usd - slot.terms.price_micro_usd
        after = replace(slot, given_up=tuple(attempt for attempt in slot.given_up if attempt != paid.attempt))
        return after, Effects(committed_micro_usd=more, paid_micro_usd=more)
    is_first = paid.attempt in slot.unsettled
    change = commitment_change(paid.cost_micro_usd, slot.terms.price_micro_usd, committed=is_first)
    after = replace(slot, unsettled=tuple(attempt for attempt in slot.unsettled if attempt != paid.attempt))
    return after, Effects(committed_micro_usd=change, paid_micro_usd=paid.cost_micro_usd)
