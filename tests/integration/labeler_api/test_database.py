"""The ledger's schema and its database: migrations, start without it, and its going away meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.app import build
from services.labeler_api.ledger import counters
from services.labeler_api.ledger.database import Database, async_url
from services.labeler_api.ledger.tables import metadata
from services.labeler_api.ledger.transaction import Transaction
from shared.embedded.bus import InProcessBus
from shared.errors import ConfigurationError, DatabaseUnavailable, EvenskinError
from shared.taxonomy import Condition
from tests.eventually import eventually
from tests.fakes.blobs import FailingBlobs
from tests.fakes.pictures import png
from tests.integration.labeler_api.recount import counted
from tests.integration.labeler_api.support import Labeler, labeler, settings_of


async def tables_of(database: Database) -> set[str]:
    """Names of the tables that are there."""
    async with database.reading() as connection:
        return set(await connection.run_sync(lambda c: sa.inspect(c).get_table_names()))


def config_of(connection: sa.Connection) -> Config:
    """Alembic's configuration, on a connection."""
    config = Config()
    config.set_main_option("script_location", "services/labeler_api/ledger/migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def test_migrations_make_what_the_code_expects(database_url: str) -> None:
    database = Database(database_url)
    await database.migrate()
    await database.migrate()  # again: nothing to do
    assert await tables_of(database) == {*metadata.tables, "alembic_version"}

    async with database.reading() as connection:
        difference = await connection.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c, opts={"compare_type": True}), metadata)
        )
    assert difference == []
    await database.close()


async def test_every_migration_can_be_taken_back(database_url: str) -> None:
    database = Database(database_url)
    await database.migrate()
    for revision in ("0001", "base"):

        async def back(connection: AsyncConnection, to: str = revision) -> None:
            await connection.run_sync(lambda c: command.downgrade(config_of(c), to))

        async with database._engine.begin() as connection:
            await back(connection)
        if revision == "0001":
            await database.migrate()
    assert await tables_of(database) == {"alembic_version"}
    await database.migrate()
    await database.close()


async def test_campaigns_and_slots_of_the_first_schema_are_whole(database_url: str) -> None:
    database = Database(database_url)
    async with database._engine.begin() as connection:
        await connection.run_sync(lambda c: command.upgrade(config_of(c), "0001"))
        campaign, slot, image = (uuid4().hex for _ in range(3))
        await connection.execute(
            sa.text(
                "INSERT INTO campaigns (id, state, targets, quotas, total, review, max_attempts, price_micro_usd,"
                " committed_micro_usd, correlation_id, created_at)"
                f" VALUES ('{campaign}', 'running', '{{}}', '[]', 1, 'auto', 3, 1, 1, 'c', 0)"
            )
        )
        await connection.execute(
            sa.text(
                "INSERT INTO slots"
                " (id, campaign_id, position, condition, severity, state, attempt, subject, rejections)"
                f" VALUES ('{slot}', '{campaign}', 0, 'acne', 1, 'review', 2, '{{}}', '[]')"
            )
        )
        await connection.execute(
            sa.text(
                "INSERT INTO images (id, status, key, sha256, media_type, width, height, labels, complete, root_id,"
                " fold, cost_micro_usd, quality, slot_id, attempt, created_at)"
                f" VALUES ('{image}', 'pending', 'k', 's', 'image/png', 1, 1, '{{}}', TRUE, '{image}', 'train', 0,"
                f" '{{}}', '{slot}', 2, 0)"
            )
        )
    await database.migrate()
    async with database.reading() as connection:
        found = (await connection.execute(sa.select(metadata.tables["slots"].c.image_id))).scalar_one()
        made = (await connection.execute(sa.select(metadata.tables["campaigns"].c.slots_made))).scalar_one()
    assert found.hex == image
    assert made == 1
    await database.close()


async def test_bands_survive_their_move_into_the_index_and_back(database_url: str) -> None:
    database = Database(database_url)
    image = uuid4().hex
    async with database._engine.begin() as connection:
        await connection.run_sync(lambda c: command.upgrade(config_of(c), "0004"))
        await connection.execute(
            sa.text(
                "INSERT INTO images (id, status, key, sha256, media_type, width, height, labels, complete, root_id,"
                " fold, cost_micro_usd, quality, created_at)"
                f" VALUES ('{image}', 'accepted', 'k', 's', 'image/png', 1, 1, '{{}}', TRUE, '{image}', 'train', 0,"
                " '{}', 0)"
            )
        )
        await connection.execute(
            sa.text(f"INSERT INTO image_bands (band, image_id, perceptual_hash) VALUES (7, '{image}', NULL)")
        )
    bands = metadata.tables["image_bands"]
    for _ in range(2):
        await database.migrate()
        async with database.reading() as connection:
            found = (await connection.execute(sa.select(bands.c.band, bands.c.image_id))).one()
            if database.is_sqlite:
                sql = sa.text("SELECT sql FROM sqlite_master WHERE name = 'image_bands'")
                assert "WITHOUT ROWID" in (await connection.execute(sql)).scalar_one()
        assert (found.band, found.image_id.hex) == (7, image)
        async with database._engine.begin() as connection:
            await connection.run_sync(lambda c: command.downgrade(config_of(c), "0004"))
    await database.close()


async def test_the_tones_of_an_older_ledger_are_counted(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url) as running:
        await running.imported(2, condition="acne", severity="mild", skin_tone="3")
        await running.imported(1, labels='{"acne": null, "aging": "severe"}', skin_tone="10")
        await running.imported(1, condition="acne", severity="mild")
        running.generator.answer = lambda request: png(1) if request.condition == Condition.ACNE else None
        await running.rebalance(targets={"acne": 5, "redness": 12})
        await eventually(lambda: len(running.generator.requests) == 13)

        async def is_accepted() -> bool:
            return bool((await running.get("/v1/balance"))["images"]["accepted"] == 5)

        await eventually(is_accepted)
        await running.settled()
        before = await counted(running)
    assert {name for name in before if name.startswith("tones/")} > {"tones/acne/1/3", "tones/acne/0/10"}
    database = Database(database_url)
    async with database._engine.begin() as connection:
        await connection.run_sync(lambda c: command.downgrade(config_of(c), "0011"))
    async with database.reading() as connection:
        assert not await counters.totals(connection, "tones/", "reserved_tones/")
    await database.migrate()
    async with database.reading() as connection:
        after = await counters.totals(connection, "tones/", "reserved_tones/")
    assert after == {name: value for name, value in before.items() if "tones/" in name}
    await database.close()


async def test_the_clear_skin_of_an_older_ledger_is_counted(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url) as running:
        await running.imported(2, labels="{}", skin_tone="3")
        await running.imported(1, labels="{}")
        await running.imported(1, labels="{}", complete="false", skin_tone="4")
        await running.imported(1, condition="acne", severity="mild", skin_tone="5")
        await running.settled()
        before = await counted(running)
    clear = {name: value for name, value in before.items() if "clear" in name}
    assert clear == {"shows/accepted/clear": 3, "tones/clear/0/3": 2}
    database = Database(database_url)
    async with database._engine.begin() as connection:
        await connection.run_sync(lambda c: command.downgrade(config_of(c), "0012"))
    async with database.reading() as connection:
        assert not await counters.totals(connection, "shows/accepted/clear", "tones/clear/")
    await database.migrate()
    async with database.reading() as connection:
        assert await counters.totals(connection, "shows/accepted/clear", "tones/clear/") == clear
    await database.close()


async def test_confidences_of_before_are_on_the_new_scale(tmp_path: Path, database_url: str) -> None:
    async with labeler(tmp_path, database_url=database_url) as running:
        for image_id in await running.imported(4, condition="acne", severity="mild"):
            await running.review(image_id, "accepted")
    database = Database(database_url)
    async with database._engine.begin() as connection:
        await connection.run_sync(lambda c: command.downgrade(config_of(c), "0012"))
        for sequence, confidence in enumerate(("0.0", "0.8", "1.0", "NULL"), start=1):
            await connection.execute(
                sa.text(f"UPDATE reviews SET confidence = {confidence} WHERE sequence = {sequence}")
            )
    await database.migrate()
    async with database.reading() as connection:
        query = sa.text("SELECT confidence FROM reviews ORDER BY sequence")
        assert (await connection.execute(query)).scalars().all() == [1, 4, 5, None]
    await database.close()


async def test_a_migration_gives_way_to_an_older_version_at_work_and_runs_again(postgres_url: str) -> None:
    database = Database(postgres_url)
    async with database._engine.begin() as connection:
        await connection.run_sync(lambda c: command.upgrade(config_of(c), "0004"))
    older, looking = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
    await older.execute("BEGIN")
    await older.execute("SELECT id FROM images FOR UPDATE")  # images before campaigns, as every work locks them
    migrating = asyncio.create_task(database.migrate())
    await eventually(lambda: looking.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    await older.execute("UPDATE campaigns SET committed_micro_usd = 0")
    await older.execute("COMMIT")
    await migrating
    assert await tables_of(database) == {*metadata.tables, "alembic_version"}
    await older.close()
    await looking.close()
    await database.close()


async def test_replicas_that_start_together_migrate_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    await asyncio.gather(*(database.migrate() for database in databases))
    assert "images" in await tables_of(databases[0])
    for database in databases:
        await database.close()


async def test_a_new_file_can_be_opened_by_several_at_once(tmp_path: Path) -> None:
    for number in range(60):  # of a hundred such openings, six to fifteen failed for somebody
        databases = [Database(f"sqlite:///{tmp_path / str(number)}") for _ in range(4)]
        await asyncio.gather(*(database.check() for database in databases))
        for database in databases:
            await database.close()


async def test_counters_are_found_in_every_collation(postgres_url: str) -> None:
    name = f"test_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"
            " LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'"
        )
        parts = urlsplit(postgres_url)
        database = Database(urlunsplit((parts.scheme, parts.netloc, f"/{name}", "", "")))
        await database.migrate()

        async def count(transaction: Transaction) -> None:
            transaction.count({"shows/accepted/acne": 2, "shows/pending/acne": 5, "reserved/acne": 1})

        await database.write(count)
        async with database.reading() as reading:
            found = await counters.totals(reading, "shows/accepted/", "reserved/")
        assert found == {"shows/accepted/acne": 2, "reserved/acne": 1}
        await database.close()
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


async def test_counters_of_a_transaction_that_failed_are_not_kept(database_url: str) -> None:
    database = Database(database_url)
    await database.migrate()

    async def fail(transaction: Transaction) -> None:
        transaction.count({"variants": 1})
        raise RuntimeError

    async def succeed(transaction: Transaction) -> None:
        transaction.count({"variants": 10})

    for work in (fail, succeed, fail, succeed):
        try:
            await database.write(work)
        except RuntimeError:
            assert work is fail
    async with database.reading() as reading:
        assert await counters.totals(reading, "variants") == {"variants": 20}
    await database.close()


async def fails_to_start(home: Path, error: type[EvenskinError], url: str) -> EvenskinError:
    """Start the service on a database that is not there; its error."""
    bus = InProcessBus()
    await bus.start()
    with pytest.raises(error) as raised:
        await build(settings_of(home, database_url=url), bus=bus, blobs=FailingBlobs(home / "store")).start()
    await bus.close()
    assert raised.value.advice
    return raised.value


async def test_a_start_without_the_database_says_so(tmp_path: Path, postgres_url: str) -> None:
    server = urlsplit(postgres_url)
    plain = tmp_path / "plain"
    plain.write_text("not a database, but a file with more than a hundred characters in it" * 5)
    (tmp_path / "file").write_text("")
    for url in (
        "postgresql://nobody@127.0.0.1:1/none",
        "postgresql://nobody@name.invalid/none",
        urlunsplit((server.scheme, server.netloc, "/no_such_database", "", "")),
        urlunsplit((server.scheme, f"no_such_role@{server.hostname}:{server.port}", server.path, "", "")),
        f"sqlite:///{plain}",
        f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite3'}",
        f"sqlite:///{tmp_path}",
    ):
        error = await fails_to_start(tmp_path, DatabaseUnavailable, url)
        assert "\n" not in error.message, url
    for url in ("mysql://localhost/evenskin", "nonsense", "://"):
        with pytest.raises(ConfigurationError, match="EVENSKIN_DATABASE_URL"):
            async_url(url)


async def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    connection.close()
    error = await fails_to_start(tmp_path, ConfigurationError, f"sqlite:///{path}")
    assert "9999" in error.message


async def test_connections_that_break_are_made_again(tmp_path: Path, postgres_url: str) -> None:
    async with labeler(tmp_path, database_url=postgres_url) as running:
        campaign_id = await running.rebalance(targets={"aging": 6}, review="manual")
        parts = urlsplit(postgres_url)
        admin = await asyncpg.connect(urlunsplit((parts.scheme, parts.netloc, "/postgres", "", "")))
        for _ in range(3):
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", parts.path.strip("/")
            )
            await asyncio.sleep(0.02)
        await admin.close()

        async def all_there() -> list[str] | None:
            answer = await running.call("GET", "/v1/images", params={"status": "pending"})
            if answer.status != 200:
                assert (answer.status, answer.code) == (503, "database_unavailable")
                return None
            found = [image["id"] for image in answer.json["images"]]
            return found if len(found) == 6 else None

        for image_id in await eventually(all_there):
            await running.review(image_id, "accepted")
        await running.reaches(campaign_id, "met")
        assert await running.bus.dead_letters() == []


async def test_an_unreachable_database_is_a_problem_not_a_crash(tmp_path: Path, postgres_url: str) -> None:
    async with labeler(tmp_path, database_url=postgres_url) as running:
        parts = urlsplit(postgres_url)
        admin = await asyncpg.connect(urlunsplit((parts.scheme, parts.netloc, "/postgres", "", "")))
        name = parts.path.strip("/")
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        try:
            for path in ("/v1/balance", "/readyz"):
                answer = await running.call("GET", path)
                assert (answer.status, answer.code) == (503, "database_unavailable")
                assert answer.headers["Retry-After"]
            assert (await running.call("GET", "/healthz")).status == 200
            await running.send("RebalanceRequested", {"targets": {"aging": 1}})
            await eventually(lambda: running.handled("RebalanceRequested", "retried") > 2 * running.settings.max_tries)
            assert await running.bus.dead_letters() == []
        finally:
            await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            await admin.close()

        async def started() -> bool:
            answer = await running.call("GET", "/v1/rebalances")
            return answer.status == 200 and [c["state"] for c in answer.json["rebalances"]] == ["met"]

        await eventually(started)


async def test_two_processes_can_read_one_sqlite_ledger(one: Labeler) -> None:
    other = Database(one.settings.database)
    await one.imported(1, condition="acne")
    async with other.reading() as connection:
        assert (await counters.totals(connection, "images/"))["images/accepted"] == 1
    await other.close()
