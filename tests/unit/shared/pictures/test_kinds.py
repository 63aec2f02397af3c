"""What is read, and what is refused by its name."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from shared.errors import ImageAnimated, ImageUnsupported
from shared.imaging import decode
from tests.unit.model_server.pictures import animated, encoded, face

ADVICE = "Send JPEG, PNG, WebP, HEIC or AVIF."


def brands(major: bytes, *others: bytes) -> bytes:
    """The first box of a file in the ISO base media file format."""
    return struct.pack(">I", 16 + 4 * len(others)) + b"ftyp" + major + bytes(4) + b"".join(others)


NAMED = {
    "JPEG XL": [b"\xff\x0a\xfa\x1f", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl "],
    "JPEG 2000": [encoded(face(), "JPEG2000"), b"\xff\x4f\xff\x51\0\x2f"],
    "JPEG XR": [b"II\xbc\1\x20\0\0\0"],
    "GIF": [encoded(face(), "GIF"), animated("GIF")],
    "BMP": [encoded(face(), "BMP")],
    "TIFF (or a raw format such as DNG)": [encoded(face(), "TIFF"), b"MM\0*\0\0\0\x08"],
    "Canon raw (CR2)": [b"II*\0\x10\0\0\0CR\2\0"],
    "Canon raw (CR3)": [brands(b"crx ", b"crx ", b"isom")],
    "Fujifilm raw (RAF)": [b"FUJIFILMCCD-RAW 0201"],
    "ICO": [encoded(face(64, 64), "ICO")],
    "Photoshop (PSD)": [b"8BPS\0\1"],
    "PDF": [encoded(face(), "PDF")],
    "PostScript": [b"%!PS-Adobe-3.0"],
    "QOI": [b"qoif\0\0\0\x40"],
    "SVG": [
        b"<svg/>",
        b"<svg xmlns='http://www.w3.org/2000/svg'>",
        b'\n<?xml version="1.0"?>\n<!-- drawn -->\n<!DOCTYPE svg PUBLIC "x">\n<svg width="9">',
    ],
    "A web page": [b"<!DOCTYPE html><html>", b" <html lang='en'>"],
    "A ZIP archive": [b"PK\3\4\x14\0"],
    "Video (MP4 or QuickTime)": [brands(b"isom", b"mp41"), brands(b"qt  "), brands(b"mp42"), brands(b"3gp5")],
    "AVI video": [b"RIFF\x20\0\0\0AVI LIST"],
    "Matroska or WebM video": [b"\x1aE\xdf\xa3\x9f"],
    "Lossless JPEG": [b"\xff\xd8\xff\xc3\0\x0b\x08\0\x50\0\x50\1\1\x11\0"],
    "JPEG with 12 bits a sample": [b"\xff\xd8\xff\xc1\0\x0b\x0c\0\x50\0\x50\1\1\x11\0"],
    "JPEG-LS": [b"\xff\xd8\xff\xf7\0\x0b\x08\0\x50\0\x50\1\1\x11\0"],
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, files in NAMED.items() for data in files])
def test_a_format_that_is_not_read_is_named(name: str, data: bytes) -> None:
    with pytest.raises(ImageUnsupported) as raised:
        decode(data)
    assert (raised.value.message, raised.value.advice) == (f"{name} is not read.", ADVICE)
    assert raised.value.code == "image_unsupported"


@pytest.mark.parametrize(
    "data", [b"holidays", b"RIFF\x20\0\0\0WAVEfmt ", brands(b"xxxx"), b"\0" * 100, b"<a/>", b"not html"]
)
def test_what_nobody_knows_is_no_picture(data: bytes) -> None:
    with pytest.raises(ImageUnsupported) as raised:
        decode(data)
    assert raised.value.message == "The upload is not a picture in a format that is read."
    assert raised.value.advice == ADVICE


@pytest.mark.parametrize(
    "data",
    [
        animated("PNG"),
        animated("WEBP"),
        animated("AVIF"),
        brands(b"hevc", b"mif1", b"heic"),
        brands(b"msf1", b"hevc"),
        brands(b"avis", b"avif"),
    ],
    ids=["APNG", "WebP", "AVIF", "HEIC", "HEIC by its general brand", "AVIF by its brand"],
)
def test_an_animation_is_refused_and_says_so(data: bytes) -> None:
    with pytest.raises(ImageAnimated) as raised:
        decode(data)
    assert (raised.value.message, raised.value.code) == ("The picture is animated.", "image_animated")


def test_an_animation_of_one_frame_is_a_picture() -> None:
    plain = encoded(face(), "PNG")
    control = b"acTL" + struct.pack(">II", 1, 0)
    data = plain[:33] + struct.pack(">I", 8) + control + struct.pack(">I", zlib.crc32(control)) + plain[33:]
    assert decode(data).width == 300


@pytest.mark.parametrize("major", [b"mif1", b"heic", b"miaf", b"abcd"])
def test_a_heic_is_known_by_any_of_its_brands(major: bytes) -> None:
    data = encoded(face(), "HEIF")
    assert decode(data[:8] + major + data[12:]).format == "HEIF"


@pytest.mark.parametrize("major", [b"mif1", b"avif", b"miaf", b"abcd"])
def test_an_avif_is_known_by_any_of_its_brands(major: bytes) -> None:
    data = encoded(face(), "AVIF")
    assert decode(data[:8] + major + data[12:]).format == "AVIF"


def test_a_picture_behind_the_primary_one_does_not_count() -> None:
    buffer = io.BytesIO()
    other = Image.new("RGB", (300, 360), "green")
    other.save(buffer, "HEIF", save_all=True, append_images=[face()], primary_index=1)
    pixel = decode(buffer.getvalue()).image.getpixel((150, 60))
    assert pixel == pytest.approx(face().getpixel((150, 60)), abs=6)
