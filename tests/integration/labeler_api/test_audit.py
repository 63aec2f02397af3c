"""The audit log: every verdict, undo and change of a frame is in it, and stays in it as it was written."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from services.labeler_api.ledger import audit
from services.labeler_api.ledger.tables import audit_table, image_table
from services.labeler_api.ledger.transaction import Transaction
from tests.fakes.pictures import png
from tests.integration.labeler_api.support import Labeler


async def log_of(labeler: Labeler) -> list[dict[str, Any]]:
    """The log as it is exported."""
    answer = await labeler.call("GET", "/v1/export", params={"format": "audit"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.splitlines()]


async def test_verdicts_and_undos_are_logged_with_what_they_changed(both: Labeler) -> None:
    (image_id,) = await both.imported(1, condition="acne", severity="mild")
    assert await log_of(both) == []  # bringing in is no change
    key = str(uuid4())
    said = {"labels": {"acne": "severe"}, "confidence": 4, "seconds": 2.5, "key": key}
    await both.review(image_id, "accepted", reviewer="Dr. A", **said)
    await both.review(image_id, "accepted", reviewer="Dr. A", **said)  # sent again: it is one review
    await both.review(image_id, "rejected", reviewer="Dr. Ä", reason="<b>blurred</b>")
    await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. Ä"})
    await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. A", "key": key})
    await both.call("POST", "/v1/reviews/undo", json={"reviewer": "Dr. A", "key": key})

    first, second, third, fourth = log = await log_of(both)
    assert [(entry["action"], entry["by"]) for entry in log] == [
        ("review", "Dr. A"),
        ("review", "Dr. Ä"),
        ("undo", "Dr. Ä"),
        ("undo", "Dr. A"),
    ]
    assert {entry["image_id"] for entry in log} == {image_id}
    as_it_was = {"status": "accepted", "labels": {"acne": 1}, "reviewer": "import", "reason": None, "disputed": False}
    assert first["before"] == as_it_was
    assert first["after"] == {**as_it_was, "labels": {"acne": 3}, "reviewer": "Dr. A"}
    assert first["said"] == {
        "verdict": "accepted",
        "labels": {"acne": 3},
        "confidence": 4,
        "seconds": 2.5,
        "key": key,
    }
    assert second["said"]["reason"] == "<b>blurred</b>"
    assert fourth["said"] == {"key": key}
    # Each begins where the one before it ended, and all together end where they began.
    assert [entry["before"] for entry in (second, third, fourth)] == [e["after"] for e in (first, second, third)]
    assert fourth["after"] == first["before"]
    assert [entry["sequence"] for entry in log] == sorted(entry["sequence"] for entry in log)
    (row,) = [row for row in await both.rows("reviews") if row["reviewer"] == "Dr. A"]
    assert (row["confidence"], row["seconds"]) == (4, 2.5)


async def test_a_refused_review_is_not_logged(one: Labeler) -> None:
    (image_id,) = await one.imported(1, condition="acne", severity="mild")
    stale = {"status": "pending", "labels": {"acne": "mild"}}
    assert (await one.review(image_id, "rejected", seen=stale)).status == 409
    assert (await one.review(image_id, "rejected", seconds=-1)).status == 422
    assert (await one.review(image_id, "rejected", confidence=0)).status == 422
    assert await log_of(one) == []


async def test_a_frame_that_is_found_later_is_logged(one: Labeler) -> None:
    picture = png(5)
    image_id = (await one.upload(picture, condition="acne", severity="mild")).json["id"]

    async def forget(transaction: Transaction) -> None:  # as an image from before frames were kept
        await transaction.execute(sa.update(image_table).values(frame=None))

    await one.database.write(forget)
    await one.upload(picture, condition="acne", severity="mild")
    (entry,) = await log_of(one)
    assert (entry["action"], entry["image_id"], entry["by"]) == ("frame", image_id, "import")
    assert entry["before"] == {"frame": None}
    assert entry["after"] == {"frame": (await one.get(f"/v1/images/{image_id}"))["frame"]}


async def test_a_frame_that_a_person_corrects_is_logged_once(both: Labeler) -> None:
    (image_id,) = await both.imported(1, condition="acne", severity="mild")
    square = (await both.get(f"/v1/images/{image_id}"))["frame"]["square"]
    moved = {"square": {**square, "x": square["x"] + 1}, "reviewer": "Dr. A"}
    for body in (moved, moved, {"square": None, "reviewer": "Dr. B"}):
        answer = await both.call("PUT", f"/v1/images/{image_id}/frame", json=body)
        assert answer.status == 200, answer.body
    first, second = await log_of(both)
    corrected = {"corrected_square": moved["square"], "square_reviewer": "Dr. A"}
    nothing = {"corrected_square": None, "square_reviewer": None}
    assert (first["action"], first["by"], first["before"], first["after"]) == ("frame", "Dr. A", nothing, corrected)
    assert (second["by"], second["before"], second["after"]) == ("Dr. B", corrected, nothing)


async def test_labels_that_an_import_updates_are_logged(one: Labeler) -> None:
    picture = png(6)
    await one.upload(picture, condition="acne", severity="mild")
    assert (await one.upload(picture, condition="acne", severity="severe", update="true")).status == 200
    (entry,) = await log_of(one)
    assert (entry["by"], entry["before"]["labels"], entry["after"]["labels"]) == ("import", {"acne": 1}, {"acne": 3})


@pytest.mark.parametrize("change", [sa.update(audit_table).values(actor="nobody"), sa.delete(audit_table)])
async def test_the_database_refuses_to_change_an_entry(both: Labeler, change: sa.Update | sa.Delete) -> None:
    (image_id,) = await both.imported(1, condition="acne", severity="mild")
    await both.review(image_id, "rejected", reviewer="Dr. A")
    kept = await log_of(both)
    with pytest.raises(sa.exc.DBAPIError, match="only ever added to"):
        await both.database.write(lambda transaction: transaction.execute(change))
    assert await log_of(both) == kept != []


async def test_an_export_passes_over_no_entry_at_its_pages(both: Labeler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PAGE", 2)
    (image_id,) = await both.imported(1, condition="acne", severity="mild")
    for number in range(5):
        await both.review(image_id, "rejected", reviewer=f"Dr. {number}")
    assert [entry["by"] for entry in await log_of(both)] == [f"Dr. {number}" for number in range(5)]
