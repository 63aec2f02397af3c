"""Messages that come at once share transactions: each still has its own effect, once, and its own outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from services.labeler_api.ledger import counters
from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.group_commit import LARGEST, GroupCommit, Work
from services.labeler_api.ledger.transaction import Transaction
from shared.bus import Undeliverable
from shared.errors import DatabaseUnavailable
from shared.events import FailureReason, ImageAugmented, ImageFailed, ImageRequested, TrainingProgressed, Variant
from shared.message import Message
from shared.taxonomy import Condition, Severity
from tests.eventually import LIMIT_S, eventually
from tests.fakes.pictures import encoded, noise, png
from tests.fakes.workers import seed_of
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import SUBJECT, Labeler

BURST = 2 * LARGEST + 10  # messages at once: more than one transaction takes


async def asked(labeler: Labeler, slots: int) -> tuple[str, list[ImageRequested]]:
    """Start a campaign whose requests nobody answers; its id and the requests."""
    labeler.generator.answer = lambda _: None
    campaign_id = await labeler.rebalance(targets={"acne": slots})
    await eventually(lambda: len(labeler.generator.requests) == slots)
    return campaign_id, list(labeler.generator.requests)


async def test_a_burst_is_counted_to_the_last_image(both: Labeler) -> None:
    campaign_id, requests = await asked(both, 60)
    events = [await both.generator.made(request, png(seed_of(request.image_id))) for request in requests]
    for event in events:
        await both.publish(event)
    done = await both.reaches(campaign_id, "met")
    assert done["slots"] == {"total": 60, "counted": 60, "failed": 0, "open": 0}
    assert done["spent_usd"] == pytest.approx(60 * 0.03)
    await both.settled()
    assert len(both.augmenter.labeled) == 60
    assert await both.bus.dead_letters() == []
    await assert_counters(both)


async def test_poison_in_a_burst_harms_nobody_else(both: Labeler) -> None:
    campaign_id, requests = await asked(both, 20)
    nowhere = ImageRequested(
        campaign_id=uuid4(),
        slot_id=uuid4(),
        attempt=1,
        image_id=uuid4(),
        condition=Condition.ACNE,
        severity=Severity.MILD,
        subject=SUBJECT,
    )
    for number, request in enumerate([*requests[:10], nowhere, *requests[10:]]):
        await both.publish(await both.generator.made(request, png(number)))
    await both.publish(ImageAugmented(image_id=uuid4(), variants=()))
    done = await both.reaches(campaign_id, "met")
    assert done["slots"]["counted"] == 20
    assert done["spent_usd"] == pytest.approx(20 * 0.03)

    async def dead() -> set[str] | None:
        letters = await both.bus.dead_letters()
        return {letter.event for letter in letters} if len(letters) == 2 else None

    assert await eventually(dead) == {"ImageGenerated", "ImageAugmented"}
    await both.settled()
    await assert_counters(both)


async def test_duplicates_in_a_burst_count_once(both: Labeler) -> None:
    campaign_id, requests = await asked(both, 10)
    answers = [Message(await both.generator.made(r, png(seed_of(r.image_id))), "test") for r in requests]
    for answer in answers:
        for message in (answer, answer, Message(answer.event, "test")):  # as it was twice, and under another id
            await both.bus.publish(message)
    done = await both.reaches(campaign_id, "met")
    assert done["spent_usd"] == pytest.approx(10 * 0.03)
    await both.settled()
    assert len(await both.images()) == 10
    assert len({labeled.image_id for labeled in both.augmenter.labeled}) == len(both.augmenter.labeled) == 10
    await assert_counters(both)


async def test_pictures_that_look_the_same_are_found_among_those_that_come_with_them(both: Labeler) -> None:
    campaign_id, requests = await asked(both, 6)
    both.generator.answer = lambda request: png(seed_of(request.image_id))
    for side, request in enumerate(requests, 300):
        await both.publish(await both.generator.made(request, encoded(noise(5).resize((side, side)), "PNG")))
    await both.reaches(campaign_id, "met")
    rejected = await both.images(status="rejected")
    assert {image["reason"].partition(":")[0] for image in rejected} == {"near_duplicate"}
    await both.settled()
    await assert_counters(both)


async def test_a_late_answer_in_a_burst_finds_its_slot_as_the_others_left_it(both: Labeler) -> None:
    def failed(request: ImageRequested) -> ImageFailed:
        return ImageFailed(
            **request.model_dump(include={"campaign_id", "slot_id", "attempt", "image_id"}),
            reason=FailureReason.PROVIDER_ERROR,
            detail="none came",
        )

    campaign_id, first = await asked(both, 5)
    for request in first:  # two answers to one attempt: the second one to be handled must not reopen the slot again
        await both.publish(await both.generator.made(request, b"no picture"))
        await both.publish(failed(request))
    await eventually(lambda: len(both.generator.requests) == 10)
    for number, request in enumerate(both.generator.requests[5:]):
        await both.publish(await both.generator.made(request, png(seed_of(request.image_id))), id=f"{number}")
        await both.publish(await both.generator.made(request, png(seed_of(request.image_id))), id=f"{number} again")
        await both.publish(failed(first[number]))
    await both.reaches(campaign_id, "met")
    await both.settled()
    assert (await both.campaign(campaign_id))["slots"]["counted"] == 5
    assert len(both.generator.requests) == 10
    await assert_counters(both)


async def test_good_and_bad_pictures_in_a_burst_are_each_recorded_whole(both: Labeler) -> None:
    both.augmenter.silent = True
    _, requests = await asked(both, 40)
    for number, request in enumerate(requests):
        picture = b"no picture" if number % 2 == 0 else png(seed_of(request.image_id))
        await both.publish(await both.generator.made(request, picture))

    async def recorded() -> list[dict[str, Any]] | None:
        rows = await both.rows("images")
        return rows if len(rows) == 40 else None

    rows = await eventually(recorded)
    assert Counter(row["status"] for row in rows) == {"accepted": 20, "rejected": 20}
    for row in rows:
        accepted = row["status"] == "accepted"
        assert (row["augment_due_at"] is not None, row["reason"] is None) == (accepted, accepted)
        assert row["labeled_at"] is not None
    await assert_counters(both)


async def silently_accepted(labeler: Labeler, slots: int) -> tuple[str, list[ImageAugmented]]:
    """Fill a campaign's slots with images nobody has made variants of; its id, and the news of those variants."""
    labeler.augmenter.silent = True
    campaign_id, requests = await asked(labeler, slots)
    for request in requests:
        await labeler.publish(await labeler.generator.made(request, png(seed_of(request.image_id))))
    await eventually(lambda: len(labeler.augmenter.labeled) == slots)
    return campaign_id, [
        ImageAugmented(
            image_id=labeled.image_id,
            variants=(Variant(operation="hflip", key=f"{labeled.image_id}", sha256="0" * 64, width=1, height=1),),
        )
        for labeled in labeler.augmenter.labeled
    ]


async def test_variants_that_are_told_twice_in_a_burst_are_listed_once(both: Labeler) -> None:
    campaign_id, news = await silently_accepted(both, 8)
    for augmented in news * 2:
        await both.publish(augmented)
    done = await both.reaches(campaign_id, "met")
    assert done["slots"]["counted"] == 8
    await both.settled()
    assert len(await both.rows("variants")) == 8
    await assert_counters(both)


async def test_what_a_burst_changes_is_one_statement_a_group(both: Labeler) -> None:
    campaign_id, news = await silently_accepted(both, BURST)
    statements: Counter[str] = Counter()

    def count(_: object, __: object, statement: str, *___: object) -> None:
        statements[" ".join(statement.split()[:3])] += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        for augmented in news:
            await both.publish(augmented)
        await both.reaches(campaign_id, "met")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)
    written = {what: times for what, times in statements.items() if what.startswith(("INSERT", "UPDATE"))}
    assert {"UPDATE images SET", "UPDATE slots SET", "INSERT INTO variants"} <= set(written)
    assert all(times < BURST / 10 for times in written.values()), written


async def test_campaigns_of_one_burst_do_not_ask_for_the_same_images(both: Labeler) -> None:
    for _ in range(5):
        await both.send("RebalanceRequested", {"targets": {"acne": 4}})

    async def met() -> list[int] | None:
        found = (await both.get("/v1/rebalances"))["rebalances"]
        totals = sorted(campaign["slots"]["total"] for campaign in found if campaign["state"] == "met")
        return totals if len(totals) == 5 else None

    assert await eventually(met) == [0, 0, 0, 0, 4]
    await assert_counters(both)


@pytest.fixture
async def database(database_url: str) -> Database:
    database = Database(database_url)
    await database.migrate()
    return database


def message() -> Message:
    """Some message."""
    event = TrainingProgressed(
        campaign_id=uuid4(), run_id="r", epoch=1, epochs=2, train_loss=1.0, validation_loss=1.0, metrics={}
    )
    return Message(event, "test")


def adding(name: str) -> Work:
    """A work that adds one to a counter."""

    async def add(transaction: Transaction) -> None:
        transaction.count({name: 1})

    return add


async def failing(transaction: Transaction) -> None:
    """A work that fails half-way."""
    transaction.count({"bad": 1})
    raise Undeliverable("as the test asked")


async def found(database: Database) -> dict[str, int]:
    """What the works added."""
    async with database.reading() as connection:
        return await counters.totals(connection, "good", "bad")


async def test_every_work_has_its_own_outcome(database: Database) -> None:
    group = GroupCommit(database)
    works = [failing if number % 7 == 3 else adding("good") for number in range(BURST)]
    outcomes = await asyncio.gather(*(group.run_once(message(), work) for work in works), return_exceptions=True)
    for work, outcome in zip(works, outcomes, strict=True):
        assert isinstance(outcome, Undeliverable) if work is failing else outcome is None
    assert await found(database) == {"good": sum(work is not failing for work in works)}
    await group.close()
    await database.close()


async def test_works_that_come_together_share_transactions(database: Database) -> None:
    begun = 0
    write = database.write

    async def counting(work: Callable[[Transaction], Awaitable[None]]) -> None:
        nonlocal begun
        begun += 1
        await write(work)

    database.write = counting  # type: ignore[assignment, method-assign]
    group = GroupCommit(database)
    await asyncio.gather(*(group.run_once(message(), adding("good")) for _ in range(BURST)))
    assert begun < BURST / 10
    assert await found(database) == {"good": BURST}
    await group.close()
    await database.close()


async def test_a_message_that_comes_as_the_last_group_ends_is_not_left_waiting(database: Database) -> None:
    group = GroupCommit(database)
    for _ in range(5):  # each in the very step in which the one before is told its end
        async with asyncio.timeout(LIMIT_S):
            await group.run_once(message(), adding("good"))
    assert await found(database) == {"good": 5}
    await group.close()
    await database.close()


async def test_who_goes_away_takes_nobody_with_him(database: Database) -> None:
    group = GroupCommit(database)
    one = message()
    tasks = [asyncio.create_task(group.run_once(message(), adding("good"))) for _ in range(BURST)]
    gone = asyncio.create_task(group.run_once(one, adding("bad")))
    await asyncio.sleep(0)
    gone.cancel()
    tasks[0].cancel()
    await asyncio.gather(*tasks[1:])
    with pytest.raises(asyncio.CancelledError):
        await gone
    await group.run_once(one, adding("bad"))  # it comes again
    totals = await found(database)
    assert totals["bad"] == 1
    assert totals["good"] in (BURST - 1, BURST)
    await group.close()
    await database.close()


async def test_everybody_hears_that_the_database_does_not_answer() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    group = GroupCommit(database)
    outcomes = await asyncio.gather(
        *(group.run_once(message(), adding("good")) for _ in range(BURST)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * BURST
    await group.close()
    await database.close()
