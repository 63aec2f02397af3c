"""From a picture's bytes to the answer, without HTTP."""

from __future__ import annotations

import base64
import io
import math
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.model_server.prediction import Limits, answer_picture, crop_of, heatmap_png
from services.model_server.predictor import Predictor
from shared.documents.predictions import Prediction
from shared.errors import EvenskinError
from shared.taxonomy import Condition
from tests.unit.model_server.pictures import encoded, face, orientations
from tests.unit.model_server.tiny_model import CELLS, tiny_model

SHOWN = {Condition.ACNE, Condition.AGING}
LIMITS = Limits(max_bytes=10_000_000, max_pixels=10_000_000, heatmap_max_side=64)


def answer(data: bytes, *, heatmap: bool = False, predictor: Predictor | None = None) -> Prediction:
    return answer_picture(
        predictor or Predictor.load(tiny_model()), data, limits=LIMITS, heatmap=heatmap, arrived=time.perf_counter()
    )


def probabilities(answered: Prediction) -> np.typing.NDArray[np.float64]:
    return np.array([list(found.severity_probabilities.model_dump().values()) for found in answered.conditions])


def heat(png: str | None) -> np.typing.NDArray[np.uint8]:
    assert png is not None
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.asarray(image)


@pytest.mark.parametrize("name", orientations())
def test_all_eight_orientations_get_the_same_answer(name: str) -> None:
    predictor = Predictor.load(tiny_model())
    answers = {number: answer(data, predictor=predictor) for number, data in orientations()[name].items()}

    for number, found in answers.items():
        assert found.image.orientation == number
        assert (found.image.width, found.image.height) == (answers[1].image.width, answers[1].image.height)
        assert np.abs(probabilities(found) - probabilities(answers[1])).max() < 0.02


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
    model, *picture = answer(encoded(face(*size))).warnings
    assert model == "A made-up model for tests."
    assert [warning.split(":")[0] for warning in picture] == told


def test_heatmaps_come_only_when_asked_for_and_cover_the_crop() -> None:
    data = encoded(face())
    assert all(c.heatmap is None for c in answer(data).conditions)

    asked = answer(data, heatmap=True)
    for condition in asked.conditions:
        pixels = heat(condition.heatmap)
        assert pixels.shape == (CELLS, CELLS)
        assert (pixels.min(), pixels.max()) == (0, 255)
    assert asked.image.crop == crop_of(300, 360)
    assert asked.image.crop.model_dump() == {"left": 0, "top": 30, "width": 300, "height": 300}


def test_a_heatmap_shows_where_the_evidence_is() -> None:
    activation = np.full((5, 8), -3.0, np.float32)
    activation[1, 6] = 4.0
    pixels = heat(heatmap_png(activation, 64))
    assert pixels.argmax() == 1 * 8 + 6


def test_a_large_map_is_scaled_down_and_an_even_one_is_black() -> None:
    assert heat(heatmap_png(np.zeros((6, 6), np.float32), 64)).max() == 0
    ramp = np.linspace(0, 1, 200 * 100, dtype=np.float32).reshape(200, 100)
    assert heat(heatmap_png(ramp, 64)).shape == (64, 32)


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
