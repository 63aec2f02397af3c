"""From an encoded file to what a model sees, by every version that a model can name."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.errors import ImageTooLarge, InvalidRequest, ModelInvalid
from shared.imaging import decode
from shared.preprocessing import NEWEST, Prepared, Preprocessing, prepare, preprocessing_of
from tests.unit.shared.middle_square import model_input
from tests.unit.shared.portraits import ORIENTED, detector, drawn, photograph_file, placed

SIZE = 224


def jpeg(image: Image.Image, orientation: int | None = None, **options: Any) -> bytes:
    """The picture as a JPEG, with an EXIF orientation if one is named."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, exif=exif, **options)
    return buffer.getvalue()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference, of 255."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def found(data: bytes, size: int = SIZE) -> Prepared:
    """Prepared with a search for faces."""
    return prepare(data, size, detector=detector())


@pytest.mark.parametrize("version", [Preprocessing.MIDDLE_1, Preprocessing.MIDDLE_2, Preprocessing.MIDDLE_3])
def test_older_versions_see_the_middle_square(version: Preprocessing) -> None:
    data = jpeg(drawn().crop((0, 0, 300, 384)))
    for finder in (None, detector()):
        prepared = prepare(data, SIZE, version, detector=finder)
        assert np.array_equal(prepared.pixels, model_input(data, SIZE))
        assert (prepared.frame.square.x, prepared.frame.square.side) == (150, 300)
        assert prepared.frame.found is (None if finder is None else True)


def test_the_newest_frames_the_face() -> None:
    prepared = found(jpeg(placed(drawn(), 0.5)))
    assert prepared.frame.found is True
    assert prepared.frame.face is not None
    assert prepared.faces is not None
    assert abs(prepared.frame.square.x - 500) < 30
    assert prepared.pixels.shape == (SIZE, SIZE, 3)
    assert detector().detect(Image.fromarray(prepared.pixels))[0].size > SIZE / 2


def test_a_known_frame_needs_no_search_and_gives_the_same() -> None:
    for data in (jpeg(drawn(3)), jpeg(placed(drawn(6), 0.3, side=2000))):
        first = found(data)
        again = prepare(data, SIZE, frame=first.frame)
        assert again.frame == first.frame
        assert again.faces is None
        assert np.array_equal(again.pixels, first.pixels)


def test_without_a_search_the_middle_is_taken_and_told() -> None:
    prepared = prepare(jpeg(placed(drawn(), 0.5)), SIZE)
    assert prepared.frame.found is None
    assert prepared.faces is None
    assert prepared.frame.square.side == 1000


def test_a_picture_without_a_face_keeps_its_middle() -> None:
    skin = drawn().crop((120, 200, 190, 280))
    prepared = found(jpeg(skin.resize((420, 480))))
    assert (prepared.frame.found, prepared.faces) == (False, ())
    assert prepared.frame.square.side == 420


def test_a_small_face_in_a_large_picture_is_decoded_finer() -> None:
    large = placed(drawn(4), 1.4, side=3000)
    whole = np.asarray(large)
    prepared = found(jpeg(large))
    assert 0 < prepared.decoded.scale < 1
    assert prepared.frame.square.side * prepared.decoded.scale >= SIZE
    fine = prepare(jpeg(large), SIZE, frame=prepared.frame)
    assert fine.frame.width == whole.shape[1]
    small = placed(drawn(4), 0.9, side=3000)
    assert found(jpeg(small)).decoded.scale > 0.5 >= decode(jpeg(small), min_side=320).scale


def test_a_large_picture_of_one_face_is_decoded_small() -> None:
    data = jpeg(drawn().resize((2400, 2400)))
    prepared = found(data)
    assert prepared.decoded.scale <= 0.25
    whole = prepare(jpeg(drawn().resize((2400, 2400))), 512, frame=prepared.frame)
    smaller = np.asarray(Image.fromarray(whole.pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    assert difference(smaller, prepared.pixels) < 1.5


def test_a_picture_that_lies_is_set_upright_only_where_its_file_is_silent() -> None:
    upright = drawn(5, seed=2)
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    mended = found(jpeg(lying))
    assert mended.frame.turn == 90
    assert difference(mended.pixels, found(jpeg(upright)).pixels) < 6
    assert np.array_equal(prepare(jpeg(lying), SIZE, frame=mended.frame).pixels, mended.pixels)
    assert found(jpeg(lying, orientation=1)).frame.turn == 0
    assert prepare(jpeg(lying), SIZE, Preprocessing.MIDDLE_3, detector=detector()).frame.turn == 0


def test_a_quarter_turn_exchanges_the_frame_s_width_and_height() -> None:
    wide = Image.new("RGB", (384, 500), (128, 120, 110))
    wide.paste(drawn(5, seed=2), (0, 50))
    prepared = found(jpeg(wide.transpose(Image.Transpose.ROTATE_90)))
    assert (prepared.decoded.width, prepared.decoded.height) == (500, 384)
    assert (prepared.frame.width, prepared.frame.height) == (384, 500)
    assert prepared.upright.size == (384, 500)


def test_the_frame_of_another_picture_is_refused() -> None:
    frame = found(jpeg(drawn())).frame
    with pytest.raises(InvalidRequest, match="384×384"):
        prepare(jpeg(drawn().resize((300, 300))), SIZE, frame=frame)


def test_the_eight_orientations_are_one_picture() -> None:
    upright = drawn(4)
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    files = [jpeg(upright, 1), *(jpeg(upright.transpose(turn), number) for number, turn in back.items())]
    for group in (files, [data for name in ORIENTED if (data := photograph_file(name)) is not None]):
        answers = [found(data) for data in group]
        for answer in answers:
            assert answer.frame.turn == 0
            assert answer.frame.square.side == pytest.approx(answers[0].frame.square.side, rel=0.015)
            assert difference(answer.pixels, answers[0].pixels) < 9


def test_limits_of_the_door_hold() -> None:
    with pytest.raises(ImageTooLarge):
        prepare(jpeg(drawn()), SIZE, max_bytes=100)


@pytest.mark.parametrize("version", Preprocessing)
def test_a_model_s_metadata_name_their_version(version: Preprocessing) -> None:
    assert preprocessing_of(version.described(224)) is version
    assert preprocessing_of(version.value) is version


def test_an_older_model_s_own_words_are_understood() -> None:
    text = "shared.imaging.square/2: upright sRGB, centre-cropped square, bicubic to 224 px, RGB uint8"
    assert preprocessing_of(text) is Preprocessing.MIDDLE_2
    assert Preprocessing.MIDDLE_2.described(224) == text


def test_an_unknown_version_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ModelInvalid, match=r"square/9.*shared\.imaging\.square/1") as unknown:
        preprocessing_of("shared.imaging.square/9: from the future")
    assert "newer" in unknown.value.advice
    assert NEWEST.frames_the_face


def test_a_small_face_in_a_huge_picture_is_not_decoded_whole() -> None:
    data = jpeg(placed(drawn(5), 1.0, side=2400))
    whole = found(data)
    bounded = prepare(data, SIZE, detector=detector(), max_pixels=2_000_000)
    assert whole.decoded.image.size == (2400, 2400)
    assert bounded.decoded.image.size == (1200, 1200)  # of a picture with more pixels than are decoded
    assert whole.frame.face is not None
    assert bounded.frame.square.side == pytest.approx(whole.frame.square.side, rel=0.03)
    again = prepare(data, SIZE, frame=bounded.frame, max_pixels=2_000_000)
    assert np.array_equal(again.pixels, bounded.pixels)
