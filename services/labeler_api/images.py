"""Images in the ledger: recorded once, moved between statuses, with every counter kept in step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api import counters, deferred
from services.labeler_api.database import row_of
from services.labeler_api.perceptual_hash import bands, near_duplicates
from services.labeler_api.statements import per_dialect
from services.labeler_api.tables import image_bands, image_labels, images, variants
from shared.errors import NotFound
from shared.taxonomy import Condition, Severity, fold_of

SHARING = 10_000  # most shared bands looked at, so that the cost of one look has a bound

Labels = Mapping[Condition, Severity | None]


class Status(StrEnum):
    """Where an image stands."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True)
class NewImage:
    """An image that lies in the store and is not in the ledger yet. Sizes in pixels, as displayed."""

    id: UUID
    key: str
    sha256: str
    media_type: str
    width: int
    height: int
    labels: Labels
    complete: bool = True
    skin_tone: int | None = None
    root_id: UUID | None = None  # None: it is a root itself
    provider: str | None = None
    provider_model: str | None = None
    provider_request_id: str | None = None
    prompt: str | None = None
    cost_micro_usd: int = 0
    quality: dict[str, float] = field(default_factory=dict)
    hash: bytes | None = None
    slot_id: UUID | None = None
    attempt: int | None = None


_BANDS: sa.BindParameter[Any] = sa.bindparam("bands", expanding=True)
_SHARING = (
    sa.select(image_bands.c.perceptual_hash)
    .where(image_bands.c.band.in_(_BANDS), image_bands.c.image_id != sa.bindparam("itself"))
    .limit(SHARING)
)
_TWIN = (
    sa.select(images.c.id)
    .join(image_bands, image_bands.c.image_id == images.c.id)
    .where(
        image_bands.c.band.in_(_BANDS),
        image_bands.c.perceptual_hash.in_(sa.bindparam("hashes", expanding=True)),
        images.c.status != Status.REJECTED.value,
        images.c.id != sa.bindparam("itself"),
    )
    .order_by(images.c.sequence)
    .limit(1)
)
_RECORD = per_dialect(
    lambda insert: insert(images).on_conflict_do_nothing(index_elements=["id"]).returning(images.c.sequence)
)
_INSERT_LABELS = sa.insert(image_labels)
_AUGMENT = (
    sa.update(images)
    .where(images.c.id == sa.bindparam("which"), images.c.augmented_at.is_(None))
    .returning(images.c.status, images.c.slot_id)
)
_EXISTS = sa.select(images.c.id).where(images.c.id == sa.bindparam("which"))
_LOCK = sa.select(images).where(images.c.id == sa.bindparam("which")).with_for_update()
UPDATE = sa.update(images).where(images.c.id == sa.bindparam("which"))
"""Sets the columns it is executed with on the image that is `which`."""


def dump_labels(labels: Labels) -> dict[str, int | None]:
    """Labels as the ledger keeps them, in the order of the conditions."""
    return {c.value: None if labels[c] is None else int(labels[c] or 0) for c in Condition if c in labels}


def load_labels(stored: Mapping[str, int | None]) -> dict[Condition, Severity | None]:
    """Labels as the code uses them."""
    return {Condition(name): None if value is None else Severity(value) for name, value in stored.items()}


def counted(status: str, labels: Mapping[str, int | None], weight: int = 1) -> Counter[str]:
    """What one image adds to the counters."""
    changes = Counter({f"images/{status}": weight})
    for condition, severity in labels.items():
        changes[f"labels/{status}/{condition}/{severity or 0}"] += weight
        changes[f"shows/{status}/{condition}"] += weight
    return changes


async def record(connection: AsyncConnection, image: NewImage, status: Status, **extra: Any) -> dict[str, Any] | None:
    """Insert an image with its labels, bands and counters. Its row, or None if it was there already."""
    now = time.time()
    labels = dump_labels(image.labels)
    root = image.root_id or image.id
    values = {
        "id": image.id,
        "status": status.value,
        "key": image.key,
        "sha256": image.sha256,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "labels": labels,
        "complete": image.complete,
        "skin_tone": image.skin_tone,
        "root_id": root,
        "fold": fold_of(root).value,
        "provider": image.provider,
        "provider_model": image.provider_model,
        "provider_request_id": image.provider_request_id,
        "prompt": image.prompt,
        "cost_micro_usd": image.cost_micro_usd,
        "quality": image.quality,
        "perceptual_hash": image.hash,
        "slot_id": image.slot_id,
        "attempt": image.attempt,
        "created_at": now,
        **extra,
    }
    inserted = await row_of(connection, _RECORD[connection.dialect.name], **values)
    if inserted is None:
        return None
    deferred.insert(connection, image_labels, _label_rows(image.id, labels, inserted["sequence"]))
    if image.hash is not None:
        rows = [{"band": band, "image_id": image.id, "perceptual_hash": image.hash} for band in bands(image.hash)]
        deferred.insert(connection, image_bands, rows)
    changes = counted(status, labels)
    if status is Status.ACCEPTED:
        changes["unaugmented"] += 1
    counters.add(connection, changes)
    return {**dict.fromkeys(images.c.keys()), **values, **inserted}


async def augment(connection: AsyncConnection, image_id: UUID, copies: Sequence[Mapping[str, Any]]) -> UUID | None:
    """List an image's variants, once: columns of their table. The slot that it was made for. Raises NotFound."""
    now = {"augmented_at": time.time(), "augment_due_at": None}
    row = await row_of(connection, _AUGMENT, which=image_id, **now)
    if row is None:
        if await row_of(connection, _EXISTS, which=image_id) is None:
            raise NotFound(f"There is no image {image_id}.")
        return None
    deferred.insert(connection, variants, [{"image_id": image_id, **copy} for copy in copies])
    if row["status"] == Status.ACCEPTED:
        counters.add(connection, {"variants": len(copies), "unaugmented": -1})
    slot_id: UUID | None = row["slot_id"]
    return slot_id


async def relabel(
    connection: AsyncConnection, row: Mapping[str, Any], status: Status, labels: dict[str, int | None], **extra: Any
) -> None:
    """Move an image to a status and labels, from those in `row`; counters follow."""
    changes = counted(status, labels)
    changes.subtract(counted(row["status"], row["labels"]))
    entering = (status is Status.ACCEPTED) - (row["status"] == Status.ACCEPTED)
    if entering and row["augmented_at"] is None:
        changes["unaugmented"] += entering
    elif entering:  # variants share their source's fate
        query = sa.select(sa.func.count()).where(variants.c.image_id == row["id"])
        changes["variants"] += entering * (await connection.execute(query)).scalar_one()
    values = {"status": status.value, "labels": labels, "labeled_at": time.time(), **extra}
    await connection.execute(UPDATE, {**values, "which": row["id"]})
    if labels != row["labels"]:
        await connection.execute(sa.delete(image_labels).where(image_labels.c.image_id == row["id"]))
        if rows := _label_rows(row["id"], labels, row["sequence"]):
            await connection.execute(_INSERT_LABELS, rows)
    counters.add(connection, changes)


def _label_rows(image_id: UUID, labels: Mapping[str, int | None], sequence: int) -> list[dict[str, Any]]:
    return [
        {"image_id": image_id, "condition": condition, "severity": severity, "sequence": sequence}
        for condition, severity in labels.items()
    ]


async def near_duplicate(connection: AsyncConnection, hash_: bytes, *, of_other_than: UUID) -> UUID | None:
    """An image in the dataset or waiting for it that looks the same, or None."""
    wanted = bands(hash_)
    later = deferred.of(connection)
    if any(row["band"] in wanted for row in later.rows[image_bands]):  # of one that came with it
        await later.insert_into(connection, image_bands)
    look = {"bands": wanted, "itself": of_other_than}
    sharing = (await connection.execute(_SHARING, look)).scalars().all()
    near = near_duplicates(hash_, sharing)
    if not near:
        return None
    twin: UUID | None = (await connection.execute(_TWIN, {**look, "hashes": near})).scalar()
    return twin


async def locked(connection: AsyncConnection, image_id: UUID) -> dict[str, Any] | None:
    """An image's row, locked until the transaction ends; None if there is none."""
    return await row_of(connection, _LOCK, which=image_id)
