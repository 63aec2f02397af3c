"""The accepted dataset in the formats that other tools read: a folder tree, Label Studio, COCO, CSV."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.paging import page_of
from services.labeler_api.ledger.tables import image_table, variant_table
from services.labeler_api.pictures.images import GATE, Status
from services.labeler_api.web.views import UNGRADED, label_names, moment
from shared import VERSION
from shared.blobs import Blobs
from shared.taxonomy import Condition, Severity, severity_text

PAGE = 500  # rows read at a time, so that an export needs no memory for the whole dataset
_TAR_BLOCK = 512  # bytes, POSIX.1-1988 ustar
_CSV_FIELDS = ("image_id", "key", "sha256", "root_id", "fold", "complete", "skin_tone", "provider", "created_at")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

Rows = AsyncIterator[dict[str, Any]]


async def accepted(database: Database) -> Rows:
    """Every accepted image, in the order they came."""
    query = sa.select(image_table).where(image_table.c.status == Status.ACCEPTED.value)
    following: int | None = 0
    while following is not None:
        async with database.reading() as connection:
            rows, following = await page_of(connection, query, image_table, after=following, most=PAGE)
        for row in rows:
            yield row


async def imagefolder(database: Database, blobs: Blobs) -> AsyncIterator[bytes]:
    """A tar of `<condition>/<severity>/<image id>.<ext>`; an image that shows two conditions lies in both.

    Clear skin is `clear/`, an ungraded condition `<condition>/unknown/`; flips lie beside their source.
    """
    async for row in accepted(database):
        async with database.reading() as connection:
            flips = await rows_of(connection, sa.select(variant_table).where(variant_table.c.image_id == row["id"]))
        files = [(str(row["id"]), row["key"])] + [(f"{row['id']}_{v['operation']}", v["key"]) for v in flips]
        for name, key in files:
            data = (await blobs.get(key)).data
            for folder in _folders(row["labels"]):
                yield _tar_entry(f"{folder}/{name}.{key.rpartition('.')[2]}", data, row["created_at"])
    yield b"\0" * 2 * _TAR_BLOCK


def _folders(labels: dict[str, int | None]) -> list[str]:
    if not labels:
        return ["clear"]
    return [
        f"{name}/{severity_text(Condition(name), Severity(value)) if value else UNGRADED}"
        for name, value in labels.items()
    ]


def _tar_entry(name: str, data: bytes, time: float) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), int(time), 0o644
    padding = -len(data) % _TAR_BLOCK
    return info.tobuf(tarfile.USTAR_FORMAT) + data + b"\0" * padding


async def table(database: Database) -> AsyncIterator[bytes]:
    """CSV: one line an image, one column a condition (0 absent, 1 to 3, `unknown`; empty: not labelled)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_CSV_FIELDS, *Condition])
    async for row in accepted(database):
        absent: int | str = 0 if row["complete"] else ""
        values = {**row, "image_id": row["id"], "created_at": moment(row["created_at"]).isoformat()}
        labels = [row["labels"].get(c.value, absent) for c in Condition]
        writer.writerow(
            [*(values[name] for name in _CSV_FIELDS), *(UNGRADED if label is None else label for label in labels)]
        )
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


async def coco(database: Database, base: str) -> AsyncIterator[bytes]:
    """COCO: an annotation of the whole picture for each condition, with its severity as an attribute.

    `base`: where labeler-api is reached, for `coco_url`. The form is that of https://cocodataset.org/#format-data, with
    every member that readers ask for, and ids from 1.
    """
    annotations: list[bytes] = []  # encoded: they come after all images
    ids = {c.value: number for number, c in enumerate(Condition, start=1)}
    number, before = 0, json.dumps(_COCO_HEAD).encode().removesuffix(b"}") + b', "images": ['
    async for row in accepted(database):
        number += 1
        yield before + json.dumps(_coco_image(row, number, base)).encode()
        before = b", "
        for name, severity in label_names(row["labels"]).items():
            annotation = _coco_annotation(row, number, severity) | {
                "id": len(annotations) + 1,
                "category_id": ids[name],
            }
            annotations.append(json.dumps(annotation).encode())
    yield (b"" if number else before) + b'], "annotations": ['
    for start in range(0, len(annotations), PAGE):
        yield (b", " if start else b"") + b", ".join(annotations[start : start + PAGE])
    categories = [{"id": number, "name": name, "supercategory": "skin"} for name, number in ids.items()]
    yield b'], "categories": ' + json.dumps(categories).encode() + b"}"


_COCO_HEAD: dict[str, Any] = {
    "info": {"description": "Images that evenskin has accepted", "version": VERSION, "contributor": "", "url": ""},
    "licenses": [],
}


def _coco_image(row: dict[str, Any], number: int, base: str) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": row["key"],
        "coco_url": picture_url(base, row["id"]),
        "width": row["width"],
        "height": row["height"],
        "date_captured": moment(row["created_at"]).isoformat(),
        "fold": row["fold"],
    }


def _coco_annotation(row: dict[str, Any], number: int, severity: str | None) -> dict[str, Any]:
    width, height = row["width"], row["height"]
    return {
        "image_id": number,
        "bbox": [0, 0, width, height],
        "segmentation": [[0, 0, width, 0, width, height, 0, height]],
        "area": width * height,
        "iscrowd": 0,
        "attributes": {"severity": severity or UNGRADED},
    }


def picture_url(base: str, image_id: UUID) -> str:
    """Where others find an image's picture."""
    return f"{base}/v1/images/{image_id}/content"


async def label_studio(database: Database, base: str, *, annotators: bool = False) -> AsyncIterator[bytes]:
    """Label Studio's JSON (https://labelstud.io/guide/tasks): one task an image, one choice a condition and severity.

    What a person or an import said is an annotation, what the gate let pass a prediction. `base`: where labeler-api is
    reached. `annotators`: reviewers that are e-mail addresses are the annotations' authors, which a Label Studio that
    does not know them refuses.
    """
    separator = b"[\n"
    async for row in accepted(database):
        yield separator + json.dumps(_task(row, base, annotators)).encode()
        separator = b",\n"
    yield (b"[]" if separator.startswith(b"[") else b"\n]") + b"\n"


def _task(row: dict[str, Any], base: str, annotators: bool) -> dict[str, Any]:
    reviewer = row["reviewer"]
    choices = [f"{name}:{severity or UNGRADED}" for name, severity in label_names(row["labels"]).items()]
    result = {
        "id": str(row["id"]),
        "from_name": "condition",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": choices or ["clear"]},
    }
    data = {
        "image": picture_url(base, row["id"]),
        "image_id": str(row["id"]),
        "fold": row["fold"],
        "complete": row["complete"],
        "reviewer": reviewer,
    }
    if reviewer == GATE:
        return {"data": data, "predictions": [{"model_version": GATE, "result": [result]}]}
    annotation: dict[str, Any] = {"result": [result]}
    if annotators and _EMAIL.fullmatch(reviewer or ""):
        annotation["completed_by"] = {"email": reviewer}
    return {"data": data, "annotations": [annotation]}
