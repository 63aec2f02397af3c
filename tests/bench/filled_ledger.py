"""A ledger that holds many images already, written in bulk as the handlers would have written them one by one."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import numpy as np
import numpy.typing as npt

from services.labeler_api.campaigns.campaign import CampaignState
from services.labeler_api.campaigns.slot import SlotState
from services.labeler_api.ledger.tables import metadata
from services.labeler_api.pictures.images import Status, counted, dump_labels
from services.labeler_api.pictures.perceptual_hash import BANDS, bands
from shared.taxonomy import Condition, Severity, fold_of, generated_image_id

LIKENESS = 0.0041
"""How many bands two pictures share on average: measured over 300 faces of the procedural provider, which resemble
each other as generated faces do. Noise shares 0.0002, which would make the search for near-duplicates cheap."""


def hashes(count: int, like: Sequence[bytes], seed: int) -> list[bytes]:
    """Perceptual hashes that share as many bands with those in `like`, as faces do."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 1 << 16, (count, BANDS))
    models = np.array([[band & 0xFFFF for band in bands(value)] for value in like])
    shares_band = random.random((count, BANDS)) < LIKENESS / BANDS * len(like)
    rows = random.integers(0, len(like), (count, BANDS))
    values = np.where(shares_band, models[rows, np.arange(BANDS)], values)
    bits = (values[:, None, :] >> np.arange(15, -1, -1)[None, :, None]) & 1
    packed: npt.NDArray[np.uint8] = np.packbits(bits.reshape(count, -1).astype(np.uint8), axis=1)
    return [row.tobytes() for row in packed]


async def fill(url: str, images: int, like: Sequence[bytes]) -> dict[Condition, int]:
    """Write so many accepted, augmented images of one campaign that is met. Returns how many show each condition."""
    now = time.time()
    campaign_id = uuid4()
    kinds = list(product(Condition, Severity))
    slots, recorded = [], []
    changes: Counter[str] = Counter({"variants": images})
    shown: Counter[Condition] = Counter()
    for number, hash_ in enumerate(hashes(images, like, seed=images), 1):
        condition, severity = kinds[number % len(kinds)]
        slot_id = uuid4()
        image_id = generated_image_id(slot_id, 1)
        labels = dump_labels({condition: severity})
        changes.update(counted(Status.ACCEPTED, labels, tone=5))
        changes[f"campaign/{campaign_id}/{SlotState.COUNTED}/{condition}/{int(severity)}"] += 1
        shown[condition] += 1
        slots.append(_slot(slot_id, campaign_id, image_id, number, condition, severity))
        recorded.append(_image(image_id, slot_id, number, labels, hash_, now))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET session_replication_role = replica")  # foreign keys: these rows are consistent
        await _copy(connection, "campaigns", [_campaign(campaign_id, images, now)])
        await _copy(connection, "slots", slots)
        await _copy(connection, "images", recorded)
        await _copy(connection, "image_labels", map(_label, recorded))
        await _copy(connection, "image_bands", (row for image in recorded for row in _bands(image)))
        await _copy(connection, "variants", map(_variant, recorded))
        await _copy(connection, "inbox", (row for _ in recorded for row in _inbox(now)))
        await _copy(connection, "counters", ({"name": n, "shard": 0, "value": v} for n, v in changes.items()))
        for table in ("images", "campaigns"):
            last = f"(SELECT max(sequence) FROM {table})"
            await connection.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'sequence'), {last})")
        await connection.execute("VACUUM ANALYZE")  # as autovacuum would have done long since
    finally:
        await connection.close()
    return shown


async def _copy(connection: asyncpg.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    first, *others = list(rows)
    columns = list(first)
    missing = {c.name for c in metadata.tables[table].columns if not c.nullable} - set(columns)
    assert not missing, f"{table} lacks {missing}"
    records = ([row[name] for name in columns] for row in (first, *others))
    await connection.copy_records_to_table(table, records=records, columns=columns)


def _campaign(campaign_id: UUID, total: int, now: float) -> dict[str, Any]:
    return {
        "sequence": 1, "id": campaign_id, "state": CampaignState.MET, "targets": "{}", "quotas": "[]", "total": total,
        "slots_made": total,
        "review": "auto", "max_attempts": 3, "price_micro_usd": 30_000, "committed_micro_usd": 30_000 * total,
        "correlation_id": str(uuid4()), "created_at": now, "met_at": now,
    }  # fmt: skip


def _slot(
    slot_id: UUID, campaign_id: UUID, image_id: UUID, position: int, condition: Condition, severity: Severity
) -> dict[str, Any]:
    subject = {"age_band": "30-44", "skin_tone": 5, "sex": "female", "light": "daylight", "view": "front"}
    return {
        "id": slot_id, "campaign_id": campaign_id, "position": position, "condition": condition.value,
        "severity": int(severity), "state": SlotState.COUNTED, "attempt": 1, "subject": json.dumps(subject),
        "rejections": "[]", "unsettled": "[]", "image_id": image_id,
    }  # fmt: skip


def _image(
    image_id: UUID, slot_id: UUID, sequence: int, labels: dict[str, int | None], hash_: bytes, now: float
) -> dict[str, Any]:
    return {
        "sequence": sequence, "id": image_id, "status": Status.ACCEPTED.value,
        "key": f"images/{image_id}/original.png", "sha256": "0" * 64, "media_type": "image/png", "width": 256,
        "height": 256, "labels": json.dumps(labels), "complete": True, "skin_tone": 5, "root_id": image_id,
        "fold": fold_of(image_id).value, "provider": "fake", "provider_model": "noise-1", "prompt": "a portrait",
        "cost_micro_usd": 30_000, "quality": json.dumps({"brightness": 127.5, "contrast": 45.0, "sharpness": 900.0}),
        "perceptual_hash": hash_, "slot_id": slot_id, "attempt": 1, "reviewer": "gate", "created_at": now,
        "labeled_at": now, "augmented_at": now, "augment_asks": 0,
    }  # fmt: skip


def _label(image: dict[str, Any]) -> dict[str, Any]:
    ((condition, severity),) = json.loads(image["labels"]).items()
    return {
        "image_id": image["id"], "condition": condition, "severity": severity, "sequence": image["sequence"],
    }  # fmt: skip


def _bands(image: dict[str, Any]) -> Iterator[dict[str, Any]]:
    hash_ = image["perceptual_hash"]
    return ({"band": band, "image_id": image["id"], "perceptual_hash": hash_} for band in bands(hash_))


def _variant(image: dict[str, Any]) -> dict[str, Any]:
    return {
        "image_id": image["id"], "operation": "hflip", "key": f"images/{image['id']}/hflip.png", "sha256": "0" * 64,
        "width": 256, "height": 256,
    }  # fmt: skip


def _inbox(now: float) -> list[dict[str, Any]]:
    return [{"message_id": f"{event}/{uuid4()}", "received_at": now} for event in ("ImageGenerated", "ImageAugmented")]
