"""The review gate: why a picture is refused, and that others are not."""

from __future__ import annotations

import io
import re
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageFilter

from services.generator.procedural import draw
from services.labeler_api.pictures.gate import LOOKED_AT_SIDE, examine, measure, tone_reason
from services.labeler_api.pictures.perceptual_hash import look
from services.labeler_api.settings import LabelerSettings
from shared.events import Subject
from shared.imaging import decode
from shared.taxonomy import MONK_TONES, AgeBand, Condition, Light, Severity, Sex, View
from tests.fakes.pictures import encoded, noise, png
from tests.unit.generator.test_procedural import Person
from tests.unit.model_server.pictures import SELFIES
from tests.unit.shared.portraits import detector, drawn, drawn_file


def reason(data: bytes) -> str:
    """The kinds of reason that a picture is refused for."""
    return ",".join(found.partition(":")[0] for found in examine(data).reasons)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_good_picture_passes(format: str) -> None:
    report = examine(encoded(noise(1, 300, 400), format))
    assert report.reasons == ()
    assert (report.width, report.height) == (300, 400)
    assert report.look is not None
    assert set(report.quality) == {"brightness", "contrast", "sharpness"}


def test_a_real_photograph_passes() -> None:
    path = SELFIES / "astronaut.png"
    if path.exists():
        assert examine(path.read_bytes()).reasons == ()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "unreadable"),
        (b"text", "unreadable"),
        (png(1)[:20_000], "unreadable"),
        (encoded(noise(1, 255, 300)), "too_small"),
        (encoded(noise(1, 256, 513)), "wrong_shape"),
        (encoded(noise(1, 256, 512)), ""),
        (encoded(noise(1, 200, 500)), "too_small,wrong_shape"),
        (encoded(Image.new("RGB", (300, 300), "black")), "flat"),
        (encoded(Image.new("RGB", (300, 300), "white")), "flat"),
        (encoded(Image.new("RGB", (300, 300), (180, 140, 120))), "flat"),
        (encoded(noise(1, 400, 400).filter(ImageFilter.GaussianBlur(12))), "blurred"),
    ],
)
def test_a_picture_that_is_unfit_is_refused(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_a_jpeg_that_is_decoded_smaller_looks_the_same() -> None:
    face = draw({}, Person(), seed=1, size=1024)
    for quality in (75, 92):
        data = encoded(Image.open(io.BytesIO(face)).convert("RGB"), "JPEG", quality=quality)
        assert decode(data, min_side=LOOKED_AT_SIDE).scale == 0.5
        whole, report = decode(data).image.convert("L"), examine(data)
        assert report.look is not None
        for name, value in measure(whole).items():
            assert report.quality[name] == pytest.approx(value, rel=0.01)
        differing = int.from_bytes(report.look.hash, "big") ^ int.from_bytes(look(whole).hash, "big")
        assert differing.bit_count() <= 2  # far fewer than a near-duplicate may differ in
        assert (report.width, report.height) == (1024, 1024)


def _subject(number: int, tone: int) -> Subject:
    ages, lights, views = tuple(AgeBand), tuple(Light), tuple(View)
    return Subject(
        skin_tone=tone,
        age_band=ages[number % len(ages)],
        sex=tuple(Sex)[number % 2],
        light=lights[(number // 2) % len(lights)],
        view=views[number % len(views)],
    )


@pytest.mark.parametrize("tone", MONK_TONES)
def test_drawn_faces_of_every_tone_pass_with_their_frame_found(tone: int) -> None:
    settings = LabelerSettings(_env_file=None)
    for number in range(tone, tone + 6, 2):
        condition = tuple(Condition)[number % len(Condition)]
        data = draw({condition: Severity(1 + number % 3)}, _subject(number, tone), 1000 * tone + number, 512)
        report = examine(data, detector(), settings.gate_limits)
        assert report.reasons == ()
        assert tone_reason(report, tone, settings.gate_max_tone_distance) is None
        assert report.frame is not None
        assert report.frame.found is True
        assert {"inter_eye_distance", "head_pose_yaw", "skin_lightness"} < set(report.quality)


def test_no_face_is_missed_where_nobody_looks() -> None:
    report = examine(png(1))
    assert report.reasons == ()
    assert report.frame is not None
    assert report.frame.found is None
    assert tone_reason(report, 1, 0.01) is None


def test_a_face_is_measured_in_pixels_of_the_whole_picture() -> None:
    large = drawn().resize((1536, 1536), Image.Resampling.BICUBIC)
    small, decoded_smaller = (examine(encoded(image, "JPEG", quality=95), detector()) for image in (drawn(), large))
    ratio = decoded_smaller.quality["inter_eye_distance"] / small.quality["inter_eye_distance"]
    assert ratio == pytest.approx(4, rel=0.03)


def test_the_skins_tone_is_compared_with_the_asked_one() -> None:
    light, dark = examine(drawn_file(2), detector()), examine(drawn_file(10), detector())
    assert (tone_reason(light, 2, 30), tone_reason(dark, 10, 30)) == (None, None)
    lighter, darker = tone_reason(light, 9, 30), tone_reason(dark, 2, 30)
    assert lighter is not None
    assert re.fullmatch(r"wrong_skin_tone: the skin is \d+ L\* lighter than tone 9 .+ at most 30 is right", lighter)
    assert darker is not None
    assert " darker than tone 2 " in darker
    assert ";" not in lighter + darker  # reasons are told in one text, separated so


def test_dark_skin_on_a_dark_ground_is_not_black() -> None:
    pixels = np.asarray(noise(1), dtype=np.float32)
    dark = Image.fromarray((18 + (pixels - pixels.mean()) * 0.35 + 8).clip(0, 255).astype(np.uint8))
    assert reason(encoded(dark)) == ""


def test_sharpness_does_not_depend_on_the_size() -> None:
    small = noise(1, 256, 256)
    large = small.resize((1024, 1024), Image.Resampling.NEAREST)
    assert measure(large)["sharpness"] == pytest.approx(measure(small)["sharpness"], rel=0.05)


def test_a_long_strip_needs_no_more_memory_than_a_portrait() -> None:
    strip = Image.new("L", (64, 100_000))
    tracemalloc.start()
    try:
        measure(strip)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
