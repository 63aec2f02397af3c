"""What is answered to a picture by what it shows: face, frame, advice; and what is refused."""

from __future__ import annotations

import time
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image, ImageDraw

from services.model_server.heatmaps import Heatmap
from services.model_server.portrait_policy import _REFUSALS, FacePolicy, MultipleFaces, PortraitPolicy
from services.model_server.prediction import Pictures, answer_picture
from services.model_server.predictor import Predictor
from shared.documents.predictions import AdviceName, Prediction
from shared.errors import ConfigurationError, PortraitUnfit
from shared.faces import FaceSearch
from shared.portraits import AdviceCode, Portrait
from shared.preprocessing import Preprocessing
from tests.unit.model_server.pictures import encoded
from tests.unit.model_server.tiny_model import SIZE, tiny_model
from tests.unit.shared.portraits import detector, drawn, placed


def answer(
    image: Image.Image,
    policy: PortraitPolicy = PortraitPolicy(),
    *,
    preprocessing: Preprocessing = Preprocessing.FACE_1,
    looks: bool = True,
    size: int = SIZE,
    **options: Any,
) -> Prediction:
    """The answer of a model that wants its pictures so."""
    predictor = Predictor.load(tiny_model(preprocessing=preprocessing.described(size)))
    pictures = Pictures(detector() if looks else None, policy, 10_000_000, 20_000_000, 64)
    data = encoded(image, **{"quality": 95, **options})
    return answer_picture(predictor, data, pictures, heatmap=Heatmap.NONE, arrived=time.perf_counter())


def two(share: float = 0.9) -> Image.Image:
    """Two faces, the second one `share` as large."""
    both = Image.new("RGB", (drawn().width * 2, drawn().height), (128, 120, 110))
    both.paste(drawn(), (0, 0))
    small = drawn(7, seed=9).resize((round(drawn().width * share),) * 2)
    both.paste(small, (drawn().width, 0))
    return both


def test_a_portrait_is_framed_and_nothing_is_advised() -> None:
    found = answer(placed(drawn(), 1.0, side=800))
    assert (found.face_search, found.frame.found, found.frame.turn) == ("on", True, 0)
    assert found.preprocessing == Preprocessing.FACE_1.value
    assert found.advice == ()
    assert found.warnings == ("A made-up model for tests.",)
    assert found.face is not None
    assert found.face.score > 0.7
    eyes = [found.face.points[index] for index in (0, 1)]
    assert all(200 < x < 600 and 200 < y < 600 for x, y in eyes)
    square = found.frame.square
    assert square.side > found.face.width
    assert abs(square.x - found.face.x) < square.side / 4
    crop = found.image.crop
    assert (crop.width, crop.height) == pytest.approx((square.side, square.side))
    assert (crop.left, crop.top) == pytest.approx((square.x - square.side / 2, square.y - square.side / 2))


def test_a_picture_that_lies_on_its_side_is_turned_and_said_to_be() -> None:
    upright = placed(drawn(), 1.0, side=600).crop((0, 0, 560, 600))
    expected = answer(upright, format="PNG")
    lying = answer(upright.transpose(Image.Transpose.ROTATE_90), format="PNG")
    assert lying.frame.turn == 90
    assert (lying.image.width, lying.image.height) == (600, 560)
    assert (lying.frame.width, lying.frame.height) == (560, 600)
    assert lying.frame.square.x == pytest.approx(expected.frame.square.x, abs=3)
    # Where it is in the picture as displayed, for clients that know no turn.
    middle = (lying.image.crop.left + lying.image.crop.width / 2, lying.image.crop.top + lying.image.crop.height / 2)
    assert middle == pytest.approx((expected.frame.square.y, 560 - expected.frame.square.x), abs=3)


def test_an_older_model_gets_its_middle_square_and_the_face_is_told() -> None:
    found = answer(placed(drawn(), 0.5), preprocessing=Preprocessing.MIDDLE_3)
    assert found.preprocessing == "shared.imaging.square/3"
    assert (found.frame.square.x, found.frame.square.y, found.frame.square.side) == (500, 500, 1000)
    assert found.frame.found is True
    assert found.face is not None


def test_where_nobody_looks_every_answer_says_so() -> None:
    found = answer(drawn(), looks=False)
    assert (found.face_search, found.face, found.frame.found, found.advice) == ("off", None, None, ())
    assert any(warning.startswith("No face was looked for") for warning in found.warnings)
    older = answer(drawn(), looks=False, preprocessing=Preprocessing.MIDDLE_2)
    assert (older.face_search, older.warnings) == ("off", ("A made-up model for tests.",))


def test_advice_has_a_code_a_measure_a_limit_and_a_sentence_that_is_among_the_warnings() -> None:
    found = answer(two())
    (advice,) = found.advice
    assert (advice.code, advice.measure) == ("multiple_faces", "single_face_present")
    assert advice.value == pytest.approx(0.9, abs=0.1)
    assert advice.limit < advice.value
    assert advice.message in found.warnings
    assert "largest" in advice.message


def test_a_face_is_as_large_as_it_is_in_the_whole_picture() -> None:
    large = drawn().resize((1600, 1600))  # decoded at a quarter, where its eyes are less than 120 pixels apart
    assert answer(large).advice == ()
    small = answer(placed(drawn(), 0.4, side=700))
    assert [advice.code for advice in small.advice] == ["face_too_small"]
    assert small.advice[0].value < small.advice[0].limit
    assert not any(warning.startswith("Low resolution") for warning in small.warnings)  # which says the same


def refused(image: Image.Image, policy: PortraitPolicy) -> PortraitUnfit:
    with pytest.raises(PortraitUnfit) as caught:
        answer(image, policy)
    return caught.value


def blank() -> Image.Image:
    """Skin without a face."""
    image = Image.new("RGB", (300, 300), (182, 140, 120))
    ImageDraw.Draw(image).ellipse((120, 120, 160, 160), fill=(170, 110, 100))
    return image


def test_what_is_no_portrait_is_refused_where_that_is_asked_for() -> None:
    require = PortraitPolicy(FacePolicy.REQUIRE)
    assert answer(drawn(), require).advice == ()
    for image, code in (
        (blank(), "no_face"),
        (placed(drawn(), 0.4, side=700), "face_too_small"),
        (drawn().crop((0, 0, 384, 250)), "face_cut"),
        (drawn().point(lambda value: int(value * 0.25)), "too_dark"),
    ):
        error = refused(image, require)
        assert (error.code, error.status) == (code, 422)
        problem = error.problem()
        assert problem["detail"] == problem["reasons"][0]["message"]
        assert problem["reasons"][0]["code"] == code
        assert set(problem["portrait"]) == set(Portrait.model_fields)
    assert [advice.code for advice in answer(blank()).advice] == ["no_face"]


def test_several_faces_are_refused_by_a_setting_of_its_own() -> None:
    assert [a.code for a in answer(two(), PortraitPolicy(FacePolicy.REQUIRE)).advice] == ["multiple_faces"]
    for policy in (FacePolicy.WARN, FacePolicy.REQUIRE):
        error = refused(two(), PortraitPolicy(policy, MultipleFaces.REFUSE))
        assert error.code == "multiple_faces"
        assert error.problem()["portrait"]["faces"] == 2
    assert answer(blank(), PortraitPolicy(FacePolicy.WARN, MultipleFaces.REFUSE)).advice[0].code == "no_face"


def test_without_a_policy_nothing_is_advised() -> None:
    found = answer(two(), PortraitPolicy(FacePolicy.OFF))
    assert (found.advice, found.frame.found) == ((), True)
    assert found.warnings == ("A made-up model for tests.",)


def test_every_advice_has_an_error_of_its_code_and_is_in_the_schema() -> None:
    assert {code: error.code for code, error in _REFUSALS.items()} == {code: code.value for code in AdviceCode}
    assert list(get_args(AdviceName)) == list(AdviceCode)


@pytest.mark.parametrize(
    ("policy", "search"),
    [
        (PortraitPolicy(FacePolicy.REQUIRE), FaceSearch.OFF),
        (PortraitPolicy(FacePolicy.WARN, MultipleFaces.REFUSE), FaceSearch.OFF),
        (PortraitPolicy(FacePolicy.OFF, MultipleFaces.REFUSE), FaceSearch.ON),
    ],
)
def test_settings_that_do_not_go_together_are_refused(policy: PortraitPolicy, search: FaceSearch) -> None:
    with pytest.raises(ConfigurationError, match="EVENSKIN_"):
        policy.check(search)


def test_defaults_go_together() -> None:
    for search in FaceSearch:
        PortraitPolicy().check(search)
    PortraitPolicy(FacePolicy.REQUIRE, MultipleFaces.REFUSE).check(FaceSearch.ON)


def test_squares_of_one_portrait_in_borders_are_the_same() -> None:
    """Nothing that the model sees changes much with what is beside the face."""
    predictor = Predictor.load(tiny_model())
    seen = []
    for share, side in ((1.0, 404), (1.0, 500), (1.0, 640)):
        data = encoded(placed(drawn(), share, side=side), "PNG")
        pictures = Pictures(detector(), PortraitPolicy(), 10_000_000, 20_000_000, 64)
        found = answer_picture(predictor, data, pictures, heatmap=Heatmap.NONE, arrived=time.perf_counter())
        seen.append([list(c.severity_probabilities.model_dump().values()) for c in found.conditions])
    assert np.abs(np.array(seen) - np.array(seen[0])).max() < 0.1
