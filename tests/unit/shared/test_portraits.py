"""What is measured of a portrait, and what is advised: each defect from a picture that was made to have it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image, ImageFilter

from services.generator.procedural import draw
from services.generator.procedural.traits import Traits, sample_traits
from shared.events import Subject
from shared.framing import main_face
from shared.portraits import (
    MAX_TONE_DISTANCE,
    Advice,
    AdviceCode,
    Portrait,
    advise,
    measure,
    skin_tone_distance,
)
from shared.taxonomy import MONK_TONES, AgeBand, Light, Sex, View
from tests.unit.shared.portraits import SIZE, detector, drawn, photographs, placed

Change = Callable[[Image.Image], Image.Image]


def portrait(picture: Image.Image) -> Portrait:
    """The measures of a picture."""
    faces = detector().detect(picture)
    return measure(picture, faces, main_face(faces, *picture.size))


def codes(picture: Image.Image) -> set[AdviceCode]:
    """What is advised on a picture."""
    return {advice.code for advice in advise(portrait(picture))}


def faces() -> list[Image.Image]:
    """A light, a medium and a dark drawn face, and the photograph where it is."""
    return [drawn(2), drawn(5), drawn(10, seed=6), *photographs("grace_hopper.jpg")]


@pytest.mark.parametrize("light", Light)
@pytest.mark.parametrize(("tone", "view"), [(1, View.FRONTAL), (10, View.LEFT)])
def test_drawn_faces_are_fit(tone: int, light: Light, view: View) -> None:
    subject = Subject(age_band=AgeBand.SENIOR, skin_tone=tone, sex=Sex.MALE, light=light, view=view)
    picture = Image.open(io.BytesIO(draw({}, subject, tone, SIZE))).convert("RGB")
    assert advise(portrait(picture)) == ()


def test_the_photograph_is_fit() -> None:
    for photograph in photographs("grace_hopper.jpg"):
        assert advise(portrait(photograph)) == ()


def beside(picture: Image.Image, share: float) -> Image.Image:
    """Two of the same, the second one `share` as large."""
    both = Image.new("RGB", (picture.width * 2, picture.height), (128, 120, 110))
    both.paste(picture, (0, 0))
    both.paste(picture.resize((round(picture.width * share), round(picture.height * share))), (picture.width, 0))
    return both


def points_of(picture: Image.Image) -> tuple[tuple[float, float], ...]:
    """The points of the one face."""
    return detector().detect(picture)[0].points


DEFECTS: dict[str, tuple[AdviceCode, Change]] = {
    "two faces": (AdviceCode.MULTIPLE_FACES, lambda picture: beside(picture, 0.8)),
    "far away": (AdviceCode.FACE_TOO_SMALL, lambda picture: placed(picture, 120 / picture.width, side=600)),
    "no chin": (
        AdviceCode.FACE_CUT,
        lambda picture: picture.crop((0, 0, picture.width, points_of(picture)[3][1] + 15)),
    ),
    "no forehead": (
        AdviceCode.FACE_CUT,
        lambda picture: picture.crop((0, points_of(picture)[0][1] - 30, picture.width, picture.height)),
    ),
    "lower half": (
        AdviceCode.FACE_CUT,
        lambda picture: picture.crop((0, points_of(picture)[0][1] + 25, picture.width, picture.height)),
    ),
    "no right side": (
        AdviceCode.FACE_CUT,
        lambda picture: picture.crop((0, 0, points_of(picture)[1][0] + 15, picture.height)),
    ),
    "blurred": (AdviceCode.TOO_BLURRY, lambda picture: picture.filter(ImageFilter.GaussianBlur(5))),
    "dark": (AdviceCode.TOO_DARK, lambda picture: picture.point(lambda value: int(value * 0.25))),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_told(defect: str) -> None:
    code, change = DEFECTS[defect]
    for picture in faces():
        assert code in codes(change(picture))


def test_too_much_light_is_told() -> None:
    for tone in (2, 5):
        assert AdviceCode.TOO_BRIGHT in codes(drawn(tone).point(lambda value: min(255, value * 2 + 30)))
    assert codes(placed(drawn(5), 0.7, side=600, ground=(255, 255, 255))) == set()


def test_no_face_is_told_alone() -> None:
    (advice,) = advise(portrait(Image.new("RGB", (300, 300), (182, 140, 120))))
    assert (advice.code, advice.measure, advice.value, advice.limit) == (AdviceCode.NO_FACE, "faces", 0, 1)


def test_a_head_that_is_turned_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def turned_away(subject: Subject, seed: int, size: int) -> Traits:
        traits = sample_traits(subject, seed, size)
        return replace(traits, pose=replace(traits.pose, yaw=YAW))

    monkeypatch.setattr(sys.modules["services.generator.procedural.draw"], "sample_traits", turned_away)
    subject = Subject(age_band=AgeBand.ADULT, skin_tone=5, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=View.FRONTAL)
    picture = Image.open(io.BytesIO(draw({}, subject, 2, SIZE))).convert("RGB")
    assert AdviceCode.FACE_TURNED in codes(picture)


YAW = 0.9  # radians


def test_somebody_in_the_background_is_no_second_face() -> None:
    assert codes(beside(drawn(4), 0.25)) == set()


def test_advice_says_what_was_measured_what_is_right_and_what_to_do() -> None:
    (advice,) = advise(portrait(placed(drawn(3), 0.3)))
    assert advice.code is AdviceCode.FACE_TOO_SMALL
    assert advice.value < advice.limit == 60
    assert f"{advice.value:.0f} pixels" in advice.message
    assert advice.message.endswith("send a larger picture.")
    assert Advice.model_validate_json(advice.model_dump_json()) == advice
    assert hasattr(Portrait(faces=1), advice.measure)


def test_a_face_cut_at_two_edges_is_told_once() -> None:
    picture = drawn(5)
    points = points_of(picture)
    cut = picture.crop((0, points[0][1] - 45, picture.width, points[3][1] + 15))
    assert [advice.code for advice in advise(portrait(cut))].count(AdviceCode.FACE_CUT) == 1


def test_dark_skin_is_not_taken_for_little_light() -> None:
    dark, light = portrait(drawn(10, seed=6)), portrait(drawn(1))
    assert dark.skin_lightness is not None
    assert light.skin_lightness is not None
    assert dark.skin_lightness < light.skin_lightness - 25
    assert AdviceCode.TOO_DARK not in codes(drawn(10, seed=6))


def test_sharpness_depends_neither_on_light_nor_on_the_picture_s_size() -> None:
    plain = portrait(drawn(4)).sharpness
    assert plain is not None
    assert portrait(drawn(4).point(lambda value: value // 2)).sharpness == pytest.approx(plain, rel=0.15)
    assert portrait(drawn(4).resize((768, 768), Image.Resampling.BICUBIC)).sharpness == pytest.approx(plain, rel=0.3)


@pytest.mark.parametrize("tone", MONK_TONES)
def test_skin_of_the_asked_tone_is_within_reach_and_far_tones_are_not(tone: int) -> None:
    found = portrait(drawn(tone))
    asked = skin_tone_distance(found, tone)
    assert asked is not None
    assert abs(asked) <= MAX_TONE_DISTANCE
    far = skin_tone_distance(found, 10 if tone <= 5 else 1)
    assert far is not None
    if tone <= 5 or tone >= 8:
        assert abs(far) > MAX_TONE_DISTANCE
        assert (far > 0) is (tone <= 5)


def test_without_a_face_there_is_no_skin_tone() -> None:
    assert skin_tone_distance(Portrait(faces=0), 3) is None


def test_limits_can_be_others() -> None:
    fit = portrait(drawn())
    assert advise(fit) == ()
    (advice,) = advise(fit, {"inter_eye_distance": 1000.0})
    assert (advice.code, advice.limit) == (AdviceCode.FACE_TOO_SMALL, 1000.0)
    assert "at least 1000 show skin" in advice.message
