"""A JPEG that lacks only its end marker is read; one that lacks more is not."""

from __future__ import annotations

import numpy as np
import pytest

from services.augmenter.flips import flip_horizontally
from shared.errors import ImageBroken, ImageTooManyPixels
from shared.imaging import PictureWarning, decode, open_checked, pixels_of
from shared.pictures.jpeg import says_every_coefficient, without_padding
from tests.fakes.pictures import noise
from tests.unit.model_server.pictures import encoded

SEED = 4  # of a picture whose files have no zero at their end
KINDS = {
    "baseline": encoded(noise(SEED, 208, 176), "JPEG"),
    "4:4:4": encoded(noise(SEED, 208, 176), "JPEG", subsampling="4:4:4", quality=95),
    "grey": encoded(noise(SEED, 208, 176).convert("L"), "JPEG"),
    "inks": encoded(noise(SEED, 208, 176).convert("CMYK"), "JPEG"),
    "progressive": encoded(noise(SEED, 208, 176), "JPEG", progressive=True),
    "restarts": encoded(noise(SEED, 208, 176), "JPEG", restart_marker_rows=1),
}


def scans(data: bytes) -> list[int]:
    """Where the scans of a JPEG begin."""
    found, at = [], 0
    while (at := data.find(b"\xff\xda", at)) >= 0:
        found.append(at)
        at += 2
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rest", [b"", b"\xff", b"\xff\xff", bytes(512), b"\n"])
@pytest.mark.parametrize("min_side", [None, 88, 22])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read_with_a_warning(
    kind: str, rest: bytes, min_side: int | None
) -> None:
    whole = KINDS[kind]
    assert whole.endswith(b"\xff\xd9")
    decoded, endless = decode(whole, min_side=min_side), decode(whole[:-2] + rest, min_side=min_side)
    assert (decoded.warnings, endless.warnings) == ((), (PictureWarning.NO_END_MARKER,))
    assert np.array_equal(np.asarray(endless.image), np.asarray(decoded.image))
    assert endless.warnings[0] == "no_end_marker"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rest", [b"", bytes(2000)])
def test_a_jpeg_that_is_cut_off_is_refused(kind: str, rest: bytes) -> None:
    whole = KINDS[kind]
    begins = scans(whole)[0]
    for share in (0.02, 0.3, 0.7, 0.98):
        with pytest.raises(ImageBroken):
            decode(whole[: begins + int((len(whole) - begins) * share)] + rest)
    for lacking in (6, 12, 40):
        with pytest.raises(ImageBroken):
            decode(whole[:-lacking] + rest)


def test_a_jpeg_that_is_cut_off_between_two_scans_is_refused() -> None:
    whole = KINDS["progressive"]
    starts = scans(whole)
    assert len(starts) > 3
    assert says_every_coefficient(whole)
    for start in starts[1:]:
        tables = whole.rfind(b"\xff\xc4", 0, start)  # a scan's tables stand before it
        assert not says_every_coefficient(whole[:tables])
        with pytest.raises(ImageBroken):
            decode(whole[:tables])


def test_what_stands_for_an_end_marker_is_told_from_data() -> None:
    assert without_padding(b"data\xff") == b"data"
    assert without_padding(b"data") == b"data"
    assert without_padding(b"data" + bytes(3)) == b"data"
    assert without_padding(b"data\0\0") == b"data\0\0"  # perhaps the picture's
    assert without_padding(b"data\xff\0") == b"data\xff\0"  # a data byte of 255
    assert without_padding(b"data\xff\0\0\0") == b"data\xff\0"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_flipped(kind: str) -> None:
    flipped = decode(flip_horizontally(KINDS[kind][:-2]).data)
    assert flipped.warnings == ()
    expected = np.asarray(decode(KINDS[kind]).image, dtype=int)[:, ::-1]
    assert np.abs(np.asarray(flipped.image, dtype=int) - expected).mean() < 3


def test_pixels_are_counted_at_the_scale_that_is_needed() -> None:
    assert [pixels_of(KINDS["baseline"], side) for side in (None, 176, 89, 88, 44, 22, 1)] == [
        *[208 * 176] * 3,
        104 * 88,
        52 * 44,
        26 * 22,
        26 * 22,
    ]
    assert pixels_of(KINDS["progressive"], 22) == 208 * 176  # its coefficients are all held until the last scan came
    assert pixels_of(encoded(noise(SEED, 208, 176), "PNG"), 22) == 208 * 176


def test_the_work_on_a_jpeg_is_bounded_at_every_scale() -> None:
    data = KINDS["grey"]
    at = data.index(b"\xff\xc0") + 5
    for height, fits in ((3814, True), (3815, False)):
        huge = data[:at] + height.to_bytes(2, "big") + (65535).to_bytes(2, "big") + data[at + 4 :]
        if fits:
            assert open_checked(huge, min_side=258).width == 65535
        else:
            with pytest.raises(ImageTooManyPixels, match="250000000"):
                open_checked(huge, min_side=258)
