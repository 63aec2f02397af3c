"""Small parts of the ledger: counters' names, labels as stored, tar entries, texts from outside."""

from __future__ import annotations

import io
import tarfile
from collections import Counter

import pytest

from services.labeler_api.ledger.outbox import storable
from services.labeler_api.ledger.tables import image_table
from services.labeler_api.pictures.images import Status, counted, dump_labels, load_labels
from services.labeler_api.web.exports import _tar_entry
from services.labeler_api.web.views import image_document, label_names, moment
from shared.taxonomy import Condition, Severity


def test_labels_survive_being_stored_in_the_order_of_conditions() -> None:
    labels = {Condition.AGING: None, Condition.ACNE: Severity.SEVERE}
    stored = dump_labels(labels)
    assert list(stored.items()) == [("acne", 3), ("aging", None)]
    assert load_labels(stored) == labels
    assert dump_labels({}) == load_labels({}) == {}
    assert label_names(stored) == {"acne": "severe", "aging": None}


def test_an_image_counts_for_every_condition_it_shows() -> None:
    assert counted("accepted", {}, 7) == {"images/accepted": 1, "shows/accepted/clear": 1, "tones/clear/0/7": 1}
    assert counted("accepted", {}, 7, complete=False) == {"images/accepted": 1}
    assert counted("accepted", {"acne": 3, "aging": None}) == {
        "images/accepted": 1,
        "labels/accepted/acne/3": 1,
        "shows/accepted/acne": 1,
        "labels/accepted/aging/0": 1,
        "shows/accepted/aging": 1,
    }
    assert counted("pending", {}) == {"images/pending": 1, "shows/pending/clear": 1}
    toned = counted("accepted", {"acne": 3, "aging": None}, 7)
    assert {name: n for name, n in toned.items() if "tones" in name} == {"tones/acne/3/7": 1, "tones/aging/0/7": 1}
    assert not [name for name in counted("pending", {"acne": 3}, 7) if name.startswith("tones/")]
    moved = counted("accepted", {"acne": 1})
    moved.subtract(counted("accepted", {"acne": 2}))
    assert Counter({k: v for k, v in moved.items() if v}) == {"labels/accepted/acne/1": 1, "labels/accepted/acne/2": -1}


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 10_000])
def test_a_tar_entry_is_what_tar_reads(size: int) -> None:
    data = bytes(range(256)) * 40
    entry = _tar_entry("textured_skin/slight/picture.png", data[:size], 1_700_000_000.5)
    assert len(entry) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(entry + b"\0" * 1024)) as archive:
        (info,) = archive.getmembers()
        file = archive.extractfile(info)
        assert file is not None
        assert (info.name, info.mtime, file.read()) == ("textured_skin/slight/picture.png", 1_700_000_000, data[:size])


def test_texts_from_outside_fit_the_database() -> None:
    assert storable(None) is None
    assert storable("a\0b") == "a\ufffdb"
    assert storable("abc", 2) == "ab"


def test_times_are_said_in_utc() -> None:
    assert moment(0).isoformat() == "1970-01-01T00:00:00+00:00"


def test_the_lowest_texture_is_called_slight() -> None:
    labels = {"textured_skin": 1, "acne": 1, "aging": None}
    row = dict.fromkeys(image_table.columns.keys()) | {
        "id": "5b5bd0a5-5bd6-5e0b-93b2-6a2c8f7a0a4e",
        "status": "accepted",
        "labels": labels,
        "complete": True,
        "fold": "train",
        "sha256": "0" * 64,
        "media_type": "image/png",
        "width": 256,
        "height": 256,
        "cost_micro_usd": 30_000,
        "quality": {},
        "disputed": False,
        "created_at": 0.0,
    }
    document = image_document(row)
    assert document.labels_text == {"textured_skin": "slight", "acne": "mild", "aging": "unknown"}
    assert document.labels[Condition.TEXTURED_SKIN] == "mild"
    assert document.cost_usd == 0.03
    written = document.json_object()
    assert (written["created_at"], written["labels"]["aging"]) == ("1970-01-01T00:00:00+00:00", None)
    assert Status("pending") is Status.PENDING
