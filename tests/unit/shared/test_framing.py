"""The frame of a decoded picture: which face, whether it lies, and what is said where nobody looks."""

from __future__ import annotations

import pytest
from PIL import Image

from services.generator.procedural import draw
from shared.events import Subject
from shared.faces import MIN_SCORE
from shared.frames import Turn
from shared.framing import find_frame, main_face
from shared.imaging import Decoded, decode
from shared.taxonomy import AgeBand, Condition, Light, Severity, Sex, View
from tests.unit.shared.portraits import detector, drawn, placed


def decoded_as(image: Image.Image, *, scale: int = 1, exif_is_silent: bool = True) -> Decoded:
    """A decoded picture; the whole one is `scale` times as large."""
    return Decoded(image, "PNG", scale * image.width, scale * image.height, exif_is_silent=exif_is_silent)


def test_figures_are_in_pixels_of_the_whole_picture() -> None:
    image = placed(drawn(), 0.6, 600)
    one, four = (find_frame(decoded_as(image, scale=scale), detector()).frame for scale in (1, 4))
    assert (four.width, four.height) == (2400, 2400)
    assert (four.square.x, four.square.y) == pytest.approx((4 * one.square.x, 4 * one.square.y), abs=0.1)
    assert four.square.side == pytest.approx(4 * one.square.side, abs=0.1)


def test_where_nobody_looks_the_frame_is_the_middle() -> None:
    framed = find_frame(decoded_as(drawn().crop((0, 0, 300, 384))), None)
    assert (framed.frame.found, framed.faces, framed.face) == (None, None, None)
    assert (framed.frame.square.x, framed.frame.square.y, framed.frame.square.side) == (150, 192, 300)


def test_without_a_face_the_frame_is_the_middle() -> None:
    framed = find_frame(decoded_as(Image.new("RGB", (400, 300), (180, 140, 120))), detector())
    assert (framed.frame.found, framed.faces, framed.face) == (False, (), None)
    assert (framed.frame.square.x, framed.frame.square.y, framed.frame.square.side) == (200, 150, 300)


@pytest.mark.parametrize(("may_lie", "silent", "turn"), [(True, True, 90), (True, False, 0), (False, True, 0)])
def test_a_picture_is_turned_only_where_nothing_says_how_it_was_held(may_lie: bool, silent: bool, turn: Turn) -> None:
    lying = placed(drawn(), 0.8, 600).crop((0, 0, 500, 600)).transpose(Image.Transpose.ROTATE_90)
    framed = find_frame(decoded_as(lying, exif_is_silent=silent), detector(), may_lie=may_lie)
    assert framed.frame.turn == turn
    assert framed.upright.size == (framed.frame.width, framed.frame.height) == ((500, 600) if turn else (600, 500))


def test_the_face_is_the_largest_whose_eyes_are_in_the_picture() -> None:
    framed = find_frame(decoded_as(placed(drawn(), 0.6, 600)), detector())
    assert framed.faces is not None
    face = framed.face
    assert face is not None
    outside = face.model_copy(update={"points": tuple((x, y - 600) for x, y in face.points)})
    assert main_face((outside, face), 600, 600) is face
    assert main_face((outside,), 600, 600) is None


def test_a_face_that_its_skin_hides_is_found_coarsely() -> None:
    subject = Subject(
        skin_tone=4, age_band=AgeBand.SENIOR, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=View.LEFT
    )  # with severe, large pores
    decoded = decode(draw({Condition.PORE_SIZE: Severity.SEVERE}, subject, 13193469630338485225, 512))
    assert find_frame(decoded, detector(), may_lie=False).frame.found is False
    found = find_frame(decoded, detector(), may_lie=False, coarsely=True).frame
    assert found.face is not None
    assert found.face.score > MIN_SCORE
    assert found.face.size > 300
