"""A claim: one owner at a time pays for an image, and what may have been paid is never forgotten."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from services.generator.calls import Doubt
from services.generator.claims import LEASE_S, RENEWALS, ClaimHeld, Claims, claim_key, read
from shared.errors import StoreUnavailable
from shared.events import FailureReason, ImageFailed
from tests.eventually import eventually
from tests.fakes.blobs import MemoryBlobs

PRICE = 0.03
SKEW_S = 90.0  # by which the clocks of two hosts may differ


class Clock:
    """A host's clock, in seconds since 1970."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class MutedBlobs(MemoryBlobs):
    """A store that takes no writing while `muted`; or takes it and says nothing, while `answers_lost`."""

    muted = False
    answers_lost = False

    async def put(self, key: str, data: bytes, **conditions: object) -> str:
        if self.muted:
            raise StoreUnavailable("The store is down.")
        etag = await super().put(key, data, **conditions)  # type: ignore[arg-type]
        if self.answers_lost:
            self.answers_lost = False
            raise StoreUnavailable("The answer is lost.")
        return etag


@pytest.fixture
def blobs() -> MutedBlobs:
    return MutedBlobs()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def claims_of(blobs: MemoryBlobs, owner: str, clock: Clock, lease_s: float = LEASE_S) -> Claims:
    return Claims(blobs, owner=owner, clock=clock, lease_s=lease_s)


def failed(image_id: UUID, detail: str) -> ImageFailed:
    return ImageFailed(
        campaign_id=uuid4(),
        slot_id=uuid4(),
        attempt=1,
        image_id=image_id,
        reason=FailureReason.TIMEOUT,
        detail=detail,
    )


async def abandon(claims: Claims, image_id: UUID, *, calls: int = 1) -> None:
    """Leave a claim as a killed generator does, with its last request under way."""
    claim = await claims.take(image_id)
    for call in range(calls):
        if call:
            claim.end_call(known=False)
        await claim.begin_call(PRICE)


async def test_a_live_claim_of_another_owner_is_respected(blobs: MutedBlobs, clock: Clock) -> None:
    image = uuid4()
    async with claims_of(blobs, "one", clock).holding(image):
        with pytest.raises(ClaimHeld, match="one is at work"):
            async with claims_of(blobs, "other", clock).holding(image):
                pass


async def test_of_many_at_once_one_gets_the_claim(blobs: MutedBlobs, clock: Clock) -> None:
    image = uuid4()
    released = asyncio.Event()

    async def pay(owner: str) -> None:
        async with claims_of(blobs, owner, clock).holding(image):
            await released.wait()

    tasks = [asyncio.create_task(pay(str(number))) for number in range(8)]
    await eventually(lambda: sum(task.done() for task in tasks) == 7)
    released.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(error, ClaimHeld) for error in ended) == 7
    assert ended.count(None) == 1


async def test_what_is_given_back_is_taken_at_once_and_owes_nothing(blobs: MutedBlobs, clock: Clock) -> None:
    image = uuid4()
    async with claims_of(blobs, "one", clock).holding(image) as claim:
        await claim.begin_call(PRICE)
        claim.end_call(known=True)
    async with claims_of(blobs, "other", clock).holding(image) as claim:
        assert claim.doubt == Doubt()


async def test_an_unknown_outcome_outlives_the_owner(blobs: MutedBlobs, clock: Clock) -> None:
    image = uuid4()
    async with claims_of(blobs, "one", clock).holding(image) as claim:
        await claim.begin_call(PRICE)
        claim.end_call(known=False)
        assert claim.doubt == Doubt(1, PRICE)
    async with claims_of(blobs, "other", clock).holding(image) as claim:
        assert claim.doubt == Doubt(1, PRICE)


async def test_a_request_that_was_under_way_when_its_owner_ended_may_have_been_paid(
    blobs: MutedBlobs, clock: Clock
) -> None:
    image = uuid4()
    await abandon(claims_of(blobs, "killed", clock), image)
    other = claims_of(blobs, "other", clock)
    with pytest.raises(ClaimHeld):
        async with other.holding(image):
            pass
    clock.now += LEASE_S + 1
    async with other.holding(image) as claim:
        assert claim.doubt == Doubt(1, PRICE)


async def test_a_cancelled_request_may_have_been_paid_and_need_not_be_waited_for(
    blobs: MutedBlobs, clock: Clock
) -> None:
    image = uuid4()
    under_way = asyncio.Event()

    async def pay() -> None:
        async with claims_of(blobs, "one", clock).holding(image) as claim:
            await claim.begin_call(PRICE)
            under_way.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(pay())
    await under_way.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with claims_of(blobs, "other", clock).holding(image) as claim:
        assert claim.doubt == Doubt(1, PRICE)


async def test_one_s_own_claim_that_could_not_be_given_back_is_taken_up(blobs: MutedBlobs, clock: Clock) -> None:
    image = uuid4()
    owner = claims_of(blobs, "one", clock)
    await abandon(owner, image)
    async with owner.holding(image) as claim:
        assert claim.doubt == Doubt(1, PRICE)


async def test_one_s_own_claim_that_counts_a_request_which_was_never_sent_owes_nothing(
    blobs: MutedBlobs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = uuid4()
    owner = claims_of(blobs, "one", clock)
    async with owner.holding(image) as claim:
        blobs.answers_lost = True
        with pytest.raises(StoreUnavailable):
            await claim.begin_call(PRICE)
        blobs.muted = True  # so that it cannot be given back either
    blobs.muted = False
    found = await read(blobs, claim_key(image))
    assert found is not None
    assert found[0].unknown_calls == 1
    async with owner.holding(image) as claim:
        assert claim.doubt == Doubt()
    async with claims_of(blobs, "other", clock).holding(image) as claim:
        assert claim.doubt == Doubt()


async def test_a_clock_that_is_90_s_ahead_takes_over_no_claim_that_is_renewed(blobs: MutedBlobs, clock: Clock) -> None:
    ahead = Clock(clock.now)
    image = uuid4()
    claim = await claims_of(blobs, "one", clock).take(image)
    for _ in range(20):  # the renewal that is due comes a lease's half too late each time
        late_s = LEASE_S / RENEWALS + LEASE_S / 4
        clock.now += late_s
        ahead.now = clock.now + SKEW_S
        with pytest.raises(ClaimHeld):
            async with claims_of(blobs, "ahead", ahead).holding(image):
                pass
        await claim.renew()


async def test_a_claim_is_renewed_while_at_work_also_after_the_store_was_down(blobs: MutedBlobs, clock: Clock) -> None:
    image = uuid4()
    async with claims_of(blobs, "one", clock, lease_s=0.08).holding(image):
        blobs.muted = True
        await asyncio.sleep(0.03)
        clock.now += 1000
        blobs.muted = False

        async def renewed() -> bool:
            found = await read(blobs, claim_key(image))
            return found is not None and found[0].expires_at > clock.now

        await eventually(renewed)


async def test_whoever_lost_its_claim_sends_no_request_and_settles_nothing(blobs: MutedBlobs, clock: Clock) -> None:
    image = uuid4()
    slow = await claims_of(blobs, "slow", clock).take(image)
    await slow.begin_call(PRICE)
    clock.now += LEASE_S + 1
    async with claims_of(blobs, "other", clock).holding(image) as claim:
        assert claim.doubt == Doubt(1, PRICE)  # what the slow one paid is booked here
        slow.end_call(known=True)
        with pytest.raises(ClaimHeld):
            await slow.begin_call(PRICE)
        with pytest.raises(ClaimHeld):
            await slow.settle(failed(image, "the slow one's"))
        await slow.release()
        await claim.settle(failed(image, "the other one's"))
        claim.close()
    assert not [info async for info in blobs.list("")]


async def test_a_settled_claim_says_how_it_ended_to_whoever_comes_next(blobs: MutedBlobs, clock: Clock) -> None:
    image = uuid4()
    outcome = failed(image, "it was so")
    claim = await claims_of(blobs, "killed before it stored the record", clock).take(image)
    await claim.begin_call(PRICE)
    claim.end_call(known=True)
    await claim.settle(outcome)
    async with claims_of(blobs, "other", clock).holding(image) as claim:
        assert claim.outcome == outcome
    async with claims_of(blobs, "third", clock).holding(image) as claim:
        assert claim.outcome == outcome
        claim.close()
    assert not [info async for info in blobs.list("")]


async def test_a_writing_whose_answer_is_lost_is_one_s_own_all_the_same(blobs: MutedBlobs, clock: Clock) -> None:
    image = uuid4()
    async with claims_of(blobs, "one", clock).holding(image) as claim:
        blobs.answers_lost = True
        with pytest.raises(StoreUnavailable):
            await claim.begin_call(PRICE)
        await claim.begin_call(PRICE)
        claim.end_call(known=False)
        assert claim.doubt == Doubt(1, PRICE)
        await claim.settle(failed(image, "settled"))


async def test_nothing_is_claimed_of_a_store_that_is_down(blobs: MutedBlobs, clock: Clock) -> None:
    blobs.muted = True
    with pytest.raises(StoreUnavailable):
        async with claims_of(blobs, "one", clock).holding(uuid4()):
            pass
