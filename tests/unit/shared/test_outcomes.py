"""What becomes of a message is decided in one place, alike for both buses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from shared.bus import RetryLater, Subscription, Undeliverable
from shared.errors import MalformedEvent, StoreUnavailable
from shared.events import ImageAugmented, RebalanceRequested
from shared.message import Message, Wire, encode
from shared.outcomes import Dead, Done, Outcome, Retry, attempt, failed, letter_id, read

MESSAGE = Message(ImageAugmented(image_id=UUID(int=1), variants=()), source="tests")


async def ignore(message: Message) -> None:
    """Be done at once."""


SUBSCRIPTION = Subscription("tests", ImageAugmented, ignore, max_tries=3)


def raising(error: BaseException) -> Subscription:
    async def handle(message: Message) -> None:
        raise error

    return replace(SUBSCRIPTION, handler=handle)


async def test_a_handler_that_returns_is_done() -> None:
    assert await attempt(SUBSCRIPTION, MESSAGE, 2) == Done()


@pytest.mark.parametrize(
    ("error", "tries", "outcome"),
    [
        (StoreUnavailable("down"), 0, Retry(1)),
        (RetryLater("later"), 1, Retry(2)),
        (RetryLater("later", counted=False), 2, Retry(2)),
        (ZeroDivisionError("oops"), 2, Dead(3, "ZeroDivisionError: oops")),
        (RetryLater("later"), 2, Dead(3, "RetryLater: later")),
        (Undeliverable("never"), 0, Dead(1, "Undeliverable: never")),
        (MalformedEvent("no"), 0, Dead(1, "MalformedEvent: no")),
    ],
)
async def test_an_error_becomes_an_outcome(error: Exception, tries: int, outcome: Outcome) -> None:
    assert await attempt(raising(error), MESSAGE, tries) == outcome


async def test_a_cancellation_is_no_outcome() -> None:
    with pytest.raises(asyncio.CancelledError):
        await attempt(raising(asyncio.CancelledError()), MESSAGE, 0)


async def test_what_every_replica_hears_is_given_up_without_a_trace() -> None:
    assert await attempt(replace(raising(ValueError()), every_replica=True), MESSAGE, 0) == Done()


def test_a_long_error_is_cut() -> None:
    outcome = failed(SUBSCRIPTION, Undeliverable("x" * 10_000), 0)
    assert isinstance(outcome, Dead)
    assert len(outcome.error) == 2000


def test_a_message_of_another_event_is_malformed() -> None:
    other = encode(Message(RebalanceRequested(target_per_condition=1), source="tests"))
    with pytest.raises(MalformedEvent, match="RebalanceRequested"):
        read(SUBSCRIPTION, other)
    assert read(SUBSCRIPTION, encode(MESSAGE)) == MESSAGE


def test_no_nesting_is_too_deep_to_be_refused() -> None:
    with pytest.raises(MalformedEvent):
        read(SUBSCRIPTION, Wire("ImageAugmented", "application/cloudevents+json", {}, b"[" * 100_000))


def test_a_letter_has_one_name_per_consumer_and_body() -> None:
    assert letter_id("a", b"x") == letter_id("a", b"x")
    assert len({letter_id("a", b"x"), letter_id("b", b"x"), letter_id("a", b"y")}) == 3
