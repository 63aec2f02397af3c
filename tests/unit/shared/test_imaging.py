"""Decoding: every kind of picture becomes upright sRGB; every kind of rubbish has its error."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

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
from shared.imaging import EXTENSIONS, FORMATS, MEDIA_TYPES, decode, format_of, model_input, open_checked, square
from tests.fakes.pictures import encoded, noise
from tests.unit.model_server.pictures import animated, face, oriented


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, depth: int, colour: int, *rest: bytes) -> bytes:
    """A PNG from its chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(rest) + chunk(b"IEND", b"")


GOOD = encoded(face(), "PNG")
BAD: dict[str, tuple[Callable[[], bytes], type[ImageError], int]] = {
    "empty": (lambda: b"", ImageEmpty, 422),
    "too many bytes": (lambda: GOOD + bytes(500_000), ImageTooLarge, 413),
    "text": (lambda: b"<svg/>", ImageUnsupported, 415),
    "gif": (lambda: encoded(face(), "GIF"), ImageUnsupported, 415),
    "tiff": (lambda: encoded(face(), "TIFF"), ImageUnsupported, 415),
    "bmp": (lambda: encoded(face(), "BMP"), ImageUnsupported, 415),
    "moving webp": (lambda: animated("WEBP"), ImageAnimated, 415),
    "moving png": (lambda: animated("PNG"), ImageAnimated, 415),
    "cut off png": (lambda: GOOD[: len(GOOD) // 2], ImageBroken, 422),
    "cut off jpeg": (lambda: encoded(face())[:4000], ImageBroken, 422),
    "cut off webp": (lambda: encoded(face(), "WEBP")[:1000], ImageBroken, 422),
    "damaged png": (lambda: GOOD[:200] + b"\xff" * 100 + GOOD[300:], ImageBroken, 422),
    "png of nothing": (lambda: png_of(100, 100, 8, 2, chunk(b"IDAT", zlib.compress(b""))), ImageBroken, 422),
    "narrow": (lambda: encoded(noise(1, 63, 500)), ImageTooSmall, 422),
    "too many pixels": (lambda: encoded(Image.new("L", (1001, 1000)), compress_level=9), ImageTooManyPixels, 422),
    "a bomb": (lambda: png_of(60_000, 60_000, 1, 0, chunk(b"IDAT", zlib.compress(b""))), ImageTooManyPixels, 422),
}


@pytest.mark.parametrize("kind", BAD)
def test_every_kind_of_rubbish_has_its_error(kind: str) -> None:
    make, error, status = BAD[kind]
    with pytest.raises(ImageError) as raised:
        decode(make(), max_bytes=500_000, max_pixels=1_000_000)
    assert type(raised.value) is error
    assert raised.value.status == status
    assert raised.value.advice


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read(format: str) -> None:
    data = encoded(face(), format)
    decoded = decode(data)
    assert (decoded.image.mode, decoded.width, decoded.height) == ("RGB", 300, 360)
    assert (decoded.format, decoded.orientation) == (format, 1)
    assert {format_of(open_checked(data))} <= set(MEDIA_TYPES) == set(EXTENSIONS)
    difference = np.abs(np.asarray(decoded.image, dtype=int) - np.asarray(face(), dtype=int))
    assert difference.mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(orientation: int) -> None:
    decoded = decode(oriented(orientation))
    assert (decoded.width, decoded.height, decoded.orientation) == (300, 360, orientation)
    assert np.abs(np.asarray(decoded.image, dtype=int) - np.asarray(face(), dtype=int)).mean() < 3


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
    for data, left in (
        (encoded(clear), (0, 0, 255)),
        (encoded(clear, "WEBP", lossless=True), (0, 0, 255)),
        (encoded(indexed, transparency=1), (0, 0, 255)),
        (encoded(grey), (30, 30, 30)),
    ):
        image = decode(data).image
        assert image.getpixel((60, 40)) == (255, 255, 255)
        assert image.getpixel((20, 40)) == left


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


def test_the_model_sees_the_middle() -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    pixels = square(image, 32)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[2:-2, 2:-2], np.asarray(Image.new("RGB", (28, 28), "blue")))
    assert (model_input(encoded(image), 32) == pixels).all()


def test_a_jpeg_with_pictures_behind_it_is_its_first() -> None:
    buffer = io.BytesIO()
    face().save(buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (300, 360), "green")])
    decoded = decode(buffer.getvalue())
    assert decoded.format == "JPEG"
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
    heic.write_bytes(encoded(face(), "HEIF"))
    jpeg.write_bytes(encoded(face(), "JPEG"))
    read = subprocess.run([sys.executable, "-c", _READ, heic, jpeg, decoder], capture_output=True, text=True)
    assert (read.stdout.strip(), read.stderr) == (answer, "")
