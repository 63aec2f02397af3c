"""The frame of a face, and what is cut along it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from shared.frames import Face, Frame, Square, frame_of, middle_frame
from shared.squares import cut, cut_frame, to_picture
from tests.unit.shared.middle_square import square as middle_square
from tests.unit.shared.portraits import ORIENTED, detector, drawn, photographs, with_border

SIZE = 96  # pixels of the cuts


def framed(picture: Image.Image) -> Frame:
    """The frame of a picture's largest face."""
    return frame_of(detector().detect(picture)[0], *picture.size)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference, of 255."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def waves(width: int = 400, height: int = 300) -> Image.Image:
    """A smooth picture of which every place is another."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    channels = [np.sin(x / 23) + np.cos(y / 31), np.sin((x + y) / 37) + np.cos(x / 53), np.sin(y / 29) + np.cos(x / 41)]
    return Image.fromarray((np.stack(channels, axis=-1) * 60 + 128).astype(np.uint8))


def value_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The red of `waves` at any place, in coordinates whose pixels have their centres at halves."""
    return (np.sin((x - 0.5) / 23) + np.cos((y - 0.5) / 31)) * 60 + 128


@pytest.mark.parametrize("roll", [0.0, -17.0, 45.0, 90.0, 180.0])
@pytest.mark.parametrize("side", [60.0, 96.0, 181.3])
def test_a_cut_shows_what_lies_in_the_square(roll: float, side: float) -> None:
    square = Square(x=201.3, y=148.6, side=side, roll=roll)
    seen = np.asarray(cut(waves(), square, SIZE))[:, :, 0].astype(float)
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    places = to_picture(np.stack([columns.ravel(), rows.ravel()], axis=1), square, SIZE)
    expected = value_at(places[:, 0], places[:, 1]).reshape(SIZE, SIZE)
    inside = (places.min(axis=1) > 2) & (places[:, 0] < 398) & (places[:, 1] < 298)
    assert np.abs(seen - expected)[inside.reshape(SIZE, SIZE)].max() < 3.5


def test_roll_turns_clockwise_as_displayed() -> None:
    corners = to_picture(np.array([[0.0, 0.0]]), Square(x=0, y=0, side=2, roll=90), 2)
    assert corners[0] == pytest.approx([1, -1])  # what is top left in the cut is top right in the picture


def test_a_small_step_of_the_square_is_a_small_step_of_the_cut() -> None:
    picture = drawn()
    square = framed(picture).square
    before = np.asarray(cut(picture, square, SIZE))
    for name, step in {"x": 0.02, "y": 0.02, "side": 0.03, "roll": 0.02}.items():
        moved = square.model_copy(update={name: getattr(square, name) + step})
        assert difference(before, np.asarray(cut(picture, moved, SIZE))) < 0.35, name


@pytest.mark.parametrize("roll", [0.0, 8.0])
def test_detail_too_fine_for_the_cut_becomes_its_mean(roll: float) -> None:
    checks = np.where(np.indices((900, 900)).sum(axis=0)[..., None] % 2, 255, 0).astype(np.uint8).repeat(3, axis=2)
    seen = np.asarray(cut(Image.fromarray(checks), Square(x=450, y=450, side=600, roll=roll), 64))
    assert np.abs(seen.astype(float) - 127.5).max() < 8


def test_edges_are_mirrored() -> None:
    picture = waves()
    seen = np.asarray(cut(picture, Square(x=0, y=150, side=SIZE), SIZE)).astype(float)
    assert np.abs(seen[:, : SIZE // 2] - seen[:, : SIZE // 2 - 1 : -1]).max() <= 1
    far = np.asarray(cut(picture, Square(x=200, y=150, side=3000, roll=5), SIZE))
    assert far.min() > 0  # mirrored as often as it takes
    black = np.asarray(cut(picture, Square(x=0, y=150, side=SIZE), SIZE, mirrored=False))
    assert black[:, : SIZE // 2 - 3].max() == 0
    outside = np.asarray(cut(picture, Square(x=-300, y=900, side=100, roll=30), SIZE))
    assert outside.shape == (SIZE, SIZE, 3)


def test_the_middle_frame_is_the_middle_square() -> None:
    for picture in (waves(), waves(231, 500)):
        frame = middle_frame(*picture.size)
        assert frame.found is False
        assert np.array_equal(cut_frame(picture, frame, SIZE), middle_square(picture, SIZE))
    assert middle_frame(10, 20, found=None).found is None


def test_a_frame_holds_forehead_and_chin_upright() -> None:
    for picture in (drawn(2), drawn(5), drawn(9), *photographs("grace_hopper.jpg", "astronaut.png")):
        frame = framed(picture)
        assert frame.face is not None
        seen = Image.fromarray(cut_frame(picture, frame, 224))
        face = detector().detect(seen)[0]
        assert abs(face.roll) < 6
        assert face.x == pytest.approx(112, abs=14)
        assert face.y - face.height / 2 > 12
        assert face.y + face.height / 2 < 218
        eyes, mouth = ((face.points[index][1] + face.points[index + 1][1]) / 2 for index in (0, 3))
        assert 0.3 < eyes / 224 < 0.5
        assert 0.6 < mouth / 224 < 0.8


def test_a_frame_is_the_same_in_a_picture_that_was_decoded_smaller() -> None:
    picture = drawn()
    frame = framed(picture)
    half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    assert difference(cut_frame(picture, frame, SIZE), cut_frame(half, frame, SIZE)) < 3
    found = detector().detect(half)[0].scaled(2)
    again = frame_of(found, *picture.size)
    for name in ("x", "y", "side"):
        assert getattr(again.square, name) == pytest.approx(getattr(frame.square, name), abs=0.03 * frame.square.side)


def test_the_mirror_image_s_frame_cuts_the_mirror_image() -> None:
    picture = drawn(4)
    frame = framed(picture)
    flipped = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored = frame.mirrored()
    assert difference(cut_frame(flipped, mirrored, SIZE), cut_frame(picture, frame, SIZE)[:, ::-1]) < 0.5
    assert mirrored.face is not None
    assert mirrored.face.points[0][0] < mirrored.face.points[1][0]
    middle = middle_frame(200, 100)
    assert middle.mirrored() == middle


def test_json_keeps_a_frame_as_it_is() -> None:
    frame = framed(drawn(3))
    assert Frame.model_validate_json(frame.model_dump_json()) == frame
    assert len(frame.model_dump_json()) < 600


def test_a_rolled_face_has_its_frame_risen_along_the_face() -> None:
    face = Face(x=100, y=100, width=80, height=80, points=((0, 0),) * 5, score=0.9, roll=90, yaw=0)
    level = frame_of(face.model_copy(update={"roll": 0.0}), 200, 200).square
    rolled = frame_of(face, 200, 200).square
    assert level.x == rolled.y == 100
    assert rolled.x - 100 == pytest.approx(100 - level.y)
    assert rolled.x > 100  # the head lies with its top to the right
    assert rolled.side == level.side == pytest.approx(1.35 * 80)


@pytest.mark.parametrize(("roll", "followed"), [(0, 0), (3.9, 0), (-3.9, 0), (4.1, 0.1), (-30, -26)])
def test_a_frame_follows_a_roll_that_is_more_than_the_detector_s_error(roll: float, followed: float) -> None:
    face = Face(x=100, y=100, width=80, height=80, points=((0, 0),) * 5, score=0.9, roll=roll, yaw=0)
    found = frame_of(face, 200, 200).square.roll
    assert found == pytest.approx(followed)
    assert str(found) != "-0.0"


def test_the_eight_orientations_of_one_portrait_have_one_frame() -> None:
    pictures = photographs(*ORIENTED)
    frames = [framed(picture) for picture in pictures]
    for frame, picture in zip(frames, pictures, strict=True):
        first, this = frames[0].square, frame.square
        assert (this.x, this.y, this.side) == pytest.approx((first.x, first.y, first.side), abs=1.5)
        assert difference(cut_frame(picture, frame, 224), cut_frame(pictures[0], frames[0], 224)) < 9


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_borders_and_an_off_centre_face_move_the_cut_by_little(share: float) -> None:
    for picture in (drawn(2), drawn(5), drawn(8), *photographs("grace_hopper.jpg", "astronaut_orient1.jpg")):
        frame = framed(picture)
        left, top = round(share * picture.width), round(share * picture.height)
        for right, bottom in ((left, top), (0, 0)):
            wider = with_border(picture, left, top, right, bottom)
            found = framed(wider).square
            moved = math.dist((found.x - left, found.y - top), (frame.square.x, frame.square.y))
            assert moved < 0.05 * frame.square.side
            assert found.side == pytest.approx(frame.square.side, rel=0.08)
            assert found.roll == pytest.approx(frame.square.roll, abs=7)
