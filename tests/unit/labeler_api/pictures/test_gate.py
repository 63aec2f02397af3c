"""The review gate: why a picture is refused, and that others are not."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageFilter

from services.generator.procedural import draw
from services.labeler_api.pictures.gate import LOOKED_AT_SIDE, examine, measure
from services.labeler_api.pictures.perceptual_hash import look
from shared.imaging import decode
from tests.fakes.pictures import encoded, noise, png
from tests.unit.generator.test_procedural import Person
from tests.unit.model_server.pictures import SELFIES


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
