"""Frames: where the face is in an image is found once, kept and told; the gate refuses what is no portrait."""

from __future__ import annotations

import io
import math
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image

from services.generator.procedural import draw
from services.labeler_api import app
from services.labeler_api.ledger.tables import image_table
from services.labeler_api.ledger.transaction import Transaction
from shared.errors import ConfigurationError
from shared.events import ImageRequested
from shared.faces import detector_from
from shared.frames import Frame
from shared.taxonomy import MONK_TONES, Condition, Severity
from tests.eventually import eventually
from tests.fakes.pictures import encoded, noise, png
from tests.integration.labeler_api.support import Answer, Labeler, labeler, settings_of
from tests.unit.shared.portraits import drawn, drawn_file, placed

CLEAR = {"labels": "{}"}
FACE = drawn_file(size=512)


@pytest.fixture
async def looking(tmp_path: Path, database_url: str) -> AsyncIterator[Labeler]:
    """A labeler-api that looks for faces, on either database."""
    async with labeler(tmp_path, database_url=database_url, faces="on") as running:
        yield running


async def frame_in(labeler: Labeler, image_id: str) -> Frame:
    """The frame of an image, as it is told."""
    return Frame.model_validate((await labeler.get(f"/v1/images/{image_id}"))["frame"])


async def brought_in(labeler: Labeler, data: bytes) -> Frame:
    """The frame of a picture that is brought in."""
    answer = await labeler.upload(data, **CLEAR)
    assert answer.status == 201, answer.body
    assert answer.json["status"] == "accepted"
    return await frame_in(labeler, answer.json["id"])


async def manifest_frames(labeler: Labeler) -> list[Frame | None]:
    """The frames that the manifest of all there is has."""
    await labeler.settled()
    met = await labeler.reaches(await labeler.rebalance(target_per_condition=0), "met")
    return [image.frame for image in await labeler.manifest(met["dataset_version"])]


def jpeg(image: Image.Image, orientation: int | None = None) -> bytes:
    """A JPEG, with an EXIF orientation if one is named."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    return encoded(image, "JPEG", quality=92, exif=exif)


async def test_the_face_of_an_import_is_found_once_and_kept(looking: Labeler) -> None:
    frame = await brought_in(looking, encoded(placed(drawn(), 0.5), "PNG"))
    assert (frame.found, frame.width, frame.height, frame.turn) == (True, 1000, 1000, 0)
    assert frame.face is not None
    assert math.dist((frame.square.x, frame.square.y), (500, 500)) < 50
    assert 100 < frame.square.side < 384
    assert await manifest_frames(looking) == [frame]


async def test_an_import_without_a_face_is_accepted_and_says_so(looking: Labeler) -> None:
    answer = await looking.upload(encoded(noise(1, 300, 400)), **CLEAR)
    assert answer.status == 201
    assert answer.json["status"] == "accepted"
    assert [warning.partition(":")[0] for warning in answer.json["warnings"]] == ["no_face"]
    frame = Frame.model_validate(answer.json["frame"])
    assert (frame.found, frame.face) == (False, None)
    assert (frame.square.x, frame.square.y, frame.square.side, frame.square.roll) == (150, 200, 300, 0)


async def test_a_picture_that_lies_is_turned_in_its_frame_alone(looking: Labeler) -> None:
    upright = placed(drawn(), 0.8, 600).crop((0, 0, 500, 600))
    lying = upright.transpose(Image.Transpose.ROTATE_90)  # anticlockwise
    expected = await brought_in(looking, jpeg(upright))
    told = await brought_in(looking, jpeg(lying, orientation=6))  # displayed upright
    silent = await brought_in(looking, jpeg(lying))
    assert (told.turn, silent.turn) == (0, 90)
    for frame in (told, silent):
        assert (frame.found, frame.width, frame.height) == (True, 500, 600)
        assert math.dist((frame.square.x, frame.square.y), (expected.square.x, expected.square.y)) < 5
        assert abs(frame.square.side - expected.square.side) < 10


async def test_where_nobody_looks_the_frame_says_that(one: Labeler) -> None:
    frame = await brought_in(one, FACE)
    assert (frame.found, frame.face, frame.square.side) == (None, None, 512)
    assert await manifest_frames(one) == [frame]


@pytest.mark.parametrize(
    "before", [None, {"found": None, "width": 9, "height": 9, "square": {"x": 1, "y": 1, "side": 2}}]
)
async def test_an_image_from_before_gets_its_frame_when_it_comes_again(
    looking: Labeler, before: dict[str, Any] | None
) -> None:
    first = (await looking.upload(FACE, **CLEAR)).json

    async def forget(transaction: Transaction) -> None:
        await transaction.execute(sa.update(image_table).values(frame=before))

    await looking.database.write(forget)
    if before is None:
        assert (await looking.get(f"/v1/images/{first['id']}"))["frame"] is None
        assert await manifest_frames(looking) == [None]
    again = await looking.upload(FACE, **CLEAR)
    assert (again.status, again.json["frame"]) == (200, first["frame"])


async def corrected(labeler: Labeler, image_id: str, square: Any, reviewer: str = "Ada") -> Answer:
    """The answer to a correction of an image's square."""
    said = {"square": square, "reviewer": reviewer}
    return await labeler.call("PUT", f"/v1/images/{image_id}/frame", json=said)


async def test_a_corrected_square_is_what_models_are_shown_and_can_be_taken_back(looking: Labeler) -> None:
    image = (await looking.upload(FACE, **CLEAR)).json
    assert image["frame_reviewer"] is None
    square = {"x": 200.5, "y": 250.0, "side": 300.0, "roll": -12.5}
    for _ in range(2):  # said again it is the same
        answer = await corrected(looking, image["id"], square)
        assert (answer.status, answer.json["frame_reviewer"]) == (200, "Ada")
        assert answer.json["frame"] == {**image["frame"], "square": square}
    assert await manifest_frames(looking) == [Frame.model_validate(answer.json["frame"])]
    # Brought in again, it stays; a further correction is who made it.
    assert (await looking.upload(FACE, **CLEAR)).json["frame"]["square"] == square
    other = await corrected(looking, image["id"], {**square, "side": 200}, "Bob")
    assert (other.json["frame"]["square"]["side"], other.json["frame_reviewer"]) == (200, "Bob")

    back = await corrected(looking, image["id"], None)
    assert (back.json["frame"], back.json["frame_reviewer"]) == (image["frame"], None)
    assert await manifest_frames(looking) == [Frame.model_validate(image["frame"])]
    assert {key: back.json[key] for key in ("status", "labels", "reviewer")} == {
        key: image[key] for key in ("status", "labels", "reviewer")
    }


@pytest.mark.parametrize(
    ("square", "sentence"),
    [
        ({"x": -1, "y": 9, "side": 100}, "The square's centre lies outside the picture."),
        ({"x": 9, "y": 513, "side": 100}, "The square's centre lies outside the picture."),
        ({"x": 9, "y": 9, "side": 31.9}, "The square's side must be from 32 to 1024 pixels."),
        ({"x": 9, "y": 9, "side": 1024.1}, "The square's side must be from 32 to 1024 pixels."),
        ({"x": 9, "y": 9, "side": 100, "roll": 181}, "roll"),
        ({"x": "nan", "y": 9, "side": 100}, "x"),
        ("whole", "square"),
    ],
)
async def test_a_square_that_does_not_fit_the_picture_is_refused(one: Labeler, square: Any, sentence: str) -> None:
    image = (await one.upload(FACE, **CLEAR)).json
    answer = await corrected(one, image["id"], square)
    told = (409, "conflict") if sentence.startswith("The square") else (422, "invalid_request")
    assert (answer.status, answer.code) == told
    assert sentence in answer.json["detail"]
    assert (await one.get(f"/v1/images/{image['id']}"))["frame"] == image["frame"]


def test_a_service_that_cannot_look_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "detector_from", partial(detector_from, directory=tmp_path))
    with pytest.raises(ConfigurationError, match="yunet") as raised:
        app.build(settings_of(tmp_path, faces="on"))
    assert "EVENSKIN_FACES=off" in raised.value.advice
    assert app.build(settings_of(tmp_path, faces="off"))


# The gate


def _file(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _two_faces() -> bytes:
    both = Image.new("RGB", (768, 400), (128, 120, 110))
    both.paste(drawn(seed=4), (0, 0))
    both.paste(drawn(seed=5), (384, 0))
    return _file(both)


def _other_tone(request: ImageRequested) -> bytes:
    subject = request.subject.model_copy(update={"skin_tone": 10 if request.subject.skin_tone < 6 else 1})
    return draw({}, subject, 5, 512)


REFUSED = {
    "no_face": lambda request: png(request.image_id.int % 2**32, width=300, height=300),
    "multiple_faces": lambda request: _two_faces(),
    "face_too_small": lambda request: _file(placed(drawn(), 0.3, 800)),
    "face_cut": lambda request: _file(drawn().crop((0, 130, 384, 384)).resize((512, 339))),
    "wrong_skin_tone": _other_tone,
}


@pytest.mark.parametrize("code", REFUSED)
async def test_the_gate_refuses_what_is_no_portrait(tmp_path: Path, code: str) -> None:
    async with labeler(tmp_path, faces="on") as running:
        running.generator.answer = lambda request: None if request.attempt > 1 else REFUSED[code](request)
        await running.rebalance(targets={"acne": 1}, target_per_condition=0, conditions=["acne"])

        async def rejected() -> list[dict[str, Any]]:
            return await running.images(status="rejected")

        (image,) = await eventually(rejected, "rejected")
        assert code in [reason.partition(":")[0] for reason in image["reason"].split("; ")]
        assert (await frame_in(running, image["id"])).found is (code not in ("no_face", "face_cut"))
        retried = await eventually(lambda: _second(running), "asked again")
        assert any(told.startswith(code) for told in retried.earlier_rejections)


async def _second(running: Labeler) -> ImageRequested | None:
    return next((request for request in running.generator.requests if request.attempt == 2), None)


async def test_the_gate_misses_no_face_where_nobody_looks(one: Labeler) -> None:
    await one.reaches(await one.rebalance(target_per_condition=1, conditions=["acne"]), "met")
    (image,) = await one.images()
    assert (await frame_in(one, image["id"])).found is None


async def test_the_gate_keeps_frame_and_measures_of_what_it_accepts(looking: Labeler) -> None:
    looking.generator.answer = lambda request: draw(
        {Condition.ACNE: request.severity or Severity.MILD}, request.subject, request.image_id.int % 2**32, 512
    )
    await looking.reaches(await looking.rebalance(target_per_condition=3, conditions=["acne"]), "met")
    images = await looking.images(status="accepted")
    assert len(images) == 3
    for image in images:
        assert {"inter_eye_distance", "head_pose_yaw", "skin_lightness"} < set(image["quality"])
        assert image["skin_tone"] in MONK_TONES
        assert (await frame_in(looking, image["id"])).found is True


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ({"gate_max_yaw": 0.001}, "face_turned"),
        ({"gate_min_eye_distance": 400.0}, "face_too_small"),
        ({"gate_max_tone_distance": 0.01}, "wrong_skin_tone"),
    ],
)
async def test_the_gates_limits_are_settings(tmp_path: Path, setting: dict[str, Any], code: str) -> None:
    async with labeler(tmp_path, faces="on", **setting) as running:
        running.generator.answer = lambda request: draw({}, request.subject, 7, 512) if request.attempt == 1 else None
        await running.rebalance(target_per_condition=1, conditions=["acne"])
        (image,) = await eventually(lambda: running.images(status="rejected"), "rejected")
        assert image["reason"].startswith(code)
