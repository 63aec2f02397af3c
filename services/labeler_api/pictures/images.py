"""Images in the ledger: recorded once, moved between statuses, with every counter kept in step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.ledger import counters, deferred
from services.labeler_api.ledger.database import row_of, rows_of
from services.labeler_api.ledger.statements import among, each, joined, per_dialect
from services.labeler_api.ledger.tables import band_table, image_table, label_table, variant_table
from services.labeler_api.pictures.perceptual_hash import bands, near_duplicates, packed
from shared.errors import NotFound
from shared.taxonomy import Condition, Severity, fold_of

SHARING = 10_000  # most shared bands looked at for one image, so that the cost of a look has a bound

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


_sharing = (
    sa.select(band_table.c.perceptual_hash)
    .where(among(band_table.c.band, "bands"))
    .limit(sa.bindparam("most"))
    .subquery()
)
_SHARING = sa.select(joined(_sharing.c.perceptual_hash))
_TWIN = (
    sa.select(image_table.c.id)
    .join(band_table, band_table.c.image_id == image_table.c.id)
    .where(
        among(band_table.c.band, "bands"),
        band_table.c.perceptual_hash.in_(sa.bindparam("hashes", expanding=True)),
        image_table.c.status != Status.REJECTED.value,
        image_table.c.id != sa.bindparam("itself"),
    )
    .order_by(image_table.c.sequence)
    .limit(1)
)
_RECORD = per_dialect(
    lambda insert: insert(image_table).on_conflict_do_nothing(index_elements=["id"]).returning(image_table.c.sequence)
)
_LABEL = sa.insert(label_table).from_select(
    ["image_id", "condition", "severity", "sequence"],
    sa.select(
        image_table.c.id,
        sa.bindparam("condition_", type_=label_table.c.condition.type),
        sa.bindparam("severity_", type_=label_table.c.severity.type),
        image_table.c.sequence,
    ).where(image_table.c.id == sa.bindparam("which")),
)
_SHOW = sa.insert(band_table).from_select(
    ["band", "image_id", "perceptual_hash"],
    sa.select(
        each("bands_", band_table.c.band.type),
        sa.bindparam("image_id_", type_=band_table.c.image_id.type),
        sa.bindparam("hash_", type_=band_table.c.perceptual_hash.type),
    ),
)
_LOCK_TO_AUGMENT = (
    sa.select(image_table.c.id, image_table.c.status, image_table.c.slot_id, image_table.c.augmented_at)
    .where(among(image_table.c.id, "which"))
    .order_by(image_table.c.id)  # so that no two transactions can deadlock on them
    .with_for_update()
)
_LOCK = sa.select(image_table).where(image_table.c.id == sa.bindparam("which")).with_for_update()
UPDATE = sa.update(image_table).where(image_table.c.id == sa.bindparam("which"))
"""Sets the columns it is executed with on the image that is `which`."""
_EMPTY: dict[str, Any] = dict.fromkeys(name for name in image_table.c.keys() if name != "sequence")  # noqa: SIM118


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


async def record(
    connection: AsyncConnection, image: NewImage, status: Status, *, is_new: bool = False, **extra: Any
) -> dict[str, Any] | None:
    """Add an image with its labels, bands and counters. Its row, less its sequence; None if it was there already.

    `is_new`: the caller knows that it is not there, and holds what others would have to lock to add it. Then it is
    added with the transaction's others.
    """
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
    row = {**_EMPTY, **values}  # every column: rows that are inserted together must name the same ones
    later = deferred.of(connection)
    if is_new:
        deferred.insert(connection, image_table, [row])
    else:
        await deferred.write(connection)  # it may be among it
        if await row_of(connection, _RECORD[connection.dialect.name], **row) is None:
            return None
    deferred.insert(connection, _LABEL, _label_rows(image.id, labels))
    if image.hash is not None:
        later.recorded.append(image.hash)
        shown = {"bands_": bands(image.hash), "image_id_": image.id, "hash_": image.hash}
        deferred.insert(connection, _SHOW, [shown])
    changes = counted(status, labels)
    if status is Status.ACCEPTED:
        changes["unaugmented"] += 1
    counters.add(connection, changes)
    return row


async def lock_ahead(connection: AsyncConnection, image_ids: Collection[UUID]) -> set[UUID]:
    """Lock images in one statement, so that `augment` has each at no cost, once. The slots that they were made for."""
    if not image_ids:
        return set()
    rows = await rows_of(connection, _LOCK_TO_AUGMENT, which=list(image_ids))
    deferred.of(connection).augmentable.update((row["id"], row) for row in rows)
    return {row["slot_id"] for row in rows if row["slot_id"] is not None}


async def augment(connection: AsyncConnection, image_id: UUID, copies: Sequence[Mapping[str, Any]]) -> UUID | None:
    """List an image's variants, once: columns of their table. The slot that it was made for. Raises NotFound."""
    later = deferred.of(connection)
    row = later.augmentable.pop(image_id, None)
    if row is None:
        await deferred.write(connection)  # what another work made of it may be among it
        row = await row_of(connection, _LOCK_TO_AUGMENT, which=[image_id])
    if row is None:
        raise NotFound(f"There is no image {image_id}.")
    if row["augmented_at"] is not None:
        return None
    later.updates[UPDATE][image_id] = {"which": image_id, "augmented_at": time.time(), "augment_due_at": None}
    deferred.insert(connection, variant_table, [{"image_id": image_id, **copy} for copy in copies])
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
        query = sa.select(sa.func.count()).where(variant_table.c.image_id == row["id"])
        changes["variants"] += entering * (await connection.execute(query)).scalar_one()
    values = {"status": status.value, "labels": labels, "labeled_at": time.time(), **extra}
    await connection.execute(UPDATE, {**values, "which": row["id"]})
    if labels != row["labels"]:
        await connection.execute(sa.delete(label_table).where(label_table.c.image_id == row["id"]))
        if rows := _label_rows(row["id"], labels):
            await connection.execute(_LABEL, rows)
    counters.add(connection, changes)


def _label_rows(image_id: UUID, labels: Mapping[str, int | None]) -> list[dict[str, Any]]:
    return [
        {"which": image_id, "condition_": condition, "severity_": severity} for condition, severity in labels.items()
    ]


async def look_ahead(connection: AsyncConnection, hashes: Collection[bytes]) -> None:
    """Read in one statement the hashes of images that share a band with any of these, for `near_duplicate`."""
    if hashes:
        wanted = sorted({band for hash_ in hashes for band in bands(hash_)})
        later = deferred.of(connection)
        later.looked.update(hashes)
        later.alike = await _alike(connection, wanted, SHARING * len(hashes))


async def _alike(connection: AsyncConnection, wanted: list[int], most: int) -> npt.NDArray[np.uint64]:
    return packed((await connection.execute(_SHARING, {"bands": wanted, "most": most})).scalar_one())


async def near_duplicate(connection: AsyncConnection, hash_: bytes, *, of_other_than: UUID) -> UUID | None:
    """An image in the dataset or waiting for it that looks the same, or None."""
    wanted = bands(hash_)
    later = deferred.of(connection)
    sharing = later.alike if hash_ in later.looked else await _alike(connection, wanted, SHARING)
    near = [*near_duplicates(hash_, sharing), *near_duplicates(hash_, packed(b"".join(later.recorded)))]
    if not near:
        return None
    await deferred.write(connection)  # the twin may be among it
    look = {"bands": wanted, "hashes": near, "itself": of_other_than}
    twin: UUID | None = (await connection.execute(_TWIN, look)).scalar()
    return twin


async def locked(connection: AsyncConnection, image_id: UUID) -> dict[str, Any] | None:
    """An image's row, locked until the transaction ends; None if there is none."""
    return await row_of(connection, _LOCK, which=image_id)
