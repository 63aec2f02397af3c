"""Faces are found, with their place, roll and yaw; what is no face is not."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from shared.errors import ConfigurationError
from shared.faces import FaceDetector, FaceSearch, detector_from, turned
from shared.frames import Face
from shared.taxonomy import MONK_TONES, View
from tests.unit.shared.portraits import (
    ORIENTED,
    PHOTOGRAPHS,
    SIZE,
    detector,
    drawn,
    photograph_file,
    photographs,
    placed,
    with_border,
)


def test_where_the_photographs_are_all_are_there() -> None:
    """Elsewhere the tests of this file have drawn faces alone: nothing is skipped."""
    there = [photograph_file(name) is not None for name in PHOTOGRAPHS]
    assert all(there) or not any(there)


@pytest.mark.parametrize("tone", MONK_TONES)
def test_a_drawn_face_of_every_tone_is_found_once(tone: int) -> None:
    (face,) = detector().detect(drawn(tone))
    assert face.score > 0.8
    assert abs(face.x - SIZE / 2) < SIZE / 8
    assert SIZE / 3 < face.size < SIZE
    assert face.has_eyes_in(SIZE, SIZE)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photographed_face_is_found_once(name: str) -> None:
    for photograph in photographs(name):
        (face,) = detector().detect(photograph)
        assert face.score > 0.9
        assert abs(face.roll) < 6
        assert abs(face.yaw) < 0.15


def test_the_points_are_in_the_order_that_is_told() -> None:
    (face,) = detector().detect(drawn())
    left, right, nose, mouth_left, mouth_right = face.points
    assert left[0] < nose[0] < right[0]
    assert mouth_left[0] < mouth_right[0]
    assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])


@pytest.mark.parametrize("degrees", [-25, -12, 12, 25])
def test_roll_follows_the_head(degrees: int) -> None:
    for picture in (drawn(), *photographs("grace_hopper.jpg")):
        (level,) = detector().detect(picture)
        rolled = picture.rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=(128, 120, 110))
        face = detector().detect(rolled)[0]
        assert abs(face.roll - level.roll - degrees) < 10


def test_yaw_tells_a_turned_head_and_to_which_side() -> None:
    sides = {view: detector().detect(drawn(view=view))[0].yaw for view in View}
    assert abs(sides[View.FRONTAL]) < 0.15
    assert sides[View.LEFT] < -0.06
    assert sides[View.RIGHT] > 0.06
    mirrored = drawn(view=View.LEFT).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert detector().detect(mirrored)[0].yaw == pytest.approx(-sides[View.LEFT], abs=0.1)


def test_faces_come_largest_first() -> None:
    pair = Image.new("RGB", (2 * SIZE, SIZE), (128, 120, 110))
    pair.paste(drawn(3).resize((SIZE * 2 // 3, SIZE * 2 // 3)), (0, SIZE // 6))
    pair.paste(drawn(8), (SIZE, 0))
    larger, smaller = detector().detect(pair)
    assert larger.size > smaller.size
    assert larger.x > SIZE > smaller.x


def test_a_small_face_in_a_large_picture_is_found_by_a_finer_look() -> None:
    (face,) = detector().detect(placed(drawn(2), 0.2, side=1200))
    assert 50 < face.size < 80
    assert abs(face.x - 600) < 15


def test_what_is_no_face_is_not_found() -> None:
    random = np.random.default_rng(5)
    noise = [random.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (12, 40, 300)]
    pictures = [Image.fromarray(pixels).resize((300, 300), Image.Resampling.BICUBIC) for pixels in noise]
    pictures += [Image.new("RGB", (300, 400), colour) for colour in ("black", "white", (182, 140, 120))]
    for picture in (drawn(2), drawn(9), *photographs("grace_hopper.jpg")):
        face = detector().detect(picture)[0]
        (left, top), (right, _), *_ = face.points
        distance = face.eye_distance
        cheek = (left - 0.35 * distance, top + 0.25 * distance, left + 0.35 * distance, top + 0.9 * distance)
        forehead = (left, top - 0.9 * distance, right, top - 0.35 * distance)
        pictures += [picture.crop(box) for box in (cheek, forehead)]
    assert [detector().detect(picture) for picture in pictures] == [()] * len(pictures)


def test_a_face_cut_below_the_eyes_has_no_eyes_in_the_picture() -> None:
    for picture in (drawn(3), drawn(6), *photographs("grace_hopper.jpg", "astronaut_orient1.jpg")):
        whole = detector().detect(picture)[0]
        top = round(max(y for _, y in whole.points[:2]) + 0.25 * whole.eye_distance)
        half = picture.crop((0, top, picture.width, picture.height))
        assert whole.has_eyes_in(*picture.size)
        assert not any(face.has_eyes_in(*half.size) for face in detector().detect(half))


def test_a_face_is_told_at_another_scale() -> None:
    (face,) = detector().detect(drawn())
    twice = face.scaled(2)
    assert (twice.x, twice.size, twice.points[4][1]) == (2 * face.x, 2 * face.size, 2 * face.points[4][1])
    assert (twice.roll, twice.yaw, twice.score) == (face.roll, face.yaw, face.score)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_quarter_turn_is_noticed(turn: int) -> None:
    for picture in (drawn(5, seed=2), *photographs("grace_hopper.jpg", "astronaut.png")):
        held = turned(picture, -turn % 360)  # type: ignore[arg-type]
        found, faces = detector().detect_upright(held)
        assert found == turn
        assert faces == detector().detect(turned(held, found))


def test_an_unclear_turn_is_left_alone() -> None:
    assert detector().detect_upright(Image.new("RGB", (300, 200), (182, 140, 120))) == (0, ())


def test_threads_share_a_detector() -> None:
    pictures = [drawn(tone) for tone in MONK_TONES]
    expected = [detector().detect(picture) for picture in pictures]
    found: dict[int, list[tuple[Face, ...]]] = {}

    def work(number: int) -> None:
        found[number] = [detector().detect(picture) for picture in pictures]

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(4)] == [expected] * 4


def test_faces_off_is_a_choice_and_a_missing_file_is_none(tmp_path: Path) -> None:
    assert detector_from(FaceSearch.OFF, tmp_path) is None
    assert detector_from(FaceSearch.ON) is not None
    with pytest.raises(ConfigurationError, match="is not installed") as missing:
        detector_from(FaceSearch.ON, tmp_path)
    assert "EVENSKIN_FACES=off" in missing.value.advice


def test_another_onnx_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not the YuNet"):
        FaceDetector(b"another model")


def test_the_eight_orientations_of_one_portrait_have_one_face() -> None:
    faces = [detector().detect(photograph)[0] for photograph in photographs(*ORIENTED)]
    for face in faces:
        assert (face.x, face.y, face.size) == pytest.approx((faces[0].x, faces[0].y, faces[0].size), abs=1.5)
        assert face.roll == pytest.approx(faces[0].roll, abs=2.5)


def test_noise_that_nobody_sees_moves_a_face_by_a_five_hundredth_of_its_size() -> None:
    for picture in (drawn(2), drawn(4), drawn(5), drawn(6), drawn(8)):
        face, levels = detector().detect(picture)[0], np.asarray(picture, np.int16)
        for seed in range(3):
            noise = np.random.default_rng(seed).integers(-1, 2, levels.shape)
            noisy = detector().detect(Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8)))[0]
            assert (noisy.x, noisy.y) == pytest.approx((face.x, face.y), abs=0.002 * face.size)
            assert noisy.size == pytest.approx(face.size, rel=0.006)


def test_a_border_moves_no_face() -> None:
    for picture in (drawn(2), drawn(5), drawn(8), *photographs("grace_hopper.jpg", "astronaut_orient1.jpg")):
        face = detector().detect(picture)[0]
        for share in (0.05, 0.2, 0.4):
            left, top = round(share * picture.width), round(share * picture.height)
            bordered = detector().detect(with_border(picture, left, top, left, top))[0]
            moved = (bordered.x - left, bordered.y - top, bordered.size)
            assert moved == pytest.approx((face.x, face.y, face.size), abs=0.06 * face.size)
