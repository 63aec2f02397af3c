"""From a picture's bytes to the answer, without HTTP."""

from __future__ import annotations

import base64
import io
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.model_server.heatmaps import OVERLAY_SIDE, Heatmap, heatmap_png
from services.model_server.portrait_policy import PortraitPolicy
from services.model_server.prediction import Pictures, answer_picture, crop_of
from services.model_server.predictor import Prediction as Output
from services.model_server.predictor import Predictor
from shared.documents.predictions import Prediction
from shared.errors import EvenskinError
from shared.frames import Frame, Square
from shared.imaging import Pixels
from shared.taxonomy import Condition
from tests.unit.model_server.pictures import encoded, face, orientations
from tests.unit.model_server.tiny_model import CELLS, tiny_model
from tests.unit.shared.portraits import detector

SHOWN = {Condition.ACNE, Condition.AGING}
PLAIN = Pictures(
    detector=None, policy=PortraitPolicy(), max_bytes=10_000_000, max_pixels=10_000_000, heatmap_max_side=64
)


def looking(policy: PortraitPolicy = PortraitPolicy()) -> Pictures:
    """A search for faces, and a policy."""
    return replace(PLAIN, detector=detector(), policy=policy)


def answer(
    data: bytes, pictures: Pictures = PLAIN, *, heatmap: Heatmap = Heatmap.NONE, predictor: Predictor | None = None
) -> Prediction:
    return answer_picture(
        predictor or Predictor.load(tiny_model()), data, pictures, heatmap=heatmap, arrived=time.perf_counter()
    )


def probabilities(answered: Prediction) -> np.typing.NDArray[np.float64]:
    return np.array([list(found.severity_probabilities.model_dump().values()) for found in answered.conditions])


def heat(png: str | None) -> np.typing.NDArray[np.uint8]:
    assert png is not None
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.asarray(image)


def test_a_model_abstains_within_its_bands_and_decides_all_the_same() -> None:
    plain = answer(encoded(face()))
    assert not any(found.abstained for found in plain.conditions)
    first, second, third = (found.probability for found in plain.conditions[:3])
    bands = {
        plain.conditions[0].condition: {"low": first, "high": first},
        plain.conditions[1].condition: {"low": min(1, second + 0.001), "high": 1.0},
        plain.conditions[2].condition: {"low": 0.0, "high": 1.0},
    }
    banded = answer(encoded(face()), predictor=Predictor.load(tiny_model(abstention=bands)))
    assert [found.abstained for found in banded.conditions] == [True, False, True, *[False] * 4]
    assert [(found.present, found.probability) for found in banded.conditions] == [
        (found.present, found.probability) for found in plain.conditions
    ]
    assert third == banded.conditions[2].probability


@pytest.mark.parametrize("name", orientations())
def test_all_eight_orientations_get_the_same_answer(name: str) -> None:
    predictor = Predictor.load(tiny_model())
    answers = {number: answer(data, predictor=predictor) for number, data in orientations()[name].items()}

    for number, found in answers.items():
        assert found.image.orientation == number
        assert (found.image.width, found.image.height) == (answers[1].image.width, answers[1].image.height)
        assert np.abs(probabilities(found) - probabilities(answers[1])).max() < 0.02


@pytest.mark.parametrize("name", orientations())
def test_in_all_eight_orientations_the_face_is_framed_alike(name: str) -> None:
    answers = [answer(data, looking()) for data in orientations()[name].values()]
    upright = answers[0].frame
    assert upright.found is (name == "photograph")
    for found in answers:
        assert (found.frame.width, found.frame.height, found.frame.turn) == (upright.width, upright.height, 0)
        for length in ("x", "y", "side"):
            difference = getattr(found.frame.square, length) - getattr(upright.square, length)
            assert abs(difference) < 0.01 * upright.square.side
        assert abs(found.frame.square.roll - upright.square.roll) < 1
        # The model for tests weighs pixels by chance; a trained one does not change as much with part of a pixel.
        assert np.abs(probabilities(found) - probabilities(answers[0])).max() < 0.06


def test_the_model_for_tests_would_notice_a_wrong_turn() -> None:
    upright = probabilities(answer(encoded(face(), "PNG")))
    for turn in Image.Transpose:
        turned = probabilities(answer(encoded(face().transpose(turn), "PNG")))
        assert np.abs(turned - upright).max() > 0.1, turn


def test_severity_is_the_likeliest_where_present_and_null_where_not() -> None:
    some = Predictor.load(tiny_model(thresholds={c: 0.0 if c in SHOWN else 1.0 for c in Condition}))
    found = answer(encoded(face()), predictor=some).conditions
    assert [c.condition for c in found] == list(Condition)
    assert {c.condition for c in found if c.present} == SHOWN
    for condition in found:
        levels = condition.severity_probabilities.model_dump()
        assert condition.probability == pytest.approx(1 - levels["absent"], abs=1e-5)
        present_levels = {name: level for name, level in levels.items() if name != "absent"}
        likeliest = max(present_levels, key=lambda name: present_levels[name])
        assert condition.severity == (likeliest if condition.present else None)


def test_no_figure_that_is_shown_contradicts_another() -> None:
    levels = np.array([[0.4999996, 0.1666669, 0.1666668, 0.1666667], [0.5000004, 0.1, 0.1999994, 0.2]] * 4)[:7]
    fixed = Output(levels[np.newaxis].astype(np.float32), np.zeros((1, 7, 2, 2), np.float32))

    class Fixed(Predictor):
        def predict(self, batch: Pixels) -> Output:
            return fixed

    loaded = Predictor.load(tiny_model())
    found = answer(encoded(face()), predictor=Fixed(loaded.session, loaded.metadata, loaded.preprocessing)).conditions
    for condition in found:
        shown = condition.severity_probabilities
        assert condition.present == (condition.probability >= 0.5)
        assert condition.probability == pytest.approx(1 - shown.absent, abs=1e-9)
        if condition.severity is not None:
            assert getattr(shown, condition.severity) == max(shown.mild, shown.moderate, shown.severe)
    assert {condition.present for condition in found} == {True}


@pytest.mark.parametrize(
    ("turn", "crop"),
    [(0, (10, 60, 80, 80)), (90, (60, 10, 80, 80)), (180, (10, 60, 80, 80)), (270, (60, 10, 80, 80))],
)
def test_older_clients_get_the_frame_in_the_picture_as_it_is_displayed(turn: Any, crop: tuple[int, ...]) -> None:
    width, height = (100, 200) if turn in (0, 180) else (200, 100)
    x, y = {0: (50, 100), 90: (100, 50), 180: (50, 100), 270: (100, 50)}[turn]
    frame = Frame(found=True, width=100, height=200, turn=turn, square=Square(x=50, y=100, side=80, roll=8))
    found = crop_of(frame)
    assert (found.left + found.width / 2, found.top + found.height / 2) == (x, y)
    assert (found.left, found.top, found.width, found.height) == crop
    assert found.left + found.width <= width
    assert found.top + found.height <= height


def test_a_threshold_of_the_model_decides() -> None:
    eager = Predictor.load(tiny_model(thresholds=dict.fromkeys(Condition, 0.0)))
    assert all(c.present and c.severity for c in answer(encoded(face()), predictor=eager).conditions)


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((300, 360), []),
        ((80, 90), ["Low resolution"]),
        ((300, 600), ["Long picture"]),
        ((70, 300), ["Low resolution", "Long picture"]),
    ],
)
def test_warns_of_what_makes_the_answer_less_certain(size: tuple[int, int], told: list[str]) -> None:
    model, off, *picture = answer(encoded(face(*size))).warnings
    assert model == "A made-up model for tests."
    assert off.startswith("No face was looked for")
    assert [warning.split(":")[0] for warning in picture] == told


def test_heatmaps_come_only_when_asked_for_and_cover_the_crop() -> None:
    data = encoded(face())
    assert all(c.heatmap is None for c in answer(data).conditions)

    asked = answer(data, heatmap=Heatmap.GRID)
    for condition in asked.conditions:
        pixels = heat(condition.heatmap)
        assert pixels.shape == (CELLS, CELLS)
        assert (pixels.min(), pixels.max()) == (0, 255)
    assert asked.image.crop.model_dump() == {"left": 0, "top": 30, "width": 300, "height": 300}


def test_a_heatmap_shows_where_the_evidence_is() -> None:
    activation = np.full((5, 8), -3.0, np.float32)
    activation[1, 6] = 4.0
    pixels = heat(heatmap_png(activation, Heatmap.GRID, 64))
    assert pixels.argmax() == 1 * 8 + 6


def test_an_overlay_is_coloured_where_the_grid_is_bright_and_clear_where_it_is_dark() -> None:
    activation = np.zeros((4, 4), np.float32)
    activation[3, 0] = 1.0
    image = Image.open(io.BytesIO(base64.b64decode(heatmap_png(activation, Heatmap.OVERLAY, 64))))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (OVERLAY_SIDE, OVERLAY_SIDE))
    pixels = np.asarray(image).astype(int)
    red, _, blue, density = pixels[-20, 20]
    assert red > blue
    assert density > 150
    assert pixels[:128, 128:, 3].max() == 0
    flat = heatmap_png(np.ones((4, 4), np.float32), Heatmap.OVERLAY, 64)
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(flat))))[..., 3].max() == 0


def test_a_large_map_is_scaled_down_and_an_even_one_is_black() -> None:
    assert heat(heatmap_png(np.zeros((6, 6), np.float32), Heatmap.GRID, 64)).max() == 0
    ramp = np.linspace(0, 1, 200 * 100, dtype=np.float32).reshape(200, 100)
    assert heat(heatmap_png(ramp, Heatmap.GRID, 64)).shape == (64, 32)


def test_a_model_that_fails_after_its_warm_up_is_our_fault() -> None:
    broken = Predictor.load(tiny_model(bias=math.nan))
    with pytest.raises(EvenskinError) as caught:
        answer(encoded(face()), predictor=broken)
    assert caught.value.status == 500


def test_a_file_without_its_end_marker_is_answered_and_told() -> None:
    whole = answer(encoded(face()))
    endless = answer(encoded(face())[:-2])
    assert np.array_equal(probabilities(endless), probabilities(whole))
    told = "The file lacks its end marker (no_end_marker); the picture in it is whole."
    assert told in endless.warnings
    assert told not in whole.warnings


FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "PNG": {},
    "WEBP": {"lossless": True},
    "HEIF": {"quality": 100},
    "AVIF": {"quality": 100},
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gets_the_answer_of_its_pixels(name: str) -> None:
    exact = probabilities(answer(encoded(face(), "PNG")))
    found = answer(encoded(face(), name, **FORMATS[name]))
    assert found.image.format == name
    assert np.abs(probabilities(found) - exact).max() < 0.05
