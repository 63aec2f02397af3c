"""Decoding: every kind of picture becomes upright sRGB; every kind of rubbish has its error."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared.errors import (
    ImageAnimated,
    ImageBroken,
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    ImageTooManyPixels,
    ImageTooSmall,
    ImageUnsupported,
)
from shared.imaging import (
    EXTENSIONS,
    FORMATS,
    MAX_BYTES,
    MEDIA_TYPES,
    STAND_IN_COMMENT,
    Decoded,
    decode,
    open_checked,
    pixels_of,
    stand_in_mark,
)
from tests.fakes.pictures import encoded, noise
from tests.unit.model_server.pictures import animated, face, oriented
from tests.unit.shared.middle_square import model_input, square


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


NO_DATA = chunk(b"IDAT", zlib.compress(b""))


def png_of(width: int, height: int, depth: int, colour: int, *rest: bytes) -> bytes:
    """A PNG from its chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(rest) + chunk(b"IEND", b"")


GOOD = encoded(face(), "PNG")
UNREAD = ("The upload is not a picture in a format that is read.", "Send JPEG, PNG, WebP, HEIC or AVIF.")
MOVES = ("The picture is animated.", "Send a still picture.")
HEADER = ("The picture's header is damaged.", "Export it again.")
CUT_OFF = ("The picture's data is damaged or cut off.", "Send it again.")
PIXELS = ("The picture has more than 1000000 pixels.", "Send a smaller picture.")
BAD: dict[str, tuple[Callable[[], bytes], type[ImageError], int, tuple[str, str]]] = {
    "empty": (lambda: b"", ImageEmpty, 422, ("The upload is empty.", "Send the bytes of a picture.")),
    "too many bytes": (
        lambda: GOOD + bytes(500_001 - len(GOOD)),
        ImageTooLarge,
        413,
        ("The upload has 500001 bytes; at most 500000 are read.", "Send a smaller picture."),
    ),
    "text": (lambda: b"A picture of me", ImageUnsupported, 415, UNREAD),
    "gif": (lambda: encoded(face(), "GIF"), ImageUnsupported, 415, ("GIF is not read.", UNREAD[1])),
    "moving webp": (lambda: animated("WEBP"), ImageAnimated, 415, MOVES),
    "moving png": (lambda: animated("PNG"), ImageAnimated, 415, MOVES),
    "half a png header": (lambda: GOOD[:20], ImageBroken, 422, HEADER),
    "half a webp header": (lambda: encoded(face(), "WEBP")[:30], ImageBroken, 422, HEADER),
    "cut off png": (lambda: GOOD[: len(GOOD) // 2], ImageBroken, 422, CUT_OFF),
    "cut off jpeg": (lambda: encoded(face())[:4000], ImageBroken, 422, CUT_OFF),
    "cut off webp": (lambda: encoded(face(), "WEBP")[:1000], ImageBroken, 422, HEADER),
    "damaged png": (lambda: GOOD[:200] + b"\xff" * 100 + GOOD[300:], ImageBroken, 422, CUT_OFF),
    "png of nothing": (lambda: png_of(100, 100, 8, 2, NO_DATA), ImageBroken, 422, CUT_OFF),
    "narrow": (
        lambda: encoded(noise(1, 63, 500)),
        ImageTooSmall,
        422,
        ("The picture is 63×500 pixels; its shorter side must have 64.", "Send a larger picture."),
    ),
    "too many pixels": (
        lambda: encoded(Image.new("L", (1001, 1000)), compress_level=9),
        ImageTooManyPixels,
        422,
        PIXELS,
    ),
    "a bomb": (lambda: png_of(60_000, 60_000, 1, 0, NO_DATA), ImageTooManyPixels, 422, PIXELS),
    "a bomb that Pillow only warns of": (
        lambda: png_of(10_000, 10_000, 1, 0, NO_DATA),
        ImageTooManyPixels,
        422,
        PIXELS,
    ),
}


@pytest.mark.filterwarnings("ignore")  # as in the services: which warnings are errors is for the code to say
@pytest.mark.parametrize("kind", BAD)
def test_every_kind_of_rubbish_has_its_error(kind: str) -> None:
    make, error, status, (message, advice) = BAD[kind]
    with pytest.raises(ImageError) as raised:
        decode(make(), max_bytes=500_000, max_pixels=1_000_000)
    assert type(raised.value) is error
    assert raised.value.status == status
    assert (raised.value.message, raised.value.advice) == (message, advice)


@pytest.mark.filterwarnings("ignore")
def test_what_is_odd_but_whole_is_read() -> None:
    frameless = (
        GOOD[:33] + chunk(b"acTL", bytes(8)) + GOOD[33:]
    )  # an animation of no frames: Pillow warns, and reads on
    assert decode(frameless).width == 300


def test_limits_are_20_mebibytes_at_a_door_and_50_million_pixels_unless_others_are_given() -> None:
    assert MAX_BYTES == 20 * 2**20
    with pytest.raises(ImageUnsupported):
        open_checked(bytes(MAX_BYTES), max_bytes=MAX_BYTES)
    with pytest.raises(ImageTooLarge):
        open_checked(bytes(MAX_BYTES + 1), max_bytes=MAX_BYTES)
    with pytest.raises(ImageUnsupported):
        open_checked(bytes(MAX_BYTES + 1))  # inside
    assert open_checked(png_of(10_000, 5_000, 1, 0, NO_DATA)).displayed_size == (10_000, 5_000)
    with pytest.raises(ImageTooManyPixels):
        open_checked(png_of(3, 16_666_667, 1, 0, NO_DATA))  # 50,000,001


def test_media_types_are_the_registered_ones_and_files_are_named_after_them() -> None:
    # https://www.iana.org/assignments/media-types/media-types.xhtml#image
    assert MEDIA_TYPES == {
        "JPEG": "image/jpeg",
        "PNG": "image/png",
        "WEBP": "image/webp",
        "HEIF": "image/heic",
        "AVIF": "image/avif",
    }
    assert EXTENSIONS == {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "HEIF": "heic", "AVIF": "avif"}


def test_what_is_just_within_the_limits_is_read() -> None:
    smallest = encoded(noise(1, 64, 64))
    decoded = decode(smallest, max_bytes=len(smallest), max_pixels=64 * 64)
    assert (decoded.width, decoded.height) == (64, 64)
    with pytest.raises(ImageTooLarge):
        decode(smallest, max_bytes=len(smallest) - 1)
    with pytest.raises(ImageTooManyPixels):
        decode(smallest, max_pixels=64 * 64 - 1)


def test_what_is_inside_has_no_limit_of_bytes() -> None:
    stored = GOOD + bytes(MAX_BYTES)
    assert decode(stored).width == 300
    assert np.array_equal(model_input(stored, 32), model_input(GOOD, 32))


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read(format: str) -> None:
    data = encoded(face(), format)
    decoded = decode(data)
    assert (decoded.image.mode, decoded.width, decoded.height) == ("RGB", 300, 360)
    assert (decoded.format, decoded.orientation) == (format, 1)
    assert {open_checked(data).format} <= set(MEDIA_TYPES) == set(EXTENSIONS)
    difference = np.abs(np.asarray(decoded.image, dtype=int) - np.asarray(face(), dtype=int))
    assert difference.mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(orientation: int) -> None:
    decoded = decode(oriented(orientation))
    assert (decoded.width, decoded.height, decoded.orientation) == (300, 360, orientation)
    assert np.abs(np.asarray(decoded.image, dtype=int) - np.asarray(face(), dtype=int)).mean() < 3


def test_a_damaged_tag_beside_a_sound_orientation_costs_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    damaged = exif.tobytes().replace(struct.pack(">II", 72, 1), struct.pack(">iI", -1, 0))
    assert damaged != exif.tobytes()
    decoded = decode(encoded(noise(1, 100, 80), "JPEG", exif=damaged))
    assert (decoded.width, decoded.height, decoded.orientation) == (80, 100, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("min_side", "scale"), [(None, 1), (151, 1), (150, 2), (76, 2), (75, 4), (37, 8), (1, 8)])
def test_a_jpeg_is_decoded_no_smaller_than_is_needed(orientation: int, min_side: int | None, scale: int) -> None:
    decoded = decode(oriented(orientation), min_side=min_side)
    assert (decoded.width, decoded.height, decoded.orientation) == (300, 360, orientation)
    assert decoded.image.size == (-(-300 // scale), 360 // scale)
    assert decoded.scale == 1 / scale
    expected = np.asarray(face().resize(decoded.image.size, Image.Resampling.BOX), dtype=int)
    assert np.abs(np.asarray(decoded.image, dtype=int) - expected).mean() < 3


@pytest.mark.parametrize("format", ["PNG", "WEBP", "HEIF"])
def test_a_format_without_scaled_decoding_is_decoded_whole(format: str) -> None:
    decoded = decode(encoded(face(), format), min_side=64)
    assert (decoded.image.size, decoded.scale) == ((300, 360), 1)


def test_whether_exif_says_how_a_picture_is_turned_is_told() -> None:
    assert decode(encoded(face())).exif_is_silent is True
    assert decode(oriented(0)).exif_is_silent is True
    assert [decode(oriented(orientation)).exif_is_silent for orientation in range(1, 9)] == [False] * 8


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_there_is_not_is_none(orientation: int) -> None:
    decoded = decode(oriented(orientation))
    assert (decoded.width, decoded.height, decoded.orientation) == (300, 360, 1)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_drawn_face_is_known_by_its_mark(format: str) -> None:
    assert decode(encoded(face(), format, **stand_in_mark(format))).is_stand_in is True
    assert decode(encoded(face(), format)).is_stand_in is False


def test_a_drawn_face_is_known_by_its_comment() -> None:
    comment = b"evenskin stand-in: drawn, not photographed"  # stores are full of it: it stays as it is
    assert comment == STAND_IN_COMMENT
    assert decode(encoded(face(), "JPEG", comment=comment)).is_stand_in is True
    assert Decoded(face(), "JPEG", 300, 360).is_stand_in is False
    assert decode(encoded(face(), "JPEG", comment=b"holidays")).is_stand_in is False
    assert decode(encoded(face(), "JPEG")).is_stand_in is False


def test_sixteen_bits_keep_their_brightness() -> None:
    levels = np.linspace(0, 65535, 100 * 100).astype(np.uint16).reshape(100, 100)
    decoded = np.asarray(decode(encoded(Image.fromarray(levels))).image, dtype=int)
    assert decoded[0, 0, 0] == 0
    assert decoded[-1, -1, 0] == 255
    assert np.abs(decoded[..., 1] - levels / 257).max() <= 1
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.stack([levels] * 3, axis=-1))
    deep = decode(png_of(100, 100, 16, 2, chunk(b"IDAT", zlib.compress(rows))))
    assert np.abs(np.asarray(deep.image, dtype=int)[..., 0] - levels / 257).max() <= 1


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 40, 80))
    indexed = Image.new("P", (80, 80), 1)
    indexed.putpalette([0, 0, 255, 9, 9, 9])
    indexed.paste(0, (0, 0, 40, 80))
    grey = Image.merge("LA", (Image.new("L", (80, 80), 30), clear.getchannel("A")))
    one_grey_clear = Image.new("L", (80, 80), 90)
    one_grey_clear.paste(30, (0, 0, 40, 80))
    for data, left in (
        (encoded(clear), (0, 0, 255)),
        (encoded(clear, "WEBP", lossless=True), (0, 0, 255)),
        (encoded(indexed, transparency=1), (0, 0, 255)),
        (encoded(grey), (30, 30, 30)),
        (encoded(clear.convert("RGB"), transparency=(255, 0, 0)), (0, 0, 255)),
        (encoded(one_grey_clear, transparency=90), (30, 30, 30)),
    ):
        image = decode(data).image
        assert image.getpixel((60, 40)) == (255, 255, 255)
        assert image.getpixel((20, 40)) == left


def test_a_mark_stands_where_its_format_has_comments() -> None:
    mark = "evenskin stand-in: drawn, not photographed"
    jpeg = Image.open(io.BytesIO(encoded(face(), "JPEG", **stand_in_mark("JPEG"))))
    assert jpeg.info["comment"] == mark.encode()
    png = Image.open(io.BytesIO(encoded(face(), "PNG", **stand_in_mark("PNG"))))
    assert png.info["Comment"] == mark  # the keyword of W3C PNG, 11.3.3.1
    webp = Image.open(io.BytesIO(encoded(face(), "WEBP", **stand_in_mark("WEBP"))))
    assert webp.getexif()[0x010E] == mark  # ImageDescription


def test_the_mark_of_a_jpeg_counts_behind_and_before_other_comments() -> None:
    def comment(text: bytes) -> bytes:
        return b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text

    plain, mark = encoded(face(), "JPEG"), comment(STAND_IN_COMMENT)
    for marks, drawn in ((mark, True), (mark + comment(b"a"), True), (comment(b"a") + mark, True), (b"", False)):
        assert decode(plain[:2] + marks + plain[2:]).is_stand_in is drawn
    holiday = b"\xff\xeb" + struct.pack(">H", len(STAND_IN_COMMENT) + 2) + STAND_IN_COMMENT  # APP11: no comment
    assert decode(plain[:2] + holiday + plain[2:]).is_stand_in is False


def test_pixels_are_counted_by_the_header() -> None:
    assert pixels_of(GOOD) == 300 * 360
    assert pixels_of(GOOD[:1000]) == 300 * 360  # its data is not looked at
    assert pixels_of(b"<svg/>") == pixels_of(b"") == 0


def packed(samples: list[int], depth: int) -> bytes:
    """A row of a PNG, without a filter."""
    bits = "".join(f"{sample:0{depth}b}" for sample in samples)
    return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def eight_bits(sample: int, depth: int) -> int:
    return sample >> 8 if depth == 16 else sample * 255 // ((1 << depth) - 1)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_white_at_every_depth(depth: int) -> None:
    top = (1 << depth) - 1
    for clear, seen in [(0, top), (top, 0), (top // 3, top // 3 + 1), (top // 3 + 1, top // 3)]:
        row = packed([clear] * 40 + [seen] * 40, depth)
        data = chunk(b"tRNS", struct.pack(">H", clear)) + chunk(b"IDAT", zlib.compress(row * 80))
        image = decode(png_of(80, 80, depth, 0, data)).image
        assert image.getpixel((20, 40)) == (255, 255, 255)
        assert image.getpixel((60, 40)) == (eight_bits(seen, depth),) * 3


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channel", range(3))
def test_the_transparent_colour_of_a_png_is_white_and_those_beside_it_are_not(channel: int, depth: int) -> None:
    clear = [eight_bits(0x1234, 24 - depth), 90 << depth - 8, 7]
    for bit in {0, depth - 1}:
        seen = [value ^ (1 << bit if index == channel else 0) for index, value in enumerate(clear)]
        row = packed(clear * 40 + seen * 40, depth)
        data = chunk(b"tRNS", struct.pack(">HHH", *clear)) + chunk(b"IDAT", zlib.compress(row * 80))
        image = decode(png_of(80, 80, depth, 2, data)).image
        assert image.getpixel((20, 40)) == (255, 255, 255)
        assert image.getpixel((60, 40)) == tuple(eight_bits(value, depth) for value in seen)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("opacities", [b"\xff\0", b"\x80\0", b"\0\0"])
def test_the_transparent_entries_of_a_palette_are_white_at_every_depth(opacities: bytes, depth: int) -> None:
    row = packed([1] * 40 + [0] * 40, depth)
    entries = chunk(b"PLTE", bytes([0, 0, 200, 9, 9, 9])) + chunk(b"tRNS", opacities)
    image = decode(png_of(80, 80, depth, 3, entries, chunk(b"IDAT", zlib.compress(row * 80)))).image
    assert image.getpixel((20, 40)) == (255, 255, 255)
    share = opacities[0] / 255
    assert image.getpixel((60, 40)) == pytest.approx((255 * (1 - share),) * 2 + (255 - 55 * share,), abs=1)


@pytest.mark.parametrize(("opacity", "seen"), [(0, (255, 255, 255)), (128, (127, 127, 227))])
def test_entries_of_a_palette_without_an_opacity_are_opaque(opacity: int, seen: tuple[int, int, int]) -> None:
    row = packed([1] * 40 + [0] * 40, 8)
    entries = chunk(b"PLTE", bytes([0, 0, 200, 9, 9, 9])) + chunk(b"tRNS", bytes([opacity]))
    image = decode(png_of(80, 80, 8, 3, entries, chunk(b"IDAT", zlib.compress(row * 80)))).image
    assert image.getpixel((20, 40)) == (9, 9, 9)
    assert image.getpixel((60, 40)) == seen


def test_of_a_transparent_grey_only_the_bits_of_the_depth_count() -> None:
    row = packed([5] * 40 + [4] * 40, 8)
    data = chunk(b"tRNS", struct.pack(">H", 0x0105)) + chunk(b"IDAT", zlib.compress(row * 80))  # W3C PNG, 11.3.1.1
    image = decode(png_of(80, 80, 8, 0, data)).image
    assert (image.getpixel((20, 40)), image.getpixel((60, 40))) == ((255, 255, 255), (4, 4, 4))


def test_every_row_of_a_tall_deep_grey_is_read() -> None:
    # Rows 0 to 299 of grey 256 · row / 2, and in the last third the left half transparent.
    clear, height = 65535, 300
    rows = [packed(([clear] * 40 if y >= 200 else [y * 128] * 40) + [y * 128] * 40, 16) for y in range(height)]
    data = chunk(b"tRNS", struct.pack(">H", clear)) + chunk(b"IDAT", zlib.compress(b"".join(rows)))
    pixels = np.asarray(decode(png_of(80, height, 16, 0, data)).image)[..., 0]
    expected = np.repeat(np.arange(height)[:, None] // 2, 80, axis=1)
    expected[200:, :40] = 255
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize(("colour", "channels"), [(4, 2), (6, 4)])
@pytest.mark.parametrize("depth", [8, 16])
def test_an_alpha_channel_is_laid_on_white_at_every_depth(depth: int, colour: int, channels: int) -> None:
    top = (1 << depth) - 1
    grey = top // 5
    row = packed(([grey] * (channels - 1) + [0]) * 40 + ([grey] * (channels - 1) + [top]) * 40, depth)
    image = decode(png_of(80, 80, depth, colour, chunk(b"IDAT", zlib.compress(row * 80)))).image
    assert image.getpixel((20, 40)) == (255, 255, 255)
    assert image.getpixel((60, 40)) == (51, 51, 51)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = face().convert(mode)
    decoded = decode(encoded(image, "JPEG" if mode == "CMYK" else "PNG")).image
    expected = np.asarray(image.convert("RGB"), dtype=int)
    assert decoded.mode == "RGB"
    assert np.abs(np.asarray(decoded, dtype=int) - expected).mean() < 4


def test_colour_profiles_are_applied() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    grey = Image.new("RGB", (80, 80), (120, 120, 120))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(encoded(grey, icc_profile=srgb)).image.getpixel((5, 5)) == (120, 120, 120)
    linear = bytearray(srgb)
    # Every tone curve of the sRGB profile becomes a straight line: its pixels are then linear light.
    for tag in (b"rTRC", b"gTRC", b"bTRC"):
        entry = linear.index(tag)
        offset = struct.unpack(">I", linear[entry + 4 : entry + 8])[0]
        linear[offset : offset + 14] = b"curv\0\0\0\0\0\0\0\1\1\0"
        linear[entry + 8 : entry + 12] = struct.pack(">I", 14)
    pixel = decode(encoded(grey, icc_profile=bytes(linear))).image.getpixel((5, 5))
    assert isinstance(pixel, tuple)
    assert pixel[0] == pytest.approx(182, abs=3)
    # A profile that does not fit, or is none, says nothing about the pixels.
    for useless in (profile.tobytes(), b"not a profile"):
        assert decode(encoded(grey, icc_profile=useless)).image.getpixel((5, 5)) == (120, 120, 120)


def test_a_colour_profile_counts_for_every_kind_of_png() -> None:
    # Light's three channels, each of which is another one's in this profile: red is green, green blue, blue red.
    d50 = {b"rXYZ": (0.3851, 0.7169, 0.0971), b"gXYZ": (0.1431, 0.0606, 0.7141), b"bXYZ": (0.4361, 0.2225, 0.0139)}
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag, place in d50.items():
        entry = profile.index(tag)
        offset = struct.unpack(">I", profile[entry + 4 : entry + 8])[0]
        profile[offset + 8 : offset + 20] = fixed(*place)
    plain = Image.new("RGB", (80, 80), (200, 100, 40))
    seen_through = plain.copy()
    seen_through.putalpha(255)
    indexed = plain.convert("P", palette=Image.Palette.ADAPTIVE)
    kinds: list[tuple[Image.Image, dict[str, Any]]] = [(plain, {}), (seen_through, {}), (indexed, {})]
    for image, options in [*kinds, (indexed, {"transparency": b"\xff\0"})]:
        pixel = decode(encoded(image, icc_profile=bytes(profile), **options)).image.getpixel((5, 5))
        assert pixel == pytest.approx((40, 200, 100), abs=2)
    deep = profile_of(b"mntr", b"GRAY", b"XYZ ", b"kTRC", b"curv\0\0\0\0\0\0\0\1\1\0")
    iccp = chunk(b"iCCP", b"linear\0\0" + zlib.compress(deep))
    for colour, channels in ((0, 1), (4, 2)):
        row = packed([120 * 257, *[65535] * (channels - 1)] * 80, 16)
        data = png_of(80, 80, 16, colour, iccp, chunk(b"IDAT", zlib.compress(row * 80)))
        assert decode(data).image.getpixel((5, 5)) == (182, 182, 182)


def fixed(*numbers: float) -> bytes:
    """Numbers as an ICC profile has them: signed, 16 bits before the point and 16 behind."""
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def profile_of(kind: bytes, space: bytes, connection: bytes, tag: bytes, content: bytes) -> bytes:
    """An ICC profile (version 2.4) of a white point (D50) and one tag (ICC.1:2001-04, chapter 6)."""
    white, offset = b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249), 128 + 4 + 2 * 12
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", offset, len(white), tag, offset + len(white), len(content))
    size = offset + len(white) + len(content)
    header = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02400000, kind, space, connection, b"acsp")
    return (header + fixed(0.9642, 1, 0.8249)).ljust(128, b"\0") + tags + white + content


def test_colour_profiles_of_grey_and_of_print_are_applied() -> None:
    linear = b"curv\0\0\0\0\0\0\0\1\1\0"
    grey = profile_of(b"mntr", b"GRAY", b"XYZ ", b"kTRC", linear)
    pixel = decode(encoded(Image.new("L", (80, 80), 120), icc_profile=grey)).image.getpixel((5, 5))
    assert pixel == (182, 182, 182)  # linear light of 120 / 255 in sRGB: 255 (1.055 · 0.4706^(1 / 2.4) - 0.055)
    # An ink's table with two nodes a channel, which looks at black alone: none of it is white, all of it is black.
    straight = bytes(range(256))
    nodes = bytes([255, 128, 128, 0, 128, 128]) * 8
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + straight * 4 + nodes + straight * 3
    press = profile_of(b"prtr", b"CMYK", b"Lab ", b"A2B0", table)
    inks = Image.new("CMYK", (80, 80), (10, 200, 30, 51))
    pixel = decode(encoded(inks, "JPEG", quality=95, icc_profile=press)).image.getpixel((5, 5))
    assert isinstance(pixel, tuple)
    assert pixel == pytest.approx((198, 198, 198), abs=2)  # 51 of 255 of black: L* 80, which is 198 in sRGB


def test_the_model_sees_the_middle_of_a_portrait() -> None:
    image = Image.new("RGB", (100, 300), "red")
    image.paste("blue", (0, 100, 100, 200))
    assert np.array_equal(square(image, 32)[2:-2, 2:-2], np.asarray(Image.new("RGB", (28, 28), "blue")))
    portrait = Image.merge("RGB", [Image.linear_gradient("L").resize((64, 256))] * 3)
    rows = square(portrait, 64)[:, 32, 0].astype(int)  # brightness there is the row's number: 96 to 159 is the middle
    assert np.abs(rows - np.arange(96, 160)).max() <= 1


def test_the_model_sees_the_middle() -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    pixels = square(image, 32)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[2:-2, 2:-2], np.asarray(Image.new("RGB", (28, 28), "blue")))
    assert (model_input(encoded(image), 32) == pixels).all()


@pytest.mark.parametrize(("container", "format"), [("MPO", "JPEG"), ("HEIF", "HEIF")])
def test_a_file_with_pictures_behind_the_first_is_the_first(container: str, format: str) -> None:
    buffer = io.BytesIO()
    face().save(buffer, container, save_all=True, append_images=[Image.new("RGB", (300, 360), "green")])
    decoded = decode(buffer.getvalue())
    assert decoded.format == format
    assert np.abs(np.asarray(decoded.image, dtype=int) - np.asarray(face(), dtype=int)).mean() < 4


_READ = """
import sys
from pathlib import Path
from shared.errors import ImageUnsupported
from shared.imaging import decode

heic, jpeg, missing = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes(), sys.argv[3] == "missing"
if missing:
    sys.modules["pillow_heif"] = None  # as if it were not installed
assert decode(jpeg).format == "JPEG"
assert sys.modules.get("pillow_heif") is None
try:
    print(decode(heic).format)
except ImageUnsupported as error:
    print(error.status)
"""


@pytest.mark.parametrize(("decoder", "answer"), [("there", "HEIF"), ("missing", "415")])
def test_the_decoder_of_heic_is_loaded_for_heic_alone(decoder: str, answer: str, tmp_path: Path) -> None:
    heic, jpeg = tmp_path / "face.heic", tmp_path / "face.jpg"
    heic.write_bytes(encoded(face(64, 80), "HEIF"))
    jpeg.write_bytes(encoded(face(64, 80), "JPEG"))
    assert decode(heic.read_bytes()).format == "HEIF"  # in this process the decoder is there and loaded
    read = subprocess.run([sys.executable, "-c", _READ, heic, jpeg, decoder], capture_output=True, text=True)
    assert (read.stdout.strip(), read.stderr) == (answer, "")
