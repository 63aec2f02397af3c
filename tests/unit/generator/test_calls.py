"""How often a picture is asked for: what costs nothing is tried again, what may have been paid is not."""

from __future__ import annotations

import contextlib
import math
from uuid import uuid4

import pytest

from services.generator.calls import (
    LONGEST_WAIT_S,
    PATIENCE_S,
    TRIES,
    TRIES_TO_REACH,
    Doubt,
    Made,
    ProviderFailed,
    picture_for,
)
from services.generator.provider import NotDone, Order, OutcomeUnknown, PaidInVain, Picture
from shared.events import ACCOUNT_FAILURES, FailureReason, Subject
from shared.taxonomy import AgeBand, Condition, Light, Severity, Sex, View

PRICE = 0.25
ORDER = Order(
    uuid4(),
    Condition.ACNE,
    Severity.MILD,
    Subject(age_band=AgeBand.ADULT, skin_tone=4, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=View.FRONTAL),
)
PICTURE = Picture(b"a picture", "a prompt", "a model", PRICE)


def free(reason: FailureReason = FailureReason.PROVIDER_ERROR) -> NotDone:
    return NotDone("come back later", reason, may_help=True)


def busy(retry_after_s: float | None, reason: FailureReason = FailureReason.RATE_LIMITED) -> NotDone:
    return NotDone("come back later", reason, may_help=True, retry_after_s=retry_after_s)


def final(reason: FailureReason) -> NotDone:
    return NotDone("no", reason)


def unknown() -> OutcomeUnknown:
    return OutcomeUnknown("no answer", FailureReason.TIMEOUT)


class Scripted:
    """A provider that ends its requests as it is told, and what is noted of them."""

    name = "scripted"
    concurrency = 1
    images_per_minute: float | None = None
    price_usd = PRICE
    first_wait_s = 8.0

    def __init__(self, *ends: Picture | Exception, doubt: Doubt | None = None) -> None:
        self.doubt = doubt or Doubt()
        self.noted: list[bool | float] = []  # the price of every request, and whether its outcome is known
        self.waits: list[float] = []
        self.refusals: list[int] = []  # that each order told of
        self._ends = iter(ends)

    async def begin_call(self, price_usd: float) -> None:
        self.noted.append(price_usd)

    def end_call(self, *, known: bool) -> None:
        self.noted.append(known)
        if not known:
            self.doubt = self.doubt.with_call(PRICE)

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def generate(self, order: Order) -> Picture:
        self.refusals.append(order.refusals)
        end = next(self._ends)
        if isinstance(end, Exception):
            raise end
        return end

    async def close(self) -> None:
        """Nothing to release."""

    async def run(self) -> Made:
        return await picture_for(ORDER, self, self, price_usd=PRICE, pause=self.pause, generate=self.generate)

    @property
    def calls(self) -> int:
        return len(self.waits)


async def test_each_request_is_noted_before_it_is_sent_and_again_when_it_has_ended() -> None:
    scripted = Scripted(free(), free(), PICTURE)
    assert await scripted.run() == Made(PICTURE, 3)
    assert scripted.noted == [PRICE, True, PRICE, True, PRICE]  # a picture stays noted until it is settled
    assert scripted.doubt == Doubt()


async def test_the_waits_double_and_are_bounded() -> None:
    scripted = Scripted(*[free()] * (TRIES - 1), PICTURE)
    await scripted.run()
    first, *waits = scripted.waits
    assert first == 0
    for wait_s, middle_s in zip(waits, (8, 16, 32, 64), strict=True):
        assert min(0.75 * middle_s, LONGEST_WAIT_S) <= wait_s <= min(1.25 * middle_s, LONGEST_WAIT_S)


async def test_the_provider_s_own_wait_is_waited_however_long() -> None:
    scripted = Scripted(busy(90.0), busy(1800.0), PICTURE)
    await scripted.run()
    assert scripted.waits == [0, 90.0, 1800.0]


async def test_a_wait_is_no_try() -> None:
    scripted = Scripted(*[busy(65.0)] * 4 * TRIES, *[free()] * (TRIES - 1), PICTURE)
    assert (await scripted.run()).calls == 5 * TRIES


@pytest.mark.parametrize(("asked_s", "calls"), [(PATIENCE_S + 1, 1), (math.inf, 1), (PATIENCE_S / 2, 3)])
async def test_a_provider_that_stays_busy_ends_it_as_the_account_s_failure(asked_s: float, calls: int) -> None:
    scripted = Scripted(*[busy(asked_s, FailureReason.PROVIDER_ERROR)] * 10)
    with pytest.raises(ProviderFailed, match="EVENSKIN_PROVIDER_WAIT_S") as caught:
        await scripted.run()
    assert caught.value.reason is FailureReason.RATE_LIMITED
    assert caught.value.reason in ACCOUNT_FAILURES
    assert (scripted.calls, scripted.doubt) == (calls, Doubt())


@pytest.mark.parametrize("asked_s", [0.0, None])
async def test_a_provider_that_asks_for_no_time_is_not_asked_for_ever(asked_s: float | None) -> None:
    scripted = Scripted(*[busy(asked_s)] * 1000)
    with pytest.raises(ProviderFailed):
        await scripted.run()
    assert scripted.calls < 2 * PATIENCE_S / LONGEST_WAIT_S
    assert sum(scripted.waits) <= PATIENCE_S


async def test_a_request_that_cannot_be_helped_is_not_repeated_whatever_wait_it_asks_for() -> None:
    scripted = Scripted(NotDone("no", FailureReason.RATE_LIMITED, retry_after_s=1.0), PICTURE)
    with pytest.raises(ProviderFailed):
        await scripted.run()
    assert scripted.calls == 1


def refused(*, calmer: bool) -> NotDone:
    error = final(FailureReason.MODERATION_BLOCKED)
    error.has_calmer_wording = calmer
    return error


@pytest.mark.parametrize(
    ("ends", "refusals"),
    [
        ([refused(calmer=True), refused(calmer=True), PICTURE], [0, 1, 2]),
        ([refused(calmer=True), busy(70.0), PICTURE], [0, 1, 1]),
        ([refused(calmer=True), refused(calmer=False)], [0, 1]),
        ([refused(calmer=True)] * 20, [0, 1, 2, 3, 4]),
    ],
)
async def test_a_refused_prompt_is_worded_anew_while_there_are_wordings(
    ends: list[Picture | Exception], refusals: list[int]
) -> None:
    scripted = Scripted(*ends)
    with contextlib.suppress(ProviderFailed):
        assert (await scripted.run()).calls == len(refusals)
    assert scripted.refusals == refusals
    assert scripted.doubt == Doubt()


async def test_a_picture_that_cannot_be_had_is_paid_and_its_claim_still_says_so() -> None:
    scripted = Scripted(PaidInVain("gone", cost_usd=PRICE), PICTURE)
    with pytest.raises(ProviderFailed, match="gone") as caught:
        await scripted.run()
    assert (caught.value.reason, caught.value.cost_usd) == (FailureReason.INVALID_RESPONSE, PRICE)
    assert scripted.noted == [PRICE]  # its outcome is not noted before it is settled


@pytest.mark.parametrize(
    ("ends", "calls", "in_doubt", "reason"),
    [
        ([free()] * TRIES, TRIES, 0, FailureReason.PROVIDER_ERROR),
        (
            [free(FailureReason.PROVIDER_UNREACHABLE)] * TRIES_TO_REACH,
            TRIES_TO_REACH,
            0,
            FailureReason.PROVIDER_UNREACHABLE,
        ),
        ([*[free(FailureReason.PROVIDER_UNREACHABLE)] * TRIES, free()], TRIES + 1, 0, FailureReason.PROVIDER_ERROR),
        ([final(FailureReason.MODERATION_BLOCKED)], 1, 0, FailureReason.MODERATION_BLOCKED),
        ([unknown(), PICTURE], 1, 1, FailureReason.TIMEOUT),
        ([free(), unknown(), PICTURE], 2, 1, FailureReason.TIMEOUT),
        ([*[free()] * (TRIES - 1), unknown()], TRIES, 1, FailureReason.TIMEOUT),
    ],
)
async def test_requests_are_bounded_those_that_may_be_paid_to_one(
    ends: list[Picture | Exception], calls: int, in_doubt: int, reason: FailureReason
) -> None:
    scripted = Scripted(*ends)
    with pytest.raises(ProviderFailed) as caught:
        await scripted.run()
    assert (scripted.calls, scripted.doubt.calls) == (calls, in_doubt)
    assert caught.value.reason is reason
    assert caught.value.cost_usd == 0


@pytest.mark.parametrize("calls", [1, 2])  # two: of a generator that still repeated such a request
async def test_nothing_is_asked_for_where_an_earlier_generator_s_request_may_have_been_paid(calls: int) -> None:
    scripted = Scripted(PICTURE, doubt=Doubt(calls, calls * PRICE))
    with pytest.raises(ProviderFailed, match="nobody knows") as caught:
        await scripted.run()
    assert caught.value.reason is FailureReason.OUTCOME_UNKNOWN
    assert (scripted.calls, scripted.doubt) == (0, Doubt(calls, calls * PRICE))
