"""Images that are brought in: in one fold with what looks the same, and what differs from what is known is told."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from PIL import Image

from services.console.import_folder import read_folder
from services.labeler_api.ledger.transaction import Row, Transaction
from services.labeler_api.pictures import images
from services.labeler_api.pictures.lineage import Twin
from services.labeler_api.pictures.perceptual_hash import IMPORT_BITS, NEAR_DUPLICATE_BITS, Look, look
from shared.taxonomy import Fold, fold_of, imported_image_id, root_of_group
from tests.eventually import eventually
from tests.fakes.pictures import encoded, noise, png
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Answer, Labeler, labeler

MILD = {"condition": "acne", "severity": "mild"}


def mirrored(image: Image.Image) -> Image.Image:
    """Its mirror image."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def cut(image: Image.Image, share: float) -> Image.Image:
    """Without so much of its left."""
    return image.crop((round(image.width * share), 0, image.width, image.height))


def copies(image: Image.Image) -> list[bytes]:
    """The same photograph as other files."""
    half = image.resize((image.width // 2, image.height // 2))
    return [
        encoded(image, "JPEG", quality=60),
        encoded(image, "WEBP", quality=60),
        encoded(half, "PNG"),
        encoded(mirrored(image), "PNG"),
        encoded(mirrored(half), "JPEG", quality=80),
    ]


def image_id(data: bytes) -> UUID:
    """The id that these bytes get."""
    return imported_image_id(hashlib.sha256(data).hexdigest())


def file_in(image: Image.Image, fold: Fold) -> bytes:
    """The picture as a file that is in a fold if it comes alone."""
    files = (encoded(image, "JPEG", quality=95, comment=str(number).encode()) for number in range(1000))
    return next(data for data in files if fold_of(image_id(data)) is fold)


def group_in(fold: Fold) -> str:
    """The name of a group in a fold."""
    return next(name for name in map(str, range(1000)) if fold_of(root_of_group(name)) is fold)


async def shown(labeler: Labeler, answer: Answer) -> dict[str, Any]:
    """The image that was brought in, which is shown as it was answered."""
    assert answer.status == 201, answer.body
    document: dict[str, Any] = await labeler.get(f"/v1/images/{answer.json['id']}")
    varying = ("augmented", "variants")
    assert {k: v for k, v in document.items() if k not in varying} == {
        k: v for k, v in answer.json.items() if k not in varying
    }
    return document


async def test_what_looks_the_same_has_one_root_and_one_fold(both: Labeler) -> None:
    for seed in range(3):
        first = await shown(both, await both.upload(png(seed), **MILD))
        assert (first["root_id"], first["near_duplicate_of"], first["warnings"]) == (first["id"], None, [])
        for data in copies(noise(seed)):
            copy = await shown(both, await both.upload(data, **MILD))
            assert copy["status"] == "accepted"
            assert (copy["root_id"], copy["fold"]) == (first["id"], first["fold"])
            assert copy["near_duplicate_of"] == first["id"]
            assert copy["warnings"] == [
                f"near_duplicate: it looks the same as image {first['id']}, and shares its fold"
            ]
    roots = {row["root_id"] for row in await both.rows("images")}
    assert len(roots) == 3
    await both.settled()
    await assert_counters(both)


async def test_a_small_cut_is_a_near_duplicate_of_an_import(one: Labeler) -> None:
    first = (await one.upload(png(1), **MILD)).json
    assert (await one.upload(encoded(cut(noise(1), 0.015)), **MILD)).json["root_id"] == first["id"]
    assert (await one.upload(png(2), **MILD)).json["root_id"] != first["id"]


async def test_a_near_duplicate_of_a_near_duplicate_has_the_same_root(one: Labeler) -> None:
    answers = [await one.upload(encoded(cut(noise(1), share)), **MILD) for share in (0.0, 0.015, 0.03)]
    first, second, third = (answer.json for answer in answers)
    assert third["near_duplicate_of"] == second["id"]
    assert second["root_id"] == third["root_id"] == first["id"]


async def test_copies_that_come_at_once_find_each_other(both: Labeler) -> None:
    """Through two replicas: the only thing that they share is the database."""
    replica = await both.replica()

    async def through(port: int | None, data: bytes) -> int:
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(data), filename="picture")
        form.add_field("labels", "{}")
        async with both.session.post(f"http://127.0.0.1:{port}/v1/images", data=form) as response:
            return response.status

    files = [data for seed in range(4) for data in (png(seed), *copies(noise(seed)))]
    files.sort(key=lambda data: hashlib.sha256(data).digest())  # the copies of one are spread among the others'
    ports = (both.service.port, replica.port)
    statuses = await asyncio.gather(*(through(ports[n % 2], data) for n, data in enumerate(files)))
    assert set(statuses) == {201}
    rows = await both.rows("images")
    assert len(rows) == len(files)
    assert len({row["root_id"] for row in rows}) == 4
    assert {row["fold"] for row in rows} == {fold_of(row["root_id"]) for row in rows}
    await both.settled()
    await assert_counters(both)


async def test_near_duplicates_may_be_refused(tmp_path: Path) -> None:
    async with labeler(tmp_path, near_duplicates="refuse") as running:
        first = (await running.upload(png(1), **MILD)).json
        for data in copies(noise(1)):
            answer = await running.upload(data, **MILD)
            assert (answer.status, answer.code) == (409, "near_duplicate")
            assert answer.json["image_id"] == first["id"]
        assert (await running.upload(png(1), **MILD)).status == 200
        assert len(await running.images()) == 1
        await running.review(first["id"], "rejected")  # now a better copy may take its place
        again = (await running.upload(copies(noise(1))[0], **MILD)).json
        assert (again["status"], again["root_id"]) == ("accepted", first["id"])
        await running.settled()
        await assert_counters(running)


async def test_a_wished_fold_is_kept_by_what_looks_the_same(both: Labeler) -> None:
    picture = noise(40)
    data = file_in(picture, Fold.TRAIN)
    first = (await both.upload(data, **MILD, fold="test")).json
    assert (first["fold"], first["root_id"]) == ("test", first["id"])
    twin = await shown(both, await both.upload(encoded(picture, "WEBP", quality=60), **MILD, fold="train"))
    assert (twin["fold"], twin["root_id"]) == ("test", first["id"])
    again = await both.upload(data, **MILD, fold="validation")
    assert (again.status, again.json["fold"]) == (200, "test")
    group = group_in(Fold.VALIDATION)
    grouped = (await both.upload(png(41), **MILD, group=group, fold="train")).json
    assert grouped["fold"] == "validation"
    refused = await both.upload(png(42), **MILD, fold="val")
    assert (refused.status, refused.code) == (422, "invalid_request")


@pytest.mark.parametrize("other", [Fold.VALIDATION, Fold.TEST])
async def test_what_belongs_to_two_folds_is_kept_out(both: Labeler, other: Fold) -> None:
    picture = noise(1)
    ends = [file_in(cut(picture, 0.0), Fold.TRAIN), file_in(cut(picture, 0.03), other)]
    first, second = [(await both.upload(data, **MILD)).json for data in ends]
    assert (first["fold"], second["fold"], second["near_duplicate_of"]) == (Fold.TRAIN, other, None)
    middle = await shown(both, await both.upload(encoded(cut(picture, 0.015)), **MILD))
    assert (middle["status"], middle["reviewer"], middle["fold"]) == ("rejected", "import", "train")
    assert middle["root_id"] == middle["id"]
    assert middle["near_duplicate_of"] == first["id"]
    assert middle["reason"].startswith(f"two_folds: it belongs to {first['id']} (train) and {second['id']} ({other})")
    assert middle["warnings"][0].startswith("two_folds: ")
    await both.settled()
    await assert_counters(both)
    campaign = await both.reaches(await both.rebalance(target_per_condition=0), "met")
    assert {str(entry.image_id) for entry in await both.manifest(campaign["dataset_version"])} == {
        first["id"],
        second["id"],
    }
    # A person may take it all the same: for training alone.
    assert (await both.review(middle["id"], "accepted")).json["fold"] == "train"


async def test_a_group_has_one_root(both: Labeler) -> None:
    anna = [(await both.upload(png(seed), **MILD, group=" Anna\u0301 ")).json for seed in range(3)]
    anna.append((await both.upload(png(3), labels="{}", group="Ann\u00e1")).json)
    ben = (await both.upload(png(4), **MILD, group="Ben")).json
    assert {image["group"] for image in anna} == {"Ann\u00e1"}
    assert len({image["root_id"] for image in anna}) == 1
    assert {image["fold"] for image in anna} == {fold_of(anna[0]["root_id"])}
    assert ben["root_id"] != anna[0]["root_id"]
    # What comes without a group, and looks like one of it, is of its root.
    copy = (await both.upload(copies(noise(1))[3], **MILD)).json
    assert (copy["root_id"], copy["group"], copy["near_duplicate_of"]) == (anna[0]["root_id"], None, anna[1]["id"])

    campaign = await both.reaches(await both.rebalance(target_per_condition=0), "met")
    entries = {str(entry.image_id): entry for entry in await both.manifest(campaign["dataset_version"])}
    assert {str(entries[image["id"]].root_id) for image in (*anna, copy)} == {anna[0]["root_id"]}
    exported = await both.call("GET", "/v1/export?format=csv")
    lines = {line["image_id"]: line["root_id"] for line in csv.DictReader(io.StringIO(exported.body.decode()))}
    assert lines == {image["id"]: image["root_id"] for image in (*anna, ben, copy)}


async def test_a_group_whose_picture_is_in_another_fold_already(one: Labeler) -> None:
    first = (await one.upload(file_in(noise(1), Fold.TEST), **MILD)).json
    other = (await one.upload(file_in(noise(2), Fold.TRAIN), **MILD)).json
    group = group_in(Fold.TRAIN)
    kept_out = (await one.upload(copies(noise(1))[3], **MILD, group=group)).json
    assert (kept_out["status"], kept_out["fold"], kept_out["group"]) == ("rejected", "train", group)
    assert kept_out["reason"].startswith(f"two_folds: it belongs to its group (train) and {first['id']} (test)")
    same_fold = (await one.upload(copies(noise(2))[3], **MILD, group=group)).json
    assert (same_fold["status"], same_fold["near_duplicate_of"]) == ("accepted", other["id"])
    assert same_fold["root_id"] == str(root_of_group(group))


@pytest.mark.parametrize("group", ["", " ", "x" * 201, "a\0b", "a\nb"])
async def test_a_group_is_a_name(one: Labeler, group: str) -> None:
    answer = await one.upload(png(1), **MILD, group=group)
    assert (answer.status, answer.code) == (422, "invalid_request")


async def test_a_group_is_told_once(both: Labeler) -> None:
    first = (await both.upload(png(1), **MILD)).json
    for update in ("false", "true"):
        answer = await both.upload(png(1), **MILD, group="Anna", update=update)
        assert (answer.status, answer.code) == (409, "group_differs")
        assert (answer.json["image_id"], answer.json["stored"], answer.json["sent"]) == (
            first["id"],
            {"group": None},
            {"group": "Anna"},
        )
    grouped = await both.upload(png(2), **MILD, group="Anna")
    for again in ({"group": "Anna"}, {}):
        assert (await both.upload(png(2), **MILD, **again)).status == 200
    assert (await both.get(f"/v1/images/{grouped.json['id']}"))["group"] == "Anna"


DIFFERENT: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"condition": "acne", "severity": "severe"}, {"labels": {"acne": "severe"}}),
    ({"condition": "acne"}, {"labels": {"acne": None}}),
    ({"labels": '{"acne": "mild", "aging": "mild"}'}, {"labels": {"acne": "mild", "aging": "mild"}}),
    ({"labels": "{}"}, {"labels": {}}),
    ({**MILD, "complete": "false"}, {"complete": False}),
    ({**MILD, "skin_tone": "4"}, {"skin_tone": 4}),
]


@pytest.mark.parametrize(("fields", "changed"), DIFFERENT)
async def test_the_same_bytes_with_other_labels_are_told_or_taken_as_a_review(
    both: Labeler, fields: dict[str, str], changed: dict[str, Any]
) -> None:
    stored = {"labels": {"acne": "mild"}, "complete": True, "skin_tone": 3}
    first = (await both.upload(png(1), **MILD, skin_tone="3")).json
    await both.settled()
    assert (await both.upload(png(1), **MILD)).status == 200  # no tone is no other tone
    answer = await both.upload(png(1), **fields)
    assert (answer.status, answer.code) == (409, "labels_differ")
    assert answer.json["image_id"] == first["id"]
    assert answer.json["stored"] == stored
    assert answer.json["sent"] == {**stored, **changed}

    def said() -> dict[str, Any]:
        return {name: document[name] for name in stored}

    document = await both.get(f"/v1/images/{first['id']}")
    assert said() == stored
    answer = await both.upload(png(1), **fields, update="true")
    assert answer.status == 200
    document = answer.json
    assert said() == {**stored, **changed}
    assert (document["status"], document["reviewer"]) == ("accepted", "import")
    assert (await both.upload(png(1), **fields)).status == 200
    (reviewed,) = await both.rows("reviews")
    assert (reviewed["reviewer"], reviewed["verdict"]) == ("import", "accepted")
    await both.settled()
    await assert_counters(both)
    assert (await both.call("POST", "/v1/reviews/undo", json={"reviewer": "import"})).status == 200
    document = await both.get(f"/v1/images/{first['id']}")
    assert said() == stored
    await both.settled()
    await assert_counters(both)


async def test_an_update_says_nothing_of_whether_an_image_is_good(one: Labeler) -> None:
    first = (await one.upload(png(1), **MILD)).json
    await one.review(first["id"], "rejected", reason="blurred")
    assert (await one.upload(png(1), **MILD)).json["status"] == "rejected"
    updated = await one.upload(png(1), labels=json.dumps({"aging": "severe"}), update="1")
    assert updated.status == 200
    assert (updated.json["status"], updated.json["reason"]) == ("rejected", "blurred")
    assert updated.json["labels"] == {"aging": "severe"}
    new = await one.upload(png(2), **MILD, update="true")  # an update of nothing is an import
    assert new.status == 201
    assert (await one.upload(png(3), **MILD, update="perhaps")).code == "invalid_request"
    await one.settled()
    await assert_counters(one)


async def test_updates_and_imports_at_once(both: Labeler) -> None:
    await both.upload(png(1), **MILD)
    severities = ["mild", "moderate", "severe"] * 2  # fewer than the uploads that are taken at a time
    answers = await asyncio.gather(
        *(both.upload(png(1), condition="acne", severity=severity, update="true") for severity in severities),
        *(both.upload(copies(noise(1))[number % 5], **MILD) for number in range(8)),
    )
    assert {answer.status for answer in answers} <= {200, 201}
    assert len({row["root_id"] for row in await both.rows("images")}) == 1
    await both.settled()
    await assert_counters(both)


async def test_a_generated_mirror_image_is_rejected_in_its_twins_fold(both: Labeler) -> None:
    first = (await both.upload(png(5), **MILD)).json
    again = encoded(mirrored(noise(5)), "JPEG", quality=80)
    both.generator.answer = lambda request: again if request.attempt == 1 else png(6)
    await both.reaches(await both.rebalance(targets={"redness": 1}), "met")
    (rejected,) = await both.images(status="rejected")
    assert rejected["reason"] == f"near_duplicate: looks the same as {first['id']}"
    assert (rejected["root_id"], rejected["fold"]) == (first["id"], first["fold"])
    assert rejected["near_duplicate_of"] == first["id"]


async def test_a_generated_twin_of_a_rejected_image_is_in_its_fold(both: Labeler) -> None:
    first = (await both.upload(file_in(noise(5), Fold.TEST), **MILD)).json
    assert (await both.review(first["id"], "rejected")).status == 201
    both.generator.answer = lambda request: png(5)
    await both.reaches(await both.rebalance(targets={"redness": 1}), "met")
    (twin,) = await both.images(status="accepted")
    assert (twin["root_id"], twin["fold"], twin["near_duplicate_of"]) == (first["id"], "test", first["id"])
    assert (await both.review(first["id"], "accepted")).json["fold"] == twin["fold"]  # all the same
    await both.settled()
    await assert_counters(both)


async def test_what_is_generated_and_what_is_imported_share_a_root_whichever_comes_first(both: Labeler) -> None:
    """Pictures that differ too much for the gate to refuse one, and little enough for an import to share the root."""
    pictures = noise(5, 320, 320), cut(noise(5, 320, 320), 0.016)
    bits = int.from_bytes(look(pictures[0]).hash) ^ int.from_bytes(look(pictures[1]).hash)
    assert NEAR_DUPLICATE_BITS < bits.bit_count() <= IMPORT_BITS
    imported = (await both.upload(file_in(pictures[0], Fold.TEST), **MILD)).json
    both.generator.answer = lambda request: encoded(pictures[1])
    await both.reaches(await both.rebalance(targets={"redness": 1}), "met")
    (made,) = await both.images(condition="redness")
    assert (made["status"], made["root_id"], made["fold"]) == ("accepted", imported["id"], "test")
    assert made["near_duplicate_of"] == imported["id"]

    both.generator.answer = lambda request: png(3, width=320, height=320)
    await both.reaches(await both.rebalance(targets={"aging": 1}), "met")
    (made,) = await both.images(condition="aging")
    imported = (await both.upload(encoded(cut(noise(3, 320, 320), 0.01)), **MILD)).json
    assert (imported["root_id"], imported["fold"]) == (made["id"], made["fold"])
    await both.settled()
    await assert_counters(both)


async def test_a_generated_image_that_belongs_to_two_folds_is_in_neither(both: Labeler) -> None:
    picture = noise(0)
    for data in (file_in(cut(picture, 0.0), Fold.VALIDATION), file_in(cut(picture, 0.016), Fold.TEST)):
        assert (await both.upload(data, **MILD)).status == 201
    both.generator.answer = lambda request: encoded(cut(picture, 0.008)) if request.attempt == 1 else png(6)
    await both.reaches(await both.rebalance(targets={"redness": 1}), "met")
    (rejected,) = await both.images(status="rejected")
    assert (rejected["root_id"], rejected["fold"]) == (rejected["id"], "train")
    assert "; near_duplicate: looks the same as " in rejected["reason"]
    assert "; two_folds: it belongs to " in rejected["reason"]


async def test_an_import_and_a_generated_image_that_come_at_once_find_each_other(
    both: Labeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = images.twins_of

    async def slowly(transaction: Transaction, look: Look, **options: Any) -> list[Twin]:
        found = await find(transaction, look, **options)
        await asyncio.sleep(0.2)
        return found

    monkeypatch.setattr(images, "twins_of", slowly)
    both.generator.answer = lambda request: png(5)
    await both.rebalance(targets={"acne": 1}, max_attempts=1)
    assert (await both.upload(copies(noise(5))[0], **MILD)).status == 201

    async def both_are_there() -> list[Row] | None:
        rows = await both.rows("images")
        return rows if len(rows) == 2 else None

    rows = await eventually(both_are_there)
    assert len({(row["root_id"], row["fold"]) for row in rows}) == 1


async def test_an_export_that_is_imported_adds_nothing(both: Labeler, tmp_path: Path) -> None:
    """Generated images, a HEIC that is kept as a JPEG, and what was imported as it is."""
    both.augmenter.refuses = lambda event: True  # its variants are no files
    await both.reaches(await both.rebalance(targets={"redness": 2, "acne": 1}), "met")
    assert (await both.upload(encoded(noise(8, 300, 400), "HEIF", quality=90), **MILD)).status == 201
    assert (await both.upload(png(9), labels="{}")).status == 201
    await both.settled()
    before = {image["id"] for image in await both.images()}
    exported = await both.call("GET", "/v1/export")
    with tarfile.open(fileobj=io.BytesIO(exported.body)) as archive:
        archive.extractall(tmp_path / "exported")
    pictures = read_folder(tmp_path / "exported").pictures
    assert len(pictures) == len(before) == 5
    for picture in pictures:
        labels = {name.value: severity and severity.label for name, severity in picture.labels.items()}
        answer = await both.upload(picture.path.read_bytes(), labels=json.dumps(labels))
        assert (answer.status, answer.json["id"]) == (200, picture.path.stem)
    assert {image["id"] for image in await both.images()} == before
    await both.settled()
    await assert_counters(both)


async def test_the_bytes_of_a_generated_image_with_other_labels_are_told_or_taken_as_a_review(both: Labeler) -> None:
    await both.reaches(await both.rebalance(targets={"redness": 1}), "met")
    (made,) = await both.images()
    data = (await both.call("GET", f"/v1/images/{made['id']}/content")).body
    answer = await both.upload(data, **MILD)
    assert (answer.status, answer.code, answer.json["image_id"]) == (409, "labels_differ", made["id"])
    answer = await both.upload(data, labels=json.dumps(made["labels"]), group="Anna")
    assert (answer.status, answer.code, answer.json["image_id"]) == (409, "group_differs", made["id"])
    answer = await both.upload(data, **MILD, update="true")
    assert (answer.status, answer.json["id"], answer.json["labels"]) == (200, made["id"], {"acne": "mild"})
    assert len(await both.rows("images")) == 1
    await both.settled()
    await assert_counters(both)


async def test_the_bytes_of_an_image_that_waits_for_a_review_go_on_waiting(one: Labeler) -> None:
    await one.rebalance(targets={"redness": 1}, review="manual")
    (made,) = await eventually(lambda: one.images(status="pending"))
    data = (await one.call("GET", f"/v1/images/{made['id']}/content")).body
    answer = await one.upload(data, labels=json.dumps(made["labels"]))
    assert (answer.status, answer.json["id"], answer.json["status"]) == (200, made["id"], "pending")
    answer = await one.upload(data, **MILD, update="true")
    assert (answer.status, answer.code) == (409, "labels_differ")
    assert answer.json["advice"] == "It waits for a review: say its labels there."
    await assert_counters(one)


async def test_bytes_of_a_copy_that_was_rejected_are_those_of_the_image_that_stands(one: Labeler) -> None:
    one.generator.answer = lambda request: png(5)
    await one.reaches(await one.rebalance(targets={"redness": 2}, max_attempts=1), "exhausted")
    (stands,) = await one.images(status="accepted")
    assert len(await one.images(status="rejected")) == 1
    answer = await one.upload(png(5), labels=json.dumps(stands["labels"]))
    assert (answer.status, answer.json["id"]) == (200, stands["id"])
