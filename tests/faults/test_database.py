"""3. PostgreSQL stopped and started again, with serialisation failures; a deadlock."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import asyncpg
import pytest

from tests.faults import end_state
from tests.faults.deployment import SLOTS, Deployment, Servers, eventually
from tests.faults.private_servers import private_database
from tests.servers.postgres import PostgresServer

LONGEST_OUTAGE_S = 3.0
STOPS = 2
# In one statement, so that even on a busy machine it is done before who waits is looked at for deadlocks.
LOCK_ONCE_WAITED_FOR = """DO $$ BEGIN
    WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))) LOOP
        PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
    END LOOP;
    PERFORM FROM images WHERE id = '{}' FOR UPDATE;
END $$"""


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    """A database server that can be stopped."""
    with private_database() as server:
        yield server


@pytest.fixture
def servers(database: PostgresServer, amqp_url: str, s3_endpoint_url: str, s3_bucket: str) -> Servers:
    """The database that can be stopped, and places on the servers that all tests share."""
    return Servers(amqp_url, database.facts["url"], s3_endpoint_url, s3_bucket)


async def test_the_database_stops_hard_and_serialises_badly(
    deployment: Deployment, database: PostgresServer, seed: int
) -> None:
    random = Random(seed)
    connection = await asyncpg.connect(deployment.servers.database_url)
    await connection.execute("ALTER DATABASE postgres SET default_transaction_isolation = 'repeatable read'")
    await connection.close()
    await deployment.start(random=random)
    async with _rival(deployment.servers.database_url):
        campaign_id = await deployment.request(seed)
        await eventually(
            lambda: deployment.programs["labeler-api"].logged("transaction_retried"), "A serialisation failure"
        )
    for counted in sorted(random.sample(range(SLOTS), STOPS)):
        await deployment.until_counted(counted)
        await asyncio.sleep(random.uniform(0, 0.3))
        await _stop_and_start(database, random)
    await deployment.until_met()
    await _stop_and_start(database, random)  # in mid-training
    await deployment.until_trained()
    await end_state.check(deployment, campaign_id)


@contextlib.asynccontextmanager
async def _rival(url: str) -> AsyncIterator[None]:
    """Somebody who writes a counter that every recorded image writes too, as another replica would."""
    connection = await asyncpg.connect(url, server_settings={"default_transaction_isolation": "read committed"})

    async def write() -> None:
        while True:
            await connection.execute("UPDATE counters SET value = value WHERE name = 'paid'")
            await asyncio.sleep(0.002)

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        connection.terminate()


async def _stop_and_start(database: PostgresServer, random: Random) -> None:
    await asyncio.to_thread(database.kill)
    await asyncio.sleep(random.uniform(0, LONGEST_OUTAGE_S))
    await asyncio.to_thread(database.restart)


async def test_a_transaction_that_loses_a_deadlock_is_run_again(deployment: Deployment) -> None:
    url = deployment.servers.database_url
    rival, observer = await asyncpg.connect(url), await asyncpg.connect(url)
    # Who waits is looked at for deadlocks after this time, and loses them: labeler-api, and never the rival.
    await rival.execute("ALTER DATABASE postgres SET deadlock_timeout = '3s'")
    await rival.execute("SET deadlock_timeout = '1h'")
    await deployment.start()
    augmenter = deployment.programs["augmenter"].process
    augmenter.send(signal.SIGSTOP)
    campaign_id = await deployment.request(3)

    async def accepted() -> Any:
        return await observer.fetchrow("SELECT id, image_id FROM slots WHERE state = 'augmenting'")

    slot = await eventually(accepted, "An accepted image")
    async with rival.transaction():
        # A handler of ImageAugmented locks its image, then its slot: this goes the other way round.
        await rival.execute("SELECT FROM slots WHERE id = $1 FOR UPDATE", slot["id"])
        augmenter.send(signal.SIGCONT)
        await rival.execute(LOCK_ONCE_WAITED_FOR.format(slot["image_id"]))
    await asyncio.gather(rival.close(), observer.close())
    await deployment.until_trained()
    assert deployment.programs["labeler-api"].logged("transaction_retried"), "there was no deadlock"
    await end_state.check(deployment, campaign_id)
