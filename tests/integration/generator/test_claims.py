"""Two generators on one store: what one is paying for, nobody else pays for; what may have been paid is booked."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from services.generator import handlers, keeping
from services.generator.calls import Doubt
from services.generator.claims import LEASE_S, Claims, claim_key
from services.generator.keeping import record_key
from shared.embedded.bus import InProcessBus
from shared.errors import StoreFull
from shared.events import FailureReason, ImageFailed, ImageGenerated, ImageRequested
from tests.eventually import LIMIT_S, eventually
from tests.fakes.blobs import FlakyBlobs
from tests.fakes.openai_server import OpenAIServer, billed, picture, silence, when
from tests.integration.generator.serving import PRICE, image_id_of, png, provider_for, requested, running


async def test_what_a_lost_connection_hands_to_another_generator_is_paid_once(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    released = asyncio.Event()
    server.otherwise = when(released, picture(png()))
    messages = [requested() for _ in range(8)]
    async with running(tmp_path, blobs, provider_for(server)) as first:
        for message in messages:
            await first.bus.publish(message)
        await eventually(lambda: server.calls == 8)
        await first.bus.drain(0)  # its connection to the broker is lost: every delivery is cancelled
        async with running(tmp_path, blobs, provider_for(server)) as second:
            for message in messages:
                await second.bus.publish(message)
            await eventually(lambda: second.handled("retried") >= 16)
            released.set()
            events = await second.answers(8)
            assert not await second.bus.dead_letters()
    assert server.calls == 8
    told = [event for event in events if isinstance(event, ImageGenerated)]
    assert {event.image_id for event in told} == {image_id_of(message) for message in messages}
    assert [event.cost_usd for event in told] == [PRICE] * 8


async def test_two_generators_on_one_bus_pay_once_for_what_is_delivered_again_and_again(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    bus = InProcessBus()
    messages = [requested() for _ in range(6)]
    async with (
        running(tmp_path, blobs, provider_for(server), bus=bus) as one,
        running(tmp_path, blobs, provider_for(server), bus=bus) as other,
    ):
        for _ in range(4):
            for message in messages:
                await bus.publish(message)
        await eventually(lambda: one.handled() + other.handled() == 24)
        assert min(one.handled(), other.handled()) > 0
    assert server.calls == len(server.bill) == 6
    assert not [info.key async for info in blobs.list("images/") if info.key.endswith("claim.json")]


async def test_what_a_killed_generator_may_have_paid_is_booked_and_ends_the_attempt(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    message = requested()
    killed = await Claims(blobs, owner="killed", lease_s=0.0).take(image_id_of(message))
    await killed.begin_call(PRICE)
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
        assert generator.metric("evenskin_generation_cost_usd_total", provider="openai") == pytest.approx(PRICE)
    assert isinstance(event, ImageFailed)
    assert event.reason is FailureReason.OUTCOME_UNKNOWN
    assert (event.cost_usd, event.unknown_calls) == (PRICE, 1)
    assert server.calls == 0
    assert blobs.holds(record_key(image_id_of(message)))
    assert not blobs.holds(claim_key(image_id_of(message)))


async def test_what_may_have_been_paid_is_booked_also_where_a_picture_has_become_too_dear(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    message = requested(price_usd=PRICE / 2)
    killed = await Claims(blobs, owner="killed", lease_s=0.0).take(image_id_of(message))
    await killed.begin_call(PRICE / 2)
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert event.reason is FailureReason.OUTCOME_UNKNOWN
    assert (event.cost_usd, server.calls) == (PRICE / 2, 0)


async def test_a_generator_that_was_killed_after_it_settled_is_spoken_for_by_the_next(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    await blobs.delete(record_key(event.image_id))
    killed = await Claims(blobs, owner="killed").take(event.image_id)
    await killed.settle(event)
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        assert await generator.answers(1) == [event]
    assert server.calls == 1
    assert blobs.holds(record_key(event.image_id))
    assert not blobs.holds(claim_key(event.image_id))


async def test_the_claim_that_a_generator_left_which_was_killed_after_it_stored_the_record_is_removed(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        await generator.answers(1)
        await Claims(blobs, owner="killed").take(image_id_of(message))
        await generator.bus.publish(message)
        await generator.answers(2)
    assert server.calls == 1
    assert not blobs.holds(claim_key(image_id_of(message)))


async def test_what_another_generator_is_at_takes_no_turn_from_the_others(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    held = requested()
    await Claims(blobs, owner="other").take(image_id_of(held))
    async with running(tmp_path, blobs, provider_for(server, images_per_minute=60 / LIMIT_S)) as generator:
        await generator.bus.publish(held)
        await eventually(lambda: generator.handled("retried") >= 5)
        await generator.bus.publish(requested())  # its turn, the first one, comes at once
        await generator.answers(1)
    assert server.calls == 1


async def test_a_picture_that_comes_after_its_claim_was_taken_over_is_booked_once_and_not_paid_again(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    released = asyncio.Event()
    server.answers.append(when(released, picture(png())))
    message = requested()
    image = image_id_of(message)
    async with running(tmp_path, blobs, provider_for(server)) as slow:
        await slow.bus.publish(message)
        await eventually(lambda: server.calls == 1)
        # Its process stood still until the claim had expired by anybody's clock.
        late = Claims(blobs, owner="late", clock=lambda: time.time() + 2 * LEASE_S)
        other = await late.take(image)
        assert other.doubt == Doubt(1, PRICE)
        released.set()
        await eventually(lambda: slow.handled("retried") >= 1)
        assert not slow.said  # the other one has it now
        request = message.event.model_dump(include={"campaign_id", "slot_id", "attempt", "image_id"})
        decided = ImageFailed(
            **request, reason=FailureReason.OUTCOME_UNKNOWN, detail="", cost_usd=PRICE, unknown_calls=1
        )
        await other.settle(decided)
        assert await slow.answers(1) == [decided]
    assert server.calls == len(server.bill) == 1


async def test_a_picture_that_is_given_up_at_the_end_is_booked_by_the_next_generator_without_a_wait(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "CLOSING_S", 0.02)
    server.answers.append(billed(silence))
    message = requested()
    async with running(tmp_path, blobs, provider_for(server), drain_s=0) as generator:
        await generator.bus.publish(message)
        await eventually(lambda: server.calls)
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert event.unknown_calls == 1
    assert event.cost_usd == pytest.approx(len(server.bill) * PRICE) == pytest.approx(PRICE)


async def test_a_store_that_fails_while_a_picture_is_paid_for_costs_no_second_payment(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "STORE_RETRY_S", 0.01)
    released = asyncio.Event()
    server.otherwise = when(released, picture(png()))
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        await eventually(lambda: server.calls)
        blobs.down = True
        released.set()
        await eventually(lambda: blobs.refused >= 5)
        blobs.down = False
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert (server.calls, event.cost_usd) == (1, PRICE)


class FullForPictures(FlakyBlobs):
    """A store that is full for pictures, and has room for claims."""

    is_full = True

    async def put(
        self, key: str, data: bytes, *, content_type: str = "", if_absent: bool = False, **options: Any
    ) -> Any:
        """Store an object."""
        if self.is_full and "original" in key:
            self.refused += 1
            raise StoreFull("The store is full.")
        return await super().put(key, data, **options)


async def test_a_paid_picture_that_cannot_be_stored_is_booked_when_its_generator_ends(
    tmp_path: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "CLOSING_S", 0.02)
    monkeypatch.setattr(keeping, "STORE_RETRY_S", 0.01)
    blobs = FullForPictures(tmp_path / "store")
    message = requested()
    async with running(tmp_path, blobs, provider_for(server), drain_s=0) as generator:
        await generator.bus.publish(message)
        await eventually(lambda: blobs.refused >= 3)
    blobs.is_full = False
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert (server.calls, event.unknown_calls) == (1, 1)
    assert event.cost_usd == pytest.approx(PRICE)


async def test_a_paid_picture_is_booked_when_the_store_comes_back_only_as_its_generator_ends(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "CLOSING_S", 0.02)
    released = asyncio.Event()
    server.otherwise = when(released, picture(png()))
    message = requested()
    async with running(tmp_path, blobs, provider_for(server), drain_s=0) as generator:
        await generator.bus.publish(message)
        await eventually(lambda: server.calls)
        blobs.down = True
        released.set()
        await eventually(lambda: blobs.refused >= 1)
        blobs.down = False  # its next try comes too late
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert event.cost_usd == pytest.approx(server.calls * PRICE) == pytest.approx(PRICE)


async def test_an_account_failure_that_an_older_generator_stored_is_no_end(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    message = requested()
    request = message.event
    assert isinstance(request, ImageRequested)
    old = ImageFailed(
        **request.model_dump(include={"campaign_id", "slot_id", "attempt", "image_id"}),
        reason=FailureReason.QUOTA_EXHAUSTED,
        detail="no credit",
    )
    await blobs.put(record_key(request.image_id), old.model_dump_json().encode())
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert server.calls == 1
