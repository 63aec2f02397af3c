"""The dataset at one moment, as its manifest: read and written in portions, so that nothing else waits for it.

A manifest's version is a hash of its bytes: the same images give the same version.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.dialects import among
from services.labeler_api.ledger.tables import image_table, slot_table, variant_table
from services.labeler_api.ledger.transaction import Row
from services.labeler_api.pictures import images
from services.labeler_api.pictures.framing import frame_in
from services.labeler_api.pictures.images import Status
from shared.manifest import ManifestImage, ManifestVariant, dump_manifest
from shared.taxonomy import Condition, Fold

PORTION = 500  # images read at a time: some 10 ms of the event loop's

_TOLD = (
    *("id", "root_id", "key", "sha256", "fold", "labels", "complete", "skin_tone", "provider", "status"),
    *("frame", "corrected_square"),
)
# Of any status, for a database that sees one in the condition may sort all of that status for every portion.
_PORTION = (
    sa.select(*(image_table.c[name] for name in _TOLD), slot_table.c.subject)
    # The slot's subject is that of its last attempt: of an image of an earlier one, nobody knows any more.
    .outerjoin(
        slot_table,
        sa.and_(
            slot_table.c.id == image_table.c.slot_id,
            slot_table.c.image_id == image_table.c.id,
            slot_table.c.attempt == image_table.c.attempt,
        ),
    )
    .where(image_table.c.id > sa.bindparam("after"))
    .order_by(image_table.c.id)
    .limit(PORTION)
)
_VARIANTS = (
    sa.select(variant_table).where(among(variant_table.c.image_id, "images")).order_by(variant_table.c.operation)
)
_BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True)
class Dataset:
    """A dataset version: its manifest, and its row in the ledger."""

    manifest: bytes
    row: dict[str, Any]


async def read_dataset(database: Database) -> Dataset:
    """The accepted images, with their variants, at one moment. Raises DatabaseUnavailable."""
    parts: list[bytes] = []
    digest = hashlib.sha256()
    shown: Counter[Condition] = Counter()
    folds: Counter[Fold] = Counter()
    count = variants = without = 0
    async for entries in _portions(database):
        part = dump_manifest(entries)
        parts.append(part)
        digest.update(part)
        shown.update(condition for entry in entries for condition in entry.labels)
        folds.update(entry.fold for entry in entries)
        count += len(entries)
        variants += sum(len(entry.variants) for entry in entries)
        without += sum(not entry.variants for entry in entries)
    version = f"ds-{digest.hexdigest()[:16]}"
    row = {
        "version": version,
        "manifest_key": f"datasets/{version}/manifest.jsonl",
        "counts": {condition.value: shown[condition] for condition in Condition},
        "folds": {fold.value: folds[fold] for fold in Fold},
        "images": count,
        "variants": variants,
        "without_variants": without,
        "created_at": time.time(),
    }
    return Dataset(await asyncio.to_thread(b"".join, parts), row)


async def _portions(database: Database) -> AsyncIterator[list[ManifestImage]]:
    """The manifest's entries, ordered by image id, as they all are at one moment."""
    after = _BEFORE_ALL
    async with database.snapshot() as connection:
        while rows := await rows_of(connection, _PORTION, after=after):
            yield await _entries(connection, [row for row in rows if row["status"] == Status.ACCEPTED])
            after = rows[-1]["id"]
            await asyncio.sleep(0)


async def _entries(connection: AsyncConnection, rows: list[Row]) -> list[ManifestImage]:
    by_image: defaultdict[UUID, list[ManifestVariant]] = defaultdict(list)
    for row in await rows_of(connection, _VARIANTS, images=[row["id"] for row in rows]):
        variant = ManifestVariant(operation=row["operation"], key=row["key"], sha256=row["sha256"])
        by_image[row["image_id"]].append(variant)
    return [
        ManifestImage(
            image_id=row["id"],
            root_id=row["root_id"],
            key=row["key"],
            sha256=row["sha256"],
            fold=Fold(row["fold"]),
            labels=images.load_labels(row["labels"]),
            complete=row["complete"],
            skin_tone=row["skin_tone"],
            provider=row["provider"],
            variants=tuple(by_image[row["id"]]),
            frame=frame_in(row),
            age_band=(row["subject"] or {}).get("age_band"),
            sex=(row["subject"] or {}).get("sex"),
        )
        for row in rows
    ]
