"""The unit of work: one transaction on the ledger, handed to every work that shares it.

A row that was locked is in hand until the transaction ends: whoever asks for it again gets the same object, with
what was changed on it. What is inserted, updated, counted and emitted is written together when the transaction ends,
in one statement for all rows of a kind; or sooner, before any statement that could look at it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.ledger import counters
from services.labeler_api.ledger.dialects import among, each, joined
from services.labeler_api.ledger.outbox import outbox_rows
from services.labeler_api.ledger.tables import (
    band_table,
    campaign_table,
    image_table,
    metadata,
    outbox_table,
    slot_table,
)
from shared.message import Message

Row = dict[str, Any]

LOOK_ALIKES_LOCK = 0x616C696B65  # "alike": key of the advisory lock under which images with a look are added
MOST_HASHES = 600  # perceptual hashes read for a band, on average over a look, so that its cost has a bound

_ANY = sa.true()
_REFERRED_FIRST = {table.name: number for number, table in enumerate(metadata.sorted_tables)}

_IMAGE_COLUMNS = (
    *("id", "status", "key", "labels", "complete", "skin_tone", "slot_id", "attempt"),
    *("reviewer", "reason", "disputed", "augmented_at", "augment_due_at", "augment_asks"),
)
"""Columns of an image that its row in hand has."""

_CAMPAIGN_TERMS = ("review", "price_micro_usd", "max_attempts", "max_cost_micro_usd", "correlation_id", "traceparent")
"""Columns of a campaign that never change: a slot's row carries them, so that they are read without a lock."""


@dataclass(frozen=True)
class Prefetch:
    """What one work will look at. Rows of all works of a group are read in one statement a table.

    `slot_id`: a slot that the work locks. `image_id`: an image that it locks, and the slot that this was made for.
    `bands`: bands of perceptual hashes that it looks for. A work that names too little reads the rest by itself.
    """

    slot_id: UUID | None = None
    image_id: UUID | None = None
    bands: tuple[int, ...] = ()


NOTHING = Prefetch()


class Transaction:
    """One writing transaction on the ledger. Made by `Database.write`, which ends it with `flush`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._in_hand: dict[sa.Table, dict[UUID, Row]] = defaultdict(dict)
        self._changed: dict[sa.Table, dict[UUID, set[str]]] = defaultdict(dict)
        self._inserts: defaultdict[sa.Insert, list[Mapping[str, Any]]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._bands: frozenset[int] = frozenset()
        self._hashes = b""

    @property
    def dialect(self) -> str:
        """`postgresql`, or `sqlite`, which has one writer at a time."""
        return self._connection.dialect.name

    # Rows by id

    async def image(self, image_id: UUID) -> Row | None:
        """An image's row, locked until the transaction ends; None if there is none."""
        return await self._locked(image_table, image_id)

    async def slot(self, slot_id: UUID) -> Row | None:
        """A slot's row, locked, with the terms of its campaign; None if there is none."""
        return await self._locked(slot_table, slot_id)

    async def campaign(self, campaign_id: UUID) -> Row | None:
        """A campaign's row, locked until the transaction ends; None if there is none."""
        return await self._locked(campaign_table, campaign_id)

    async def lock_due(
        self,
        table: sa.Table,
        due: sa.ColumnElement[float],
        now: float,
        most: int,
        *,
        only: sa.ColumnElement[bool] = _ANY,
    ) -> list[Row]:
        """Lock the rows of images, slots or campaigns whose time has come, the longest overdue first, at most so many.

        `only`: a further condition; a slot's may name columns of its campaign. Rows that another transaction holds are
        passed over: it is at work on them.
        """
        return await self._lock_some(table, _ROWS[table].where(due < now, only).order_by(due).limit(most))

    async def lock_slots_of(self, campaign_id: UUID, states: Collection[str], most: int) -> list[Row]:
        """Lock slots of a campaign that are in one of these states, at most so many; those held are waited for."""
        await self._write()
        query = sa.select(slot_table.c.id).where(slot_table.c.campaign_id == campaign_id)
        found = await self._connection.execute(query.where(slot_table.c.state.in_(states)).limit(most))
        ids = found.scalars().all()
        await self._lock(slot_table, ids)  # in the order of ids, which the search need not sort by
        return [row for row in map(self._in_hand[slot_table].__getitem__, ids) if row["state"] in states]

    async def lock_where(self, table: sa.Table, condition: sa.ColumnElement[bool], most: int) -> list[Row]:
        """Lock rows of images, slots or campaigns that meet a condition, at most so many, but for those held."""
        return await self._lock_some(table, _ROWS[table].where(condition).limit(most))

    async def _lock_some(self, table: sa.Table, query: sa.Select[Any]) -> list[Row]:
        await self._write()
        query = query.with_for_update(of=table, skip_locked=True)
        found = [dict(row) for row in (await self._connection.execute(query)).mappings()]
        return [self._in_hand[table].setdefault(row["id"], row) for row in found]

    async def prefetch(self, wanted: Sequence[Prefetch]) -> None:
        """Lock and read what the works will look at: images first and then slots, as every work locks them.

        Before all of them, the looks: whoever waits for those holds no row that another one needs to go on.
        """
        bands = frozenset(band for work in wanted for band in work.bands)
        if bands:
            await self.lock_look_alikes()
        await self._lock(image_table, {work.image_id for work in wanted if work.image_id is not None})
        slots = {work.slot_id for work in wanted}
        slots |= {row["slot_id"] for row in self._in_hand[image_table].values()}
        await self._lock(slot_table, {slot_id for slot_id in slots if slot_id is not None})
        if bands:
            self._hashes = await self._read_hashes(bands)
            self._bands = bands

    async def _locked(self, table: sa.Table, key: UUID) -> Row | None:
        await self._lock(table, {key})
        return self._in_hand[table].get(key)

    async def _lock(self, table: sa.Table, keys: Collection[UUID]) -> None:
        """Lock rows that are not in hand: none of them was changed, but one may have been inserted."""
        in_hand = self._in_hand[table]
        if missing := [key for key in keys if key not in in_hand]:
            if any(insertion.table is table for insertion in self._inserts):
                await self._write()
            rows = (await self._connection.execute(_LOCKED_ROWS[table], {"keys": missing})).mappings()
            in_hand.update((row["id"], dict(row)) for row in rows)

    # Perceptual hashes

    async def lock_look_alikes(self) -> None:
        """Wait until nobody else adds images with a look: of two that look the same, one at least sees the other.

        What others committed before is seen by every statement after this one. On SQLite there is one writer anyhow.
        """
        if self.dialect == "postgresql":
            await self._connection.execute(_LOCK_LOOK_ALIKES)

    async def hashes_sharing(self, bands: Collection[int]) -> bytes:
        """The perceptual hashes, joined, of images that share at least one of these bands; those inserted here too."""
        if not self._bands.issuperset(bands):
            await self._write()
            return await self._read_hashes(frozenset(bands))
        return self._hashes

    async def _read_hashes(self, bands: frozenset[int]) -> bytes:
        parameters = {"bands": sorted(bands), "most": MOST_HASHES * len(bands)}
        found: bytes = (await self._connection.execute(_HASHES_SHARING_A_BAND, parameters)).scalar_one()
        return found

    def insert_bands(self, image_id: UUID, hash_: bytes, bands: Sequence[int]) -> None:
        """Insert the bands of an image's perceptual hash, and find it from now on."""
        self.insert(_BANDS_OF_IMAGE, [{"bands_": bands, "image_id_": image_id, "hash_": hash_}])
        self._hashes += hash_

    # Changes

    def update(self, table: sa.Table, row: Row, **changes: Any) -> None:
        """Change a row in hand; the change is written with the others. Raises KeyError if the row is not in hand."""
        if self._in_hand[table][row["id"]] is not row:
            raise KeyError(row["id"])
        row.update(changes)
        self._changed[table].setdefault(row["id"], set()).update(changes)

    def insert(self, into: sa.Table | sa.Insert, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows with the others, what they refer to first. Rows of one table must name the same columns."""
        self._inserts[_insertion(into) if isinstance(into, sa.Table) else into].extend(rows)

    def count(self, changes: Mapping[str, int]) -> None:
        """Add to counters, at the very end: until then nobody waits for their rows."""
        self._counts.update(changes)

    def emit(self, *messages: Message) -> None:
        """Publish events once the transaction is committed (invariant 2)."""
        self.insert(outbox_table, outbox_rows(messages))

    # Everything else

    async def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        """Execute any other statement; what was changed up to now is written before it.

        Raises RuntimeError for one that changes rows of a table of which some are in hand: `update` is for those.
        """
        changed = statement.table if isinstance(statement, sa.Update | sa.Delete) else None
        if isinstance(changed, sa.Table) and self._in_hand.get(changed):
            raise RuntimeError(f"Rows of {changed.name} are in hand: change them with Transaction.update.")
        await self._write()
        result: sa.CursorResult[Any] = await self._connection.execute(statement, parameters)
        return result

    async def totals(self, *prefixes: str) -> dict[str, int]:
        """The totals of every counter whose name starts with one of the prefixes, as this transaction leaves them."""
        found = Counter(await counters.totals(self._connection, *prefixes))
        found.update({name: value for name, value in self._counts.items() if name.startswith(prefixes)})
        return dict(found)

    async def flush(self) -> None:
        """Write everything; counters last."""
        await self._write()
        changes, self._counts = self._counts, Counter()
        await counters.add(self._connection, changes)

    async def _write(self) -> None:
        inserts, self._inserts = self._inserts, defaultdict(list)
        for insertion in sorted(inserts, key=lambda insertion: _REFERRED_FIRST[insertion.table.name]):
            if rows := inserts[insertion]:
                await self._connection.execute(insertion, rows)
        changed, self._changed = self._changed, defaultdict(dict)
        for table, columns_by_key in changed.items():
            alike: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
            for key, columns in columns_by_key.items():
                row = self._in_hand[table][key]
                names = tuple(sorted(columns))
                alike[names].append({"row_id": key, **{name: row[name] for name in names}})
            for updates in alike.values():
                await self._connection.execute(_UPDATE_ROW[table], updates)


@cache
def _insertion(table: sa.Table) -> sa.Insert:
    """The statement that inserts into a table, built once."""
    return sa.insert(table)


_ROWS = {
    # Only what works look at: decoding the rest, prompts and measurements, takes longer than the work.
    image_table: sa.select(*(image_table.c[name] for name in _IMAGE_COLUMNS)),
    campaign_table: sa.select(campaign_table),
    slot_table: sa.select(slot_table, *(campaign_table.c[name] for name in _CAMPAIGN_TERMS)).join(
        campaign_table, campaign_table.c.id == slot_table.c.campaign_id
    ),
}
_LOCKED_ROWS = {
    # In the order of ids, so that no two transactions can deadlock on them.
    table: rows.where(among(table.c.id, "keys")).order_by(table.c.id).with_for_update(of=table)
    for table, rows in _ROWS.items()
}
_UPDATE_ROW = {table: sa.update(table).where(table.c.id == sa.bindparam("row_id")) for table in _ROWS}
_LOCK_LOOK_ALIKES = sa.select(sa.func.pg_advisory_xact_lock(LOOK_ALIKES_LOCK))
_BANDS_OF_IMAGE = sa.insert(band_table).from_select(
    ["band", "image_id", "perceptual_hash"],
    sa.select(
        each("bands_", band_table.c.band.type),
        sa.bindparam("image_id_", type_=band_table.c.image_id.type),
        sa.bindparam("hash_", type_=band_table.c.perceptual_hash.type),
    ),
)
_sharing = (
    sa.select(band_table.c.perceptual_hash)
    .where(among(band_table.c.band, "bands"))
    .limit(sa.bindparam("most"))
    .subquery()
)
_HASHES_SHARING_A_BAND = sa.select(joined(_sharing.c.perceptual_hash))
