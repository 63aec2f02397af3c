"""The provider's bill, the ledger's and the budget, through whatever may happen: the generators' handlers and claims on
one store, against the ledger's pure rules.

Every seed is another course of events: pictures, refusals, unknown outcomes, killed generators, answers that come when
the claim is another one's, doubled deliveries, pictures that are lost in review, answers that cost more than the price,
and answers that never come, or only once their attempt is given up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from random import Random
from uuid import UUID, uuid4

import pytest

from services.generator.claims import LEASE_S, Claims
from services.generator.handlers import Generation, generate_image
from services.generator.pacing import Pacer
from services.generator.provider import NotDone, Order, OutcomeUnknown, Picture
from services.labeler_api.campaigns.campaign import Campaign, CampaignState, Terms
from services.labeler_api.campaigns.prices import micro_usd
from services.labeler_api.campaigns.slot import (
    AttemptFailed,
    AttemptPaid,
    AttemptPostponed,
    Happening,
    ImageFits,
    ImageLost,
    RequestOverdue,
    Slot,
    SlotState,
    decide,
)
from shared.bus import RetryLater
from shared.embedded.bus import InProcessBus
from shared.events import ACCOUNT_FAILURES, Event, FailureReason, ImageFailed, ImageGenerated
from shared.message import Message
from shared.metrics import MetricRegistry
from tests.fakes.blobs import MemoryBlobs
from tests.integration.generator.serving import PRICE, png, requested

SLOTS = 6
SEEDS = 60
PRICE_MICRO_USD = micro_usd(PRICE)
DEAREST = 2 * PRICE  # what the tokens of a picture may come to
AT_A_TIME = 3  # requests under way


class Killed(Exception):
    """The generator's process is gone."""


class Clock:
    """Seconds since 1970, for all."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bill:
    """What the provider takes, in millionths of a US dollar. `above_price`: so much above the price, all together."""

    total: int = 0
    above_price: int = 0

    def take(self, cost_usd: float) -> None:
        """One picture."""
        self.total += micro_usd(cost_usd)
        self.above_price += max(0, micro_usd(cost_usd) - PRICE_MICRO_USD)


class MortalBlobs(MemoryBlobs):
    """What one generator sees of the store. Once it is dead, nothing that it does reaches the store any more."""

    def __init__(self, store: MemoryBlobs) -> None:
        self.__dict__.update(store.__dict__)  # the same objects
        self.dead = False

    async def put(self, key: str, data: bytes, **conditions: object) -> str:
        await self._alive()
        return await super().put(key, data, **conditions)  # type: ignore[arg-type]

    async def delete(self, key: str) -> None:
        await self._alive()
        await super().delete(key)

    async def _alive(self) -> None:
        await asyncio.sleep(0)
        if self.dead:
            raise Killed


class Provider:
    """Ends one generator's requests at random."""

    name = "random"
    concurrency = AT_A_TIME
    images_per_minute: float | None = None
    price_usd = PRICE
    first_wait_s = 0.0

    def __init__(self, random: Random, ends: tuple[str, ...], clock: Clock, bill: Bill, blobs: MortalBlobs) -> None:
        self._random = random
        self._ends = ends
        self._clock = clock
        self._bill = bill
        self._blobs = blobs

    async def generate(self, order: Order) -> Picture:
        """One request."""
        end = self._random.choice(self._ends)
        await asyncio.sleep(0)
        match end:
            case "refused":
                raise NotDone("later", FailureReason.RATE_LIMITED, may_help=True)
            case "blocked":
                raise NotDone("no", FailureReason.MODERATION_BLOCKED)
            case "no credit":
                raise NotDone("pay first", FailureReason.QUOTA_EXHAUSTED)
            case "unknown":
                self._bill.take(self._random.choice([0.0, PRICE]))
                raise OutcomeUnknown("no answer", FailureReason.TIMEOUT)
            case "killed":
                self._bill.take(self._random.choice([0.0, PRICE]))
                self._blobs.dead = True
                raise Killed
            case "stands still":  # until anybody may take its claim over
                self._bill.take(PRICE)
                self._clock.now += LEASE_S + 1
                for _ in range(self._random.randrange(200)):
                    await asyncio.sleep(0)
                return self._picture(PRICE)
            case "no picture":
                self._bill.take(PRICE)
                return Picture(b"", "a prompt", "a model", PRICE)
            case "cheap" | "dear":
                cost_usd = PRICE / 2 if end == "cheap" else DEAREST
                self._bill.take(cost_usd)
                return self._picture(cost_usd)
        self._bill.take(PRICE)
        return self._picture(PRICE)

    def _picture(self, cost_usd: float) -> Picture:
        return Picture(png(), "a prompt", "a model", cost_usd)

    async def close(self) -> None:
        """Nothing to release."""


class SayingBus(InProcessBus):
    """What a generator publishes."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Event] = []

    async def publish(self, message: Message) -> None:
        """Remember it."""
        self.said.append(message.event)


@dataclass
class Ledger:
    """One campaign by the ledger's own rules. `to_ask`: requests that are to be sent, as (slot, attempt)."""

    budget: int
    random: Random
    spent: int = 0
    slots: dict[UUID, Slot] = field(default_factory=dict)
    to_ask: list[tuple[UUID, int]] = field(default_factory=list)
    postponed: list[tuple[UUID, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        terms = Terms(PRICE_MICRO_USD, max_attempts=4, max_cost_micro_usd=self.budget)
        self.campaign = Campaign(CampaignState.RUNNING, SLOTS, terms, committed_micro_usd=SLOTS * PRICE_MICRO_USD)
        self.slots = {uuid4(): Slot(SlotState.OPEN, terms) for _ in range(SLOTS)}
        self.to_ask = [(slot_id, 1) for slot_id in self.slots]

    def hear(self, event: Event) -> None:
        """Book what came, and decide what follows, as `handlers.py` does."""
        if isinstance(event, ImageGenerated):
            self._apply(event.slot_id, AttemptPaid(event.attempt, micro_usd(event.cost_usd)))
            fits = self.random.random() < 0.7
            lost = ImageLost(event.image_id, event.attempt, "a second face")
            self._apply(event.slot_id, ImageFits(event.image_id, event.attempt) if fits else lost)
        elif isinstance(event, ImageFailed) and event.reason in ACCOUNT_FAILURES:
            assert event.cost_usd == 0
            self._apply(event.slot_id, AttemptPostponed(event.attempt))
        elif isinstance(event, ImageFailed):
            self._apply(event.slot_id, AttemptPaid(event.attempt, micro_usd(event.cost_usd)))
            self._apply(event.slot_id, AttemptFailed(event.attempt, event.reason))

    def give_up(self, event: ImageGenerated | ImageFailed) -> None:
        """Wait no longer for this answer."""
        if self.slots[event.slot_id].is_open_for(event.attempt):
            self._apply(event.slot_id, RequestOverdue(most_asks=0))

    def _apply(self, slot_id: UUID, happening: Happening) -> None:
        slot, effects = decide(self.slots[slot_id], happening, self.campaign)
        self.slots[slot_id] = slot
        committed = self.campaign.committed_micro_usd + effects.committed_micro_usd
        self.campaign = replace(self.campaign, committed_micro_usd=committed)
        self.spent += effects.paid_micro_usd
        if effects.request:
            self.to_ask.append((slot_id, slot.attempt))
        if effects.postpone:
            self.postponed.append((slot_id, slot.attempt))


class Course:
    """One course of events. `generators` are replaced as they are killed."""

    def __init__(self, seed: int, ends: tuple[str, ...], lost: float) -> None:
        self.random = Random(seed)
        self._lost = lost  # share of answers that do not come in time
        self._late: list[Event] = []
        self.clock = Clock()
        self.bill = Bill()
        self._ends = ends
        # From one that just suffices to one that suffices whatever happens.
        self.ledger = Ledger(self.random.randint(SLOTS, 4 * SLOTS) * PRICE_MICRO_USD, self.random)
        self.store = MemoryBlobs()
        self.heard: set[str] = set()
        self.generators = [self._generator(), self._generator()]

    async def run(self) -> None:
        """Until nothing is asked for any more. Holds the ledger to its promise at every step."""
        while self.ledger.to_ask or self.ledger.postponed:
            if not self.ledger.to_ask:  # somebody resumes the campaign, and has started the generators anew
                self.ledger.to_ask, self.ledger.postponed = self.ledger.postponed, []
                self.generators = [self._generator(), self._generator()]
            batch = [self.ledger.to_ask.pop(0) for _ in range(min(AT_A_TIME, len(self.ledger.to_ask)))]
            copies = [asked for asked in batch for _ in range(self.random.choice([1, 1, 2]))]
            await asyncio.gather(*(self._deliver(*asked, self.random.randrange(2)) for asked in copies))
            # What nobody has answered for yet is committed at its price.
            assert self.bill.total <= self.ledger.campaign.committed_micro_usd
            if self._late and self.random.random() < 0.5:
                self.ledger.hear(self._late.pop())

    async def _deliver(self, slot_id: UUID, attempt: int, number: int) -> None:
        for _ in range(self.random.randrange(20)):
            await asyncio.sleep(0)
        generation, bus, blobs = self.generators[number]
        try:
            await generate_image(generation, requested(slot_id, attempt))
        except RetryLater:  # another one is at it
            self.clock.now += LEASE_S / 3
            await self._deliver(slot_id, attempt, number)
        except Killed:
            self.ledger.to_ask.append((slot_id, attempt))
            if self.generators[number][2] is blobs:
                self.generators[number] = self._generator()
        for event in bus.said:
            self._hear(event)
        bus.said.clear()

    def _hear(self, event: Event) -> None:
        """Each answer has its effect once, however often it is told; what was postponed is told each time."""
        assert isinstance(event, ImageGenerated | ImageFailed)
        told = event.model_dump_json(exclude={"campaign_id"})
        if isinstance(event, ImageFailed) and event.reason in ACCOUNT_FAILURES:
            if (event.slot_id, event.attempt) not in (*self.ledger.postponed, *self.ledger.to_ask):
                self.ledger.hear(event)
        elif told not in self.heard:
            self.heard.add(told)
            if self.random.random() >= self._lost:
                self.ledger.hear(event)
                return
            self.ledger.give_up(event)
            if self.random.random() < 0.5:
                self._late.append(event)

    def _generator(self) -> tuple[Generation, SayingBus, MortalBlobs]:
        blobs, bus = MortalBlobs(self.store), SayingBus()
        claims = Claims(blobs, clock=self.clock)
        provider = Provider(self.random, self._ends, self.clock, self.bill, blobs)
        return Generation(provider, bus, blobs, Pacer(None), claims, MetricRegistry()), bus, blobs


ENDS = ("picture", "picture", "picture", "cheap", "refused", "blocked", "no credit", "no picture", "unknown")


async def _ended(seed: int, *more: str, lost: float = 0.0) -> Course:
    course = Course(seed, (*ENDS, *more), lost)
    await course.run()
    return course


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_the_ledger_s_bill_is_never_below_the_provider_s_nor_above_the_budget(seed: int) -> None:
    course = await _ended(seed, "killed", "stands still")
    assert all(slot.unsettled == () for slot in course.ledger.slots.values())
    assert course.bill.total <= course.ledger.spent <= course.ledger.budget


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_an_answer_that_costs_more_than_the_price_exceeds_the_budget_by_no_more_than_that(seed: int) -> None:
    course = await _ended(seed, "dear")
    assert course.bill.total <= course.ledger.spent <= course.ledger.budget + course.bill.above_price


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_what_is_given_up_is_booked_and_a_late_answer_takes_its_place(seed: int) -> None:
    course = await _ended(seed, "killed", lost=0.3)
    assert course.bill.total <= course.ledger.spent <= course.ledger.budget
    assert course.ledger.spent <= course.ledger.campaign.committed_micro_usd


async def test_courses_differ() -> None:
    courses = [await _ended(seed, "killed", "stands still") for seed in range(SEEDS)]
    assert any(course.ledger.spent == course.ledger.budget for course in courses)
    assert any(course.ledger.spent > course.bill.total for course in courses)
    states = {slot.state for course in courses for slot in course.ledger.slots.values()}
    assert {SlotState.AUGMENTING, SlotState.FAILED} <= states
