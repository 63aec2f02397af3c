"""The unit of work: rows in hand are what was made of them, whoever looks, and everything is written in its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from services.labeler_api.ledger import counters
from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.outbox import SOURCE
from services.labeler_api.ledger.tables import campaign_table, image_table, outbox_table, slot_table
from services.labeler_api.ledger.transaction import Prefetch, Row, Transaction
from shared.events import ModelPromoted
from shared.message import Message

CAMPAIGN, SLOT, OTHER_SLOT, IMAGE = (UUID(int=number) for number in range(1, 5))


def slot_row(id: UUID) -> Row:
    """A slot of the campaign."""
    return {
        "id": id,
        "campaign_id": CAMPAIGN,
        "position": id.int,
        "condition": "acne",
        "severity": 1,
        "state": "open",
        "attempt": 1,
        "subject": {},
        "rejections": [],
    }


def image_row(id: UUID) -> Row:
    """An image that was made for the slot."""
    return {
        "id": id,
        "status": "pending",
        "key": f"images/{id}",
        "sha256": "",
        "media_type": "image/png",
        "width": 1,
        "height": 1,
        "labels": {},
        "complete": True,
        "root_id": id,
        "fold": "train",
        "quality": {},
        "slot_id": SLOT,
        "created_at": 0.0,
    }


CAMPAIGN_ROW: Row = {
    "id": CAMPAIGN,
    "state": "running",
    "targets": {},
    "quotas": [],
    "total": 2,
    "review": "auto",
    "max_attempts": 3,
    "price_micro_usd": 30_000,
    "correlation_id": "c",
    "created_at": 0.0,
}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    await database.migrate()

    async def fill(transaction: Transaction) -> None:
        # What refers to others first: the transaction must turn it round.
        transaction.insert(slot_table, [slot_row(SLOT), slot_row(OTHER_SLOT)])
        transaction.insert(image_table, [image_row(IMAGE)])
        transaction.insert(campaign_table, [CAMPAIGN_ROW])

    await database.write(fill)
    yield database
    await database.close()


@pytest.fixture
def statements() -> Iterator[Counter[str]]:
    """How often each kind of statement was executed, by its first three words."""
    counted: Counter[str] = Counter()

    def count(_: object, __: object, statement: str, *___: object) -> None:
        counted[" ".join(statement.split()[:3])] += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    yield counted
    sa.event.remove(sa.Engine, "before_cursor_execute", count)


async def states(database: Database) -> dict[UUID, str]:
    """What the slots' rows say."""
    async with database.reading() as connection:
        return {row["id"]: row["state"] for row in await rows_of(connection, sa.select(slot_table))}


async def test_a_row_in_hand_is_the_changed_row(database: Database, statements: Counter[str]) -> None:
    async def work(transaction: Transaction) -> None:
        first = await transaction.slot(SLOT)
        assert first is not None
        transaction.update(slot_table, first, state="review", image_id=IMAGE)
        transaction.update(slot_table, first, state="augmenting")
        again = await transaction.slot(SLOT)
        assert again is first
        assert again["state"] == "augmenting"
        assert not statements["UPDATE slots SET"]

    await database.write(work)
    assert (await states(database))[SLOT] == "augmenting"
    assert statements["UPDATE slots SET"] == 1


async def test_a_slot_in_hand_has_its_campaigns_terms(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        slot = await transaction.slot(SLOT)
        assert slot is not None
        terms = {name: slot[name] for name in ("review", "price_micro_usd", "max_attempts", "max_cost_micro_usd")}
        assert terms == {"review": "auto", "price_micro_usd": 30_000, "max_attempts": 3, "max_cost_micro_usd": None}

    await database.write(work)


async def test_what_is_not_there_is_none(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        for found in (transaction.slot, transaction.image, transaction.campaign):
            assert await found(uuid4()) is None

    await database.write(work)


async def test_changes_are_written_before_any_other_statement_looks(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        slot = await transaction.slot(SLOT)
        assert slot is not None
        transaction.update(slot_table, slot, state="failed")
        transaction.insert(image_table, [image_row(OTHER_SLOT)])
        seen = await rows_of(transaction, sa.select(slot_table).where(slot_table.c.id == SLOT))
        assert [row["state"] for row in seen] == ["failed"]
        assert len(await rows_of(transaction, sa.select(image_table))) == 2

    await database.write(work)


async def test_a_row_that_was_inserted_here_can_be_locked(database: Database) -> None:
    new = uuid4()

    async def work(transaction: Transaction) -> None:
        assert await transaction.image(IMAGE) is not None
        transaction.insert(image_table, [image_row(new)])
        image = await transaction.image(new)
        assert image is not None
        transaction.update(image_table, image, status="accepted")

    await database.write(work)
    async with database.reading() as connection:
        rows = await rows_of(connection, sa.select(image_table))
    assert {row["id"]: row["status"] for row in rows} == {IMAGE: "pending", new: "accepted"}


async def test_rows_in_hand_are_not_changed_behind_their_back(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute(sa.update(slot_table).values(state="review"))  # none is in hand
        assert await transaction.slot(SLOT) is not None
        for statement in (sa.update(slot_table).values(state="failed"), sa.delete(slot_table)):
            with pytest.raises(RuntimeError, match="slots are in hand"):
                await transaction.execute(statement)

    await database.write(work)
    assert set((await states(database)).values()) == {"review"}


async def test_only_a_row_in_hand_is_changed(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        with pytest.raises(KeyError):
            transaction.update(slot_table, slot_row(SLOT), state="failed")
        slot = await transaction.slot(SLOT)
        assert slot is not None
        with pytest.raises(KeyError):
            transaction.update(slot_table, dict(slot), state="failed")

    await database.write(work)
    assert set((await states(database)).values()) == {"open"}


async def test_what_works_will_look_at_is_read_in_one_statement_a_table(
    database: Database, statements: Counter[str]
) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.prefetch([Prefetch(image_id=IMAGE), Prefetch(slot_id=OTHER_SLOT), Prefetch()])
        read = statements.total()
        assert await transaction.image(IMAGE)
        assert await transaction.slot(SLOT)  # the image was made for it
        assert await transaction.slot(OTHER_SLOT)
        assert statements.total() == read

    statements.clear()
    await database.write(work)
    assert statements.total() == 2 + 1  # and BEGIN


async def test_rows_changed_alike_are_written_in_one_statement(database: Database, statements: Counter[str]) -> None:
    async def work(transaction: Transaction) -> None:
        for slot_id in (SLOT, OTHER_SLOT):
            slot = await transaction.slot(slot_id)
            assert slot is not None
            transaction.update(slot_table, slot, state="review", image_id=slot_id)
        transaction.count({"reserved/acne": -1})
        transaction.count({"reserved/acne": -1, "variants": 1})
        assert (await transaction.totals("reserved/")) == {"reserved/acne": -2}

    await database.write(work)
    assert statements["UPDATE slots SET"] == statements["INSERT INTO counters"] == 1
    async with database.reading() as connection:
        assert await counters.totals(connection, "reserved/", "variants") == {"reserved/acne": -2, "variants": 1}


async def test_the_longest_overdue_come_first_and_are_in_hand(database: Database) -> None:
    async def work(transaction: Transaction) -> None:
        for slot_id, deadline in ((SLOT, 20.0), (OTHER_SLOT, 10.0)):
            slot = await transaction.slot(slot_id)
            assert slot is not None
            transaction.update(slot_table, slot, deadline=deadline)
        due = slot_table.c.deadline
        assert await transaction.lock_due(slot_table, due, 10.0, 5) == []
        assert [row["id"] for row in await transaction.lock_due(slot_table, due, 30.0, 5)] == [OTHER_SLOT, SLOT]
        (longest,) = await transaction.lock_due(slot_table, due, 30.0, 1)
        assert longest is await transaction.slot(OTHER_SLOT)

    await database.write(work)


async def test_events_are_rows_of_the_outbox_once_the_transaction_is_committed(database: Database) -> None:
    event = ModelPromoted(version="v", key="k", sha256="0" * 64, promoted_at=0.0, reason="")
    message = Message(event, SOURCE)

    async def fail(transaction: Transaction) -> None:
        transaction.emit(message)
        transaction.count({"variants": 1})
        raise LookupError

    async def succeed(transaction: Transaction) -> None:
        transaction.emit(message, Message(event, SOURCE))

    with pytest.raises(LookupError):
        await database.write(fail)
    await database.write(succeed)
    async with database.reading() as connection:
        rows = await rows_of(connection, sa.select(outbox_table))
        assert await counters.totals(connection, "variants") == {}
    assert [row["event"] for row in rows] == ["ModelPromoted"] * 2
    assert rows[0]["message_id"] == message.id


async def test_hashes_inserted_here_are_found_with_those_that_were_there(
    database: Database, statements: Counter[str]
) -> None:
    there, here = bytes(31) + b"\1", bytes(31) + b"\2"

    async def insert(transaction: Transaction) -> None:
        transaction.insert_bands(IMAGE, there, [7, 8])

    async def look(transaction: Transaction) -> None:
        assert await transaction.hashes_sharing([9]) == b""
        assert await transaction.hashes_sharing([8, 9]) == there
        await transaction.prefetch([Prefetch(bands=(7, 9)), Prefetch(bands=(8,))])
        read = statements["SELECT group_concat(hex(anon_1.perceptual_hash), '')"]
        transaction.insert(image_table, [image_row(OTHER_SLOT)])
        transaction.insert_bands(OTHER_SLOT, here, [7, 9])
        assert await transaction.hashes_sharing([7]) == there * 2 + here
        assert statements["SELECT group_concat(hex(anon_1.perceptual_hash), '')"] == read
        assert await transaction.hashes_sharing([9, 10]) == here  # not all of them were read ahead

    await database.write(insert)
    await database.write(look)
