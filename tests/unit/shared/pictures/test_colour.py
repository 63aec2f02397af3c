"""Colours that code points describe: nclx of HEIC and AVIF, cICP of PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared.errors import ImageUnsupported
from shared.imaging import decode
from tests.unit.model_server.pictures import encoded

COLOUR = (200, 100, 81)
PLAIN = Image.new("RGB", (96, 80), COLOUR)


def lossless(format: str, primaries: int, transfer: int) -> bytes:
    """The plain picture with code points."""
    if format == "PNG":
        data = encoded(PLAIN, "PNG")
        body = b"cICP" + bytes((primaries, transfer, 0, 1))
        return data[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
    data = encoded(PLAIN, format, quality=100)
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def expected(primaries: int, transfer: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The colour in sRGB, by the matrices that are published for these primaries under D65."""
    to_xyz = {
        # SMPTE RP 177 on ITU-R BT.709, BT.2020 and Display P3
        1: [[0.4123908, 0.3575843, 0.1804808], [0.2126390, 0.7151687, 0.0721923], [0.0193308, 0.1191948, 0.9505322]],
        9: [[0.6369580, 0.1446169, 0.1688810], [0.2627002, 0.6779981, 0.0593017], [0.0, 0.0280727, 1.0609851]],
        12: [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0.0, 0.0451134, 1.0439444]],
    }
    value = np.array(COLOUR) / 255
    curve = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    light = {8: value, 4: value**2.2}.get(transfer, curve)
    linear = np.clip(np.linalg.inv(to_xyz[1]) @ np.array(to_xyz[primaries]) @ light, 0, 1)
    encoded_light = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    result: np.ndarray[tuple[int], np.dtype[np.float64]] = 255 * encoded_light
    return result


@pytest.mark.parametrize("format", ["HEIF", "AVIF", "PNG"])
@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (9, 13), (12, 13), (1, 8), (12, 8), (9, 4), (9, 1)])
def test_code_points_count(format: str, primaries: int, transfer: int) -> None:
    pixel = decode(lossless(format, primaries, transfer)).image.getpixel((40, 40))
    assert pixel == pytest.approx(expected(primaries, transfer), abs=2)


@pytest.mark.parametrize("format", ["HEIF", "AVIF", "PNG"])
@pytest.mark.parametrize(
    ("primaries", "transfer"), [(2, 2), (1, 1), (1, 2), (1, 6), (99, 13), (1, 99), (9, 99), (0, 0), (3, 3)]
)
def test_code_points_that_are_srgbs_or_mean_nothing_change_nothing(format: str, primaries: int, transfer: int) -> None:
    pixel = decode(lossless(format, primaries, transfer)).image.getpixel((40, 40))
    assert pixel == pytest.approx(COLOUR, abs=2)


@pytest.mark.parametrize("format", ["HEIF", "AVIF", "PNG"])
@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ (SMPTE ST 2084)"), (18, "HLG (ARIB STD-B67)")])
def test_high_dynamic_range_is_refused_by_its_name(format: str, transfer: int, name: str) -> None:
    with pytest.raises(ImageUnsupported) as raised:
        decode(lossless(format, 9, transfer))
    assert raised.value.message == f"A picture of high dynamic range, coded as {name}, is not read."
    assert raised.value.advice == "Export it in standard range (SDR)."


def test_grey_is_seen_through_code_points_too() -> None:
    linear = encoded(PLAIN.convert("L").point(lambda _: 120), "PNG")
    body = b"cICP\x01\x08\x00\x01"
    data = linear[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + linear[33:]
    assert decode(data).image.getpixel((40, 40)) == pytest.approx((182,) * 3, abs=1)


def test_a_profile_goes_before_code_points() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(PLAIN, "PNG", icc_profile=profile)
    for code_points in (b"\x0c\x0d\x00\x01", b"\x09\x10\x00\x01"):
        body = b"cICP" + code_points
        both = data[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
        assert decode(both).image.getpixel((40, 40)) == pytest.approx(COLOUR, abs=1)


def test_a_profile_of_colours_counts_for_grey() -> None:
    linear = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag in (b"rTRC", b"gTRC", b"bTRC"):
        entry = linear.index(tag)
        offset = struct.unpack(">I", linear[entry + 4 : entry + 8])[0]
        linear[offset : offset + 14] = b"curv\0\0\0\0\0\0\0\1\1\0"
    for format in ("PNG", "JPEG"):
        data = encoded(Image.new("L", (80, 80), 120), format, icc_profile=bytes(linear))
        assert decode(data).image.getpixel((5, 5)) == pytest.approx((182,) * 3, abs=1)
