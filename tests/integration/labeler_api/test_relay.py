"""The relay: every event goes out once it can, and none holds up another, nor the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.outbox import SOURCE
from services.labeler_api.ledger.relay import Relay
from services.labeler_api.ledger.tables import outbox_table
from services.labeler_api.ledger.transaction import Row, Transaction
from shared.embedded.bus import InProcessBus
from shared.events import ImageAugmented
from shared.message import Message
from tests.eventually import LIMIT_S, eventually
from tests.fakes.bus import Listener


def message(number: int) -> Message:
    """One of many messages."""
    return Message(ImageAugmented(image_id=UUID(int=number), variants=()), SOURCE)


class StalledBus(InProcessBus):
    """Confirms nothing before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.confirm = asyncio.Event(), asyncio.Event()

    async def publish(self, message: Message) -> None:
        self.asked.set()
        await self.confirm.wait()
        await super().publish(message)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.migrate()
    yield database
    await database.close()


async def emit(database: Database, *messages: Message) -> None:
    """Put events into the outbox."""

    async def work(transaction: Transaction) -> None:
        transaction.emit(*messages)

    await database.write(work)


async def outbox(database: Database) -> list[Row]:
    """What is in it."""
    async with database.reading() as connection:
        return await rows_of(connection, sa.select(outbox_table).order_by(outbox_table.c.sequence))


async def spoil(database: Database, **columns: Any) -> None:
    """Make the second row one that no version of this program can have written."""

    async def work(transaction: Transaction) -> None:
        second = (await rows_of(transaction, sa.select(outbox_table).order_by(outbox_table.c.sequence)))[1]
        update = sa.update(outbox_table).where(outbox_table.c.sequence == second["sequence"])
        await transaction.execute(update.values(columns))

    await database.write(work)


@pytest.mark.parametrize("columns", [{"event": "ImageDreamt"}, {"body": {"image_id": 7}}, {"body": None}], ids=str)
async def test_an_event_that_cannot_be_published_is_parked_and_its_neighbours_go_out_once(
    database: Database, columns: dict[str, Any]
) -> None:
    bus = InProcessBus()
    listener = Listener(bus)
    await bus.start()
    await listener.start(ImageAugmented)
    relay = Relay(database, bus)
    await emit(database, *map(message, range(3)))
    await spoil(database, **columns)
    with capture_logs() as logs:
        running = asyncio.create_task(relay.run())
        (parked,) = await eventually(lambda: _alone(database))
        await eventually(lambda: len(listener.heard) == 2)
        for _ in range(3):  # rounds more: nothing is tried or sent again
            await emit(database, message(9))
            await eventually(lambda: _alone(database))
    assert parked["parked_at"] is not None
    assert parked["error"]
    assert [line["log_level"] for line in logs if line["event"] == "event_parked"] == ["error"]
    assert len(listener.heard) == 2 + 3
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()


async def _alone(database: Database) -> list[Row] | None:
    rows = await outbox(database)
    return rows if len(rows) == 1 else None


async def test_what_was_parked_is_tried_again_after_a_start(database: Database) -> None:
    bus = InProcessBus()
    listener = Listener(bus)
    await bus.start()
    await listener.start(ImageAugmented)
    relay = Relay(database, bus)
    await emit(database, message(0), message(1))
    good = (await outbox(database))[1]["body"]
    await spoil(database, body={"image_id": 7})
    running = asyncio.create_task(relay.run())
    await eventually(lambda: _alone(database))

    async def mend(transaction: Transaction) -> None:  # as a newer version would: it knows the event
        await transaction.execute(sa.update(outbox_table).values(body=good))

    await database.write(mend)
    await database.write(relay.unpark)
    await eventually(lambda: len(listener.heard) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()


async def test_a_stalled_broker_does_not_hold_up_the_one_writer_of_sqlite(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    await database.migrate()
    bus = StalledBus()
    await bus.start()
    await Listener(bus).start(ImageAugmented)
    relay = Relay(database, bus)
    await emit(database, message(0))
    running = asyncio.create_task(relay.run())
    async with asyncio.timeout(LIMIT_S):
        await bus.asked.wait()
        await emit(database, message(1))  # while the first one waits for its confirm
        assert len(await outbox(database)) == 2
        bus.confirm.set()
    await eventually(lambda: _empty(database))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()
    await database.close()


async def _empty(database: Database) -> bool:
    return not await outbox(database)
