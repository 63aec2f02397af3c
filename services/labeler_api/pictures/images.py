"""Images in the ledger: recorded once, moved between statuses, with every counter kept in step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.labeler_api.ledger.dialects import among, per_dialect
from services.labeler_api.ledger.tables import band_table, image_table, label_table, variant_table
from services.labeler_api.ledger.transaction import Row, Transaction
from services.labeler_api.pictures.lineage import Twin
from services.labeler_api.pictures.perceptual_hash import (
    NEAR_DUPLICATE_BITS,
    Look,
    bands,
    look_ups,
    near_duplicates,
    packed,
    probes,
)
from shared.frames import Frame
from shared.taxonomy import CLEAR, Condition, Fold, Severity, fold_of

GATE, IMPORT = "gate", "import"  # reviewers that are no person
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
    fold: Fold | None = None  # None: the one that follows from its root
    near_duplicate_of: UUID | None = None
    group_name: str | None = None
    provider: str | None = None
    provider_model: str | None = None
    provider_request_id: str | None = None
    prompt: str | None = None
    cost_micro_usd: int = 0
    quality: dict[str, float] = field(default_factory=dict)
    frame: Frame | None = None
    hash: bytes | None = None
    slot_id: UUID | None = None
    attempt: int | None = None


_OLDEST_OF_EACH_ROOT = (
    sa.select(sa.func.min(image_table.c.sequence))
    .join(band_table, band_table.c.image_id == image_table.c.id)
    .where(
        among(band_table.c.band, "bands"),
        band_table.c.perceptual_hash.in_(sa.bindparam("hashes", expanding=True)),
        image_table.c.id != sa.bindparam("itself"),
    )
    .group_by(image_table.c.root_id, image_table.c.status)
)
_TWINS = (
    sa.select(image_table.c.id, image_table.c.root_id, image_table.c.fold, image_table.c.status)
    .where(image_table.c.sequence.in_(_OLDEST_OF_EACH_ROOT))
    .order_by(image_table.c.sequence)
)
_WITH_BYTES = (
    sa.select(image_table.c.id)
    .join(band_table, band_table.c.image_id == image_table.c.id)
    .where(
        among(band_table.c.band, "bands"),
        band_table.c.perceptual_hash.in_(sa.bindparam("hashes", expanding=True)),
        image_table.c.sha256 == sa.bindparam("sha256"),
    )
    # One that is in the dataset, or waits for a review, before one that was rejected as its copy.
    .order_by(image_table.c.status == Status.REJECTED.value, image_table.c.sequence)
    .limit(1)
)
_INSERT_IF_NEW = per_dialect(
    lambda insert: insert(image_table).on_conflict_do_nothing(index_elements=["id"]).returning(image_table.c.sequence)
)
_LABELS_OF_IMAGE = sa.insert(label_table).from_select(
    ["image_id", "condition", "severity", "sequence"],
    sa.select(
        image_table.c.id,
        sa.bindparam("condition_", type_=label_table.c.condition.type),
        sa.bindparam("severity_", type_=label_table.c.severity.type),
        image_table.c.sequence,
    ).where(image_table.c.id == sa.bindparam("image_id_")),
)
_EVERY_COLUMN: dict[str, Any] = dict.fromkeys(name for name in image_table.c.keys() if name != "sequence")  # noqa: SIM118


def dump_labels(labels: Labels) -> dict[str, int | None]:
    """Labels as the ledger keeps them, in the order of the conditions."""
    return {c.value: None if labels[c] is None else int(labels[c] or 0) for c in Condition if c in labels}


def load_labels(stored: Mapping[str, int | None]) -> dict[Condition, Severity | None]:
    """Labels as the code uses them."""
    return {Condition(name): None if value is None else Severity(value) for name, value in stored.items()}


def counted(
    status: str, labels: Mapping[str, int | None], tone: int | None = None, *, complete: bool = True
) -> Counter[str]:
    """What one image adds to the counters. `tone`: its step of the Monk scale; None: not known.

    `complete`: a condition that is not among the labels is absent; without labels, it is clear skin then.
    """
    changes = Counter({f"images/{status}": 1})
    for condition, severity in labels.items():
        changes[f"labels/{status}/{condition}/{severity or 0}"] += 1
    shown: Mapping[str, int | None] = labels or ({CLEAR: None} if complete else {})
    for kind, severity in shown.items():
        changes[f"shows/{status}/{kind}"] += 1
        if tone is not None and status == Status.ACCEPTED:
            changes[f"tones/{kind}/{severity or 0}/{tone}"] += 1
    return changes


async def record(
    transaction: Transaction, image: NewImage, status: Status, *, is_new: bool = False, **columns: Any
) -> Row | None:
    """Add an image with its labels, the bands of its hash, and its share of the counters.

    `is_new`: the caller knows that the ledger does not have it, and has locked what others must lock to add it; so it
    is inserted with the transaction's others. `columns`: further columns of its row. Returns its row, whose `sequence`
    is not known yet; None if the ledger had the image already.
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
        "fold": (image.fold or fold_of(root)).value,
        "near_duplicate_of": image.near_duplicate_of,
        "group_name": image.group_name,
        "provider": image.provider,
        "provider_model": image.provider_model,
        "provider_request_id": image.provider_request_id,
        "prompt": image.prompt,
        "cost_micro_usd": image.cost_micro_usd,
        "quality": image.quality,
        "frame": None if image.frame is None else image.frame.model_dump(mode="json"),
        "perceptual_hash": image.hash,
        "slot_id": image.slot_id,
        "attempt": image.attempt,
        "created_at": now,
        "augment_asks": 0,
        "disputed": False,
        **columns,
    }
    row = {**_EVERY_COLUMN, **values}  # rows that are inserted together must name the same columns
    if is_new:
        transaction.insert(image_table, [row])
    elif (await transaction.execute(_INSERT_IF_NEW[transaction.dialect], row)).first() is None:
        return None
    transaction.insert(_LABELS_OF_IMAGE, _label_rows(image.id, labels))
    if image.hash is not None:
        transaction.insert_bands(image.id, image.hash, bands(image.hash))
    changes = counted(status, labels, image.skin_tone, complete=image.complete)
    if status is Status.ACCEPTED:
        changes["unaugmented"] += 1
    transaction.count(changes)
    return row


def list_variants(transaction: Transaction, image: Row, variants: Sequence[Mapping[str, Any]]) -> None:
    """List the variants of an image in hand that has none yet; each names the columns of the variants' table.

    Without variants, it is one that nobody waits for any more.
    """
    awaited = image["augmented_at"] is None
    transaction.update(image_table, image, augmented_at=time.time(), augment_due_at=None)
    transaction.insert(variant_table, [{"image_id": image["id"], **variant} for variant in variants])
    if image["status"] == Status.ACCEPTED:
        transaction.count({"variants": len(variants), "unaugmented": -awaited})


async def has_variants(transaction: Transaction, image_id: UUID) -> bool:
    """Whether an image has variants."""
    listed = sa.select(variant_table.c.operation).where(variant_table.c.image_id == image_id).limit(1)
    return (await transaction.execute(listed)).first() is not None


async def relabel(
    transaction: Transaction, image: Row, status: Status, labels: dict[str, int | None], **columns: Any
) -> None:
    """Move an image in hand to a status and labels, and set further columns; the counters follow."""
    after = {**image, **columns}
    changes = counted(status, labels, after["skin_tone"], complete=after["complete"])
    changes.subtract(counted(image["status"], image["labels"], image["skin_tone"], complete=image["complete"]))
    entering = (status is Status.ACCEPTED) - (image["status"] == Status.ACCEPTED)
    if entering and image["augmented_at"] is None:
        changes["unaugmented"] += entering
    elif entering:  # variants share their source's fate
        query = sa.select(sa.func.count()).where(variant_table.c.image_id == image["id"])
        changes["variants"] += entering * (await transaction.execute(query)).scalar_one()
    if labels != image["labels"]:
        await transaction.execute(sa.delete(label_table).where(label_table.c.image_id == image["id"]))
        transaction.insert(_LABELS_OF_IMAGE, _label_rows(image["id"], labels))
    transaction.update(image_table, image, status=status.value, labels=labels, labeled_at=time.time(), **columns)
    transaction.count(changes)


def _label_rows(image_id: UUID, labels: Mapping[str, int | None]) -> list[dict[str, Any]]:
    return [
        {"image_id_": image_id, "condition_": condition, "severity_": severity}
        for condition, severity in labels.items()
    ]


async def twins_of(
    transaction: Transaction, look: Look, *, of_other_than: UUID, most: int = NEAR_DUPLICATE_BITS
) -> list[Twin]:
    """The images that look the same, mirrored or not: the oldest of each root and status, the oldest of all first.

    `most`: the bits in which their hashes differ at most. Rejected ones are among them: they may be accepted yet.
    """
    found = packed(await transaction.hashes_sharing(look_ups(look, most)))
    near = {*near_duplicates(look.hash, found, most), *near_duplicates(look.mirrored, found, most)}
    if not near:
        return []
    rows = (await transaction.execute(_TWINS, {**_having(near), "itself": of_other_than})).mappings()
    return [Twin(row["id"], row["root_id"], Fold(row["fold"]), row["status"] != Status.REJECTED) for row in rows]


async def with_bytes(transaction: Transaction, sha256: str, look: Look) -> UUID | None:
    """The image whose stored bytes have this SHA-256, among those that look the same as theirs; None if none has.

    Not the same to the bit: what was kept as a JPEG was looked at before it became one.
    """
    found = packed(await transaction.hashes_sharing(probes(look.hash, NEAR_DUPLICATE_BITS)))
    near = near_duplicates(look.hash, found)
    if not near:
        return None
    image_id: UUID | None = (await transaction.execute(_WITH_BYTES, {**_having(near), "sha256": sha256})).scalar()
    return image_id


def _having(hashes: Iterable[bytes]) -> dict[str, Any]:
    """The parameters that find images by their hashes, each by one band of its own."""
    hashes = sorted(hashes)
    return {"bands": sorted({bands(hash_)[0] for hash_ in hashes}), "hashes": hashes}
