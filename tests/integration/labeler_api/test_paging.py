"""Pages and exports leave nothing out: what PostgreSQL commits late is waited for; what is large comes in portions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns import dataset
from services.labeler_api.ledger import paging
from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.tables import image_table
from services.labeler_api.ledger.transaction import Row
from services.labeler_api.web import exports
from shared.manifest import ManifestImage, parse_manifest
from tests.eventually import eventually
from tests.integration.labeler_api.support import Labeler, labeler

INSERT = (
    "INSERT INTO images (id, status, key, sha256, media_type, width, height, labels, complete, root_id, fold,"
    " cost_micro_usd, quality, created_at)"
    " VALUES ($1, 'accepted', 'k', 's', 'image/png', 1, 1, '{\"acne\": 2}', TRUE, $1, 'train', 0, '{}', 0)"
)


@pytest.fixture
async def postgres(tmp_path: Path, postgres_url: str) -> AsyncIterator[Labeler]:
    async with labeler(tmp_path, database_url=postgres_url) as running:
        yield running


async def held_up(url: str, others: int) -> tuple[asyncpg.Connection, UUID, list[UUID]]:
    """An image whose transaction has not committed yet, and images that came after it and have."""
    slow, quick = await asyncpg.connect(url), await asyncpg.connect(url)
    await slow.execute("BEGIN")
    first, *later = (uuid4() for _ in range(1 + others))
    await slow.execute(INSERT, first)
    for image_id in later:
        await quick.execute(INSERT, image_id)
    await quick.close()
    return slow, first, later


async def test_a_page_waits_for_what_comes_before_it(postgres: Labeler, postgres_url: str) -> None:
    slow, first, later = await held_up(postgres_url, others=3)
    reading = asyncio.create_task(postgres.get("/v1/images", params={"limit": "2"}))
    await _waits(postgres_url)
    assert not reading.done()
    await slow.execute("COMMIT")
    page = await reading
    following = await postgres.get("/v1/images", params={"limit": "2", "cursor": page["next_cursor"]})
    listed = [UUID(image["id"]) for image in (*page["images"], *following["images"])]
    assert listed == [first, *later]
    assert following["next_cursor"] is None
    await slow.close()


async def test_what_is_committed_while_a_page_is_read_is_on_it(
    postgres: Labeler, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, first, later = await held_up(postgres_url, others=3)
    look = paging._writing

    async def just_committed(connection: AsyncConnection, table: sa.Table) -> set[str]:
        if not slow.is_closed():
            await slow.execute("COMMIT")
            await slow.close()
        return await look(connection, table)

    monkeypatch.setattr(paging, "_writing", just_committed)
    page = await postgres.get("/v1/images", params={"limit": "2"})
    assert [UUID(image["id"]) for image in page["images"]] == [first, later[0]]
    following = await postgres.get("/v1/images", params={"limit": "2", "cursor": page["next_cursor"]})
    assert [UUID(image["id"]) for image in following["images"]] == later[1:]


async def test_an_export_waits_for_what_comes_before_it(
    postgres: Labeler, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 2)
    slow, first, later = await held_up(postgres_url, others=5)
    reading = asyncio.create_task(postgres.call("GET", "/v1/export", params={"format": "csv"}))
    await _waits(postgres_url)
    await slow.execute("COMMIT")
    lines = (await reading).body.decode().splitlines()[1:]
    assert [UUID(line.partition(",")[0]) for line in lines] == [first, *later]
    await slow.close()


async def test_the_last_page_waits_for_nobody(postgres: Labeler, postgres_url: str) -> None:
    """Nothing follows it that could leave a row out: the late one is another that came meanwhile."""
    slow, _, later = await held_up(postgres_url, others=2)
    page = await postgres.get("/v1/images", params={"limit": "2"})
    assert [UUID(image["id"]) for image in page["images"]] == later
    assert page["next_cursor"] is None
    await slow.execute("ROLLBACK")
    await slow.close()


async def test_a_row_that_is_given_up_is_not_missed(postgres: Labeler, postgres_url: str) -> None:
    slow, _, later = await held_up(postgres_url, others=3)
    reading = asyncio.create_task(postgres.get("/v1/images", params={"limit": "2"}))
    await _waits(postgres_url)
    await slow.execute("ROLLBACK")
    page = await reading
    following = await postgres.get("/v1/images", params={"limit": "2", "cursor": page["next_cursor"]})
    assert [UUID(image["id"]) for image in (*page["images"], *following["images"])] == later
    await slow.close()


async def test_a_page_does_not_wait_for_ever(
    postgres: Labeler, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "SETTLE_S", 0.05)
    slow, _, later = await held_up(postgres_url, others=3)
    page = await postgres.get("/v1/images", params={"limit": "2"})
    assert [UUID(image["id"]) for image in page["images"]] == later[:2]
    await slow.execute("ROLLBACK")
    await slow.close()


async def _waits(url: str) -> None:
    """Return once somebody has looked for transactions under way, and not found the end of them."""
    connection = await asyncpg.connect(url)
    looks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_locks%' AND pid <> pg_backend_pid()"
    await eventually(lambda: connection.fetchval(looks))
    await connection.close()


async def test_a_manifest_of_several_portions_is_whole_and_of_one_moment(
    both: Labeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await both.imported(5, condition="acne", severity="mild")
    await both.settled()
    await both.imported(1, condition="redness")
    await both.settled()
    portions: list[int] = []
    read = dataset._entries

    async def slowly(connection: AsyncConnection, rows: list[Row]) -> list[ManifestImage]:
        if not portions:  # changed while it is read: what is read is what there was
            for image_id in ids:
                assert (await both.review(image_id, "rejected")).status == 201
        portions.append(len(rows))
        return await read(connection, rows)

    monkeypatch.setattr(dataset, "_PORTION", dataset._PORTION.limit(2))
    monkeypatch.setattr(dataset, "_entries", slowly)
    found = await dataset.read_dataset(both.database)
    assert portions == [2, 2, 2]
    entries = list(parse_manifest(found.manifest))
    assert [str(entry.image_id) for entry in entries] == sorted(str(entry.image_id) for entry in entries)
    assert {str(entry.image_id) for entry in entries} >= set(ids)
    assert all(entry.variants for entry in entries)
    row = found.row
    assert (row["images"], row["variants"], row["without_variants"], row["counts"]["acne"]) == (6, 6, 0, 5)


async def test_coco_comes_in_portions(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE", 2)
    database = Database(database_url)
    await database.migrate()
    empty = json.loads(b"".join([chunk async for chunk in exports.coco(database, "http://localhost")]))
    assert (empty["images"], empty["annotations"], len(empty["categories"])) == ([], [], 7)
    async with database._engine.begin() as connection:
        for number in range(5):
            image_id = uuid4()
            row = {
                "id": image_id,
                "root_id": image_id,
                "status": "accepted",
                "key": f"{number}.png",
                "sha256": "s",
                "media_type": "image/png",
                "width": 3,
                "height": 4,
                "labels": {"acne": 2, "aging": None},
                "complete": True,
                "fold": "train",
                "quality": {},
                "created_at": 0.0,
            }
            await connection.execute(sa.insert(image_table), row)
    chunks = [chunk async for chunk in exports.coco(database, "http://localhost")]
    document = json.loads(b"".join(chunks))
    assert [image["file_name"] for image in document["images"]] == [f"{number}.png" for number in range(5)]
    assert [annotation["id"] for annotation in document["annotations"]] == list(range(1, 11))
    assert [annotation["image_id"] for annotation in document["annotations"]] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert max(chunk.count(b'"bbox"') for chunk in chunks) == 2
    assert max(chunk.count(b'"file_name"') for chunk in chunks) == 1
    await database.close()
