"""What a flip does to pictures, seen from outside; PNGs are written and read by this file's own few lines."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import jpeglib
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageOps

from services.augmenter import jpeg, jpeg_coefficients, png, turbojpeg
from services.augmenter.flips import Flipped, flip_horizontally
from services.augmenter.jpeg import Way
from shared.errors import (
    ImageAnimated,
    ImageBroken,
    ImageEmpty,
    ImageError,
    ImageTooSmall,
    ImageUnsupported,
)
from shared.imaging import STAND_IN_COMMENT, decode, open_checked, stand_in_mark
from shared.pictures.provenance import Marks, SourceType, marks_of, with_marks

Array = npt.NDArray[Any]
ORIENTATIONS = range(1, 9)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8)]
KINDS += [(4, 8), (4, 16), (6, 8), (6, 16)]


def photograph(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """Smooth colours with noise and no symmetry."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8))
    smooth = coarse.resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth, np.int16) + rng.integers(-4, 5, (height, width, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, *, orientation: int | None = None, **options: Any) -> bytes:
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010F] = "Secret Camera"
        exif.get_ifd(0x8825)[1] = "N"  # GPS
        options["exif"] = exif.tobytes()
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def displayed(data: bytes) -> Array:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.int16)


def assert_mirrored(result: Flipped, source: bytes, *, tolerance: int) -> None:
    """What a viewer shows of the result is what it shows of the source, mirrored."""
    difference = np.abs(displayed(result.data) - displayed(source)[:, ::-1])
    assert difference.max() <= tolerance
    assert (result.height, result.width) == displayed(result.data).shape[:2]


def info(data: bytes) -> dict[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return dict(image.info)


def exif_tags(data: bytes) -> set[int]:
    with Image.open(io.BytesIO(data)) as image:
        return set(image.getexif())


# PNG


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, at + 8 + length)[0]
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    return chunks


def paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))


def predict(kind: int, left: int, above: int, corner: int) -> int:
    return (0, left, above, (left + above) // 2, paeth(left, above, corner))[kind]


def filter_row(kind: int, row: bytes, above: bytes, step: int) -> bytes:
    padded, upper = bytes(step) + row, bytes(step) + above
    return bytes([kind]) + bytes((row[i] - predict(kind, padded[i], above[i], upper[i])) & 255 for i in range(len(row)))


def unfilter_row(kind: int, row: bytes, above: bytes, step: int) -> bytes:
    out, upper = bytearray(step), bytes(step) + above
    for i, value in enumerate(row):
        out.append((value + predict(kind, out[i], above[i], upper[i])) & 255)
    return bytes(out[step:])


def packed_row(samples: Array, depth: int) -> bytes:
    if depth == 16:
        return samples.astype(">u2").tobytes()
    bits = np.unpackbits(samples.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - depth :]
    return np.packbits(bits.ravel()).tobytes()


def write_png(samples: Array, colour: int, depth: int, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """Encode (height, width, channels), with all five row filters in turn."""
    height, width, channels = samples.shape
    step = max(1, channels * depth // 8)
    raw = bytearray()
    for column, row, columns, rows in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples[row::rows, column::columns]
        above = bytes(len(packed_row(part[0], depth)))
        for number, line in enumerate(part):
            packed = packed_row(line, depth)
            raw += filter_row(number % 5, packed, above, step)
            above = packed
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    parts = [b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", header), extra]
    compressed = zlib.compress(bytes(raw))
    parts += [png_chunk(b"IDAT", compressed[:100]), png_chunk(b"IDAT", compressed[100:]), png_chunk(b"IEND", b"")]
    return b"".join(parts)


def read_png(data: bytes) -> Array:
    """Decode a PNG that is not interlaced to (height, width, channels)."""
    chunks = png_chunks(data)
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert not interlace
    channels = CHANNELS[colour]
    size = (width * channels * depth + 7) // 8
    raw, above, rows = zlib.decompress(chunks[b"IDAT"]), bytes(size), []
    for number in range(height):
        line = raw[number * (size + 1) : (number + 1) * (size + 1)]
        above = unfilter_row(line[0], line[1:], above, max(1, channels * depth // 8))
        rows.append(above)
    flat = np.frombuffer(b"".join(rows), np.uint8).reshape(height, size)
    if depth == 16:
        return flat.view(">u2").reshape(height, width, channels).astype(np.uint16)
    if depth == 8:
        return flat.reshape(height, width, channels)
    bits = np.unpackbits(flat, axis=1).reshape(height, -1, depth)[:, :width]
    return np.packbits(np.pad(bits, ((0, 0), (0, 0), (8 - depth, 0))), axis=2)


def samples_of(colour: int, depth: int, *, width: int = 77, height: int = 66) -> Array:
    """Random, in both bytes of 16-bit samples; the width leaves bits unused in the last byte of a row."""
    top = 2 if colour == 3 and depth == 1 else 1 << depth
    kind = np.uint16 if depth == 16 else np.uint8
    return np.random.default_rng(depth).integers(0, top, (height, width, CHANNELS[colour])).astype(kind)


def palette(depth: int) -> bytes:
    colours = np.random.default_rng(1).integers(0, 256, (1 << depth, 3)).astype(np.uint8).tobytes()
    return png_chunk(b"PLTE", colours) + png_chunk(b"tRNS", bytes([0, 128]))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_png_is_exact_in_every_kind(colour: int, depth: int, interlaced: bool) -> None:
    samples = samples_of(colour, depth)
    extra = palette(depth) if colour == 3 else b""
    result = flip_horizontally(write_png(samples, colour, depth, interlaced=interlaced, extra=extra))

    assert np.array_equal(read_png(result.data), samples[:, ::-1])
    assert (result.extension, result.media_type, result.lossless) == ("png", "image/png", True)
    assert (result.width, result.height) == (77, 66)
    before, after = png_chunks(bytes(8) + extra), png_chunks(result.data)
    assert {kind: after[kind] for kind in before} == before
    with Image.open(io.BytesIO(result.data)) as image:
        image.verify()
    assert cv2.imdecode(np.frombuffer(result.data, np.uint8), cv2.IMREAD_UNCHANGED) is not None


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_png_mirrors_what_is_displayed(orientation: int, mode: str) -> None:
    source = encoded(photograph(90, 70).convert(mode), "PNG", orientation=orientation)
    result = flip_horizontally(source)

    assert_mirrored(result, source, tolerance=0)
    assert b"eXIf" not in png_chunks(result.data)


def test_png_larger_than_one_band_is_exact() -> None:
    source = encoded(photograph(900, 700), "PNG")
    assert_mirrored(flip_horizontally(source), source, tolerance=0)


def test_png_keeps_what_defines_its_colours_and_drops_the_rest() -> None:
    colours = {b"gAMA": b"\0\0\xb1\x8f", b"cHRM": bytes(32), b"sBIT": b"\5\6\5", b"sRGB": b"\0", b"tRNS": bytes(6)}
    extra = b"".join(png_chunk(kind, body) for kind, body in colours.items())
    extra += png_chunk(b"tEXt", b"Author\0somebody") + png_chunk(b"tIME", bytes([7, 230, 1, 1, 0, 0, 0]))
    after = png_chunks(flip_horizontally(write_png(samples_of(2, 8), 2, 8, extra=extra)).data)

    assert {kind: body for kind, body in after.items() if kind not in (b"IHDR", b"IDAT", b"IEND")} == colours


def test_png_swaps_its_densities_with_its_sides() -> None:
    with Image.open(io.BytesIO(encoded(photograph(90, 70), "PNG", orientation=6))) as image:
        source = encoded(image, "PNG", orientation=6, dpi=(100, 200))
    before = struct.unpack(">IIB", png_chunks(source)[b"pHYs"])
    after = struct.unpack(">IIB", png_chunks(flip_horizontally(source).data)[b"pHYs"])
    assert after == (before[1], before[0], before[2])


# JPEG


def coefficients(data: bytes, tmp_path: Path) -> list[Array]:
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    picture = jpeglib.read_dct(str(path))
    return [part for part in (picture.Y, picture.Cb, picture.Cr) if part is not None]


LOSSLESS_WAYS = [Way.LIBTURBOJPEG, Way.JPEGLIB]
SAMPLINGS: list[dict[str, Any]] = [
    {"subsampling": "4:4:4"},
    {"subsampling": "4:2:2"},
    {"subsampling": "4:2:0"},
    {"progressive": True},
    {"optimize": True, "quality": 30},
    {"keep_rgb": True},
    {"restart_marker_rows": 1},
]


def test_the_fastest_way_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jpeg.best_way() is Way.LIBTURBOJPEG, "The tests need libturbojpeg. Debian: apt-get install libturbojpeg0."
    monkeypatch.setattr(turbojpeg, "is_there", lambda: False)
    assert jpeg.best_way() is Way.JPEGLIB
    monkeypatch.setattr(jpeg_coefficients, "jpeglib", None)
    assert jpeg.best_way() is Way.REENCODING


@pytest.mark.parametrize("way", LOSSLESS_WAYS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", SAMPLINGS, ids=str)
def test_jpeg_is_flipped_in_its_coefficients(options: dict[str, Any], mode: str, way: Way, tmp_path: Path) -> None:
    # 75 pixels of height: the axis that is not mirrored need not fit
    source = encoded(photograph(96, 75).convert(mode), "JPEG", icc_profile=PROFILE, **options)
    once = flip_horizontally(source, jpeg_way=way)
    twice = flip_horizontally(once.data, jpeg_way=way)

    assert once.lossless
    assert twice.lossless
    assert (once.extension, once.media_type) == ("jpg", "image/jpeg")
    assert_mirrored(once, source, tolerance=3)  # the inverse DCT rounds
    assert info(once.data)["icc_profile"] == PROFILE
    for before, mirrored, after in zip(
        *(coefficients(data, tmp_path) for data in (source, once.data, twice.data)), strict=True
    ):
        signs = np.array([1, -1] * 4)
        assert np.array_equal(mirrored, before[:, ::-1] * signs)
        assert np.array_equal(after, before)
    with Image.open(io.BytesIO(source)) as one, Image.open(io.BytesIO(once.data)) as other:
        assert one.quantization == other.quantization  # type: ignore[attr-defined]
    assert cv2.imdecode(np.frombuffer(once.data, np.uint8), cv2.IMREAD_UNCHANGED) is not None


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("size", [(96, 80), (101, 83)], ids=["exact", "encoded anew"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_jpeg_mirrors_what_is_displayed(orientation: int, size: tuple[int, int], way: Way) -> None:
    source = encoded(photograph(*size), "JPEG", orientation=orientation, quality=95, icc_profile=PROFILE)
    result = flip_horizontally(source, jpeg_way=way)

    assert result.lossless == (size == (96, 80) and way is not Way.REENCODING)
    assert_mirrored(result, source, tolerance=3 if result.lossless else 16)
    assert info(result.data)["icc_profile"] == PROFILE
    assert exif_tags(result.data) <= {0x0112}


def test_jpeg_of_an_odd_size_keeps_its_quantization_and_sampling() -> None:
    source = encoded(photograph(101, 83), "JPEG", quality=88, subsampling="4:2:2")
    result = flip_horizontally(source)
    with Image.open(io.BytesIO(source)) as one, Image.open(io.BytesIO(result.data)) as other:
        assert not result.lossless
        assert one.quantization == other.quantization  # type: ignore[attr-defined]
        assert one.layer == other.layer  # type: ignore[attr-defined]
    difference = displayed(result.data) - displayed(source)[:, ::-1]
    assert np.abs(difference).mean() < 1.5


@pytest.mark.parametrize("way", Way)
def test_cmyk_jpeg_is_flipped_without_loss_by_libturbojpeg_alone(way: Way) -> None:
    source = encoded(photograph(96, 80).convert("CMYK"), "JPEG", quality=95)
    result = flip_horizontally(source, jpeg_way=way)
    assert result.lossless == (way is Way.LIBTURBOJPEG)
    assert_mirrored(result, source, tolerance=12)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_flip_is_coded_as_its_source(progressive: bool) -> None:
    source = encoded(photograph(96, 80), "JPEG", progressive=progressive)
    assert ("progressive" in info(flip_horizontally(source).data)) == progressive


@pytest.mark.parametrize("way", LOSSLESS_WAYS)
def test_damage_that_decoders_warn_of_is_flipped_as_they_show_it(way: Way) -> None:
    good = encoded(photograph(96, 80), "JPEG", quality=95)
    scan = good.index(b"\xff\xda") + 14
    damaged = good[: scan + 900] + bytes(8) + good[scan + 908 :]
    result = flip_horizontally(damaged, jpeg_way=way)
    assert_mirrored(result, damaged, tolerance=40)  # where nothing is sure, decoders smooth in their own way


def test_a_missing_temporary_directory_is_not_the_pictures_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        flip_horizontally(encoded(photograph(96, 80), "JPEG"), jpeg_way=Way.JPEGLIB)


def test_jpeg_thumbnail_is_dropped() -> None:
    plain = encoded(photograph(96, 80), "JPEG")
    thumbnail = b"JFIF\0\1\1\0\0\1\0\1\2\2" + b"a thumbnail!"
    end = 4 + struct.unpack_from(">H", plain, 4)[0]
    source = plain[:2] + b"\xff\xe0" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + plain[end:]
    result = flip_horizontally(source)
    assert result.lossless
    assert b"a thumbnail!" not in result.data
    assert_mirrored(result, source, tolerance=3)


# WebP


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("lossless", [True, False])
def test_webp_mirrors_what_is_displayed(orientation: int, lossless: bool) -> None:
    source = encoded(
        photograph(90, 70), "WEBP", orientation=orientation, lossless=lossless, quality=90, icc_profile=PROFILE
    )
    result = flip_horizontally(source)

    assert (result.extension, result.media_type, result.lossless) == ("webp", "image/webp", lossless)
    assert_mirrored(result, source, tolerance=0 if lossless else 24)
    assert info(result.data)["icc_profile"] == PROFILE
    assert exif_tags(result.data) == set()


def test_lossless_webp_keeps_colours_under_transparency() -> None:
    image = photograph(90, 70)
    image.putalpha(0)
    result = flip_horizontally(encoded(image, "WEBP", lossless=True, exact=True))
    with Image.open(io.BytesIO(result.data)) as flipped:
        assert np.array_equal(np.asarray(flipped), np.asarray(image)[:, ::-1])


# What only others read


def without_end(data: bytes) -> bytes:
    return data[:-12]


def damaged_behind_the_data(data: bytes) -> bytes:
    return data[:-12] + b"\0\0\0\4tEXtA\0bc" + bytes(4) + data[-12:]


def wrong_checksum_of_the_data(data: bytes) -> bytes:
    at = data.index(b"IDAT")
    (length,) = struct.unpack_from(">I", data, at - 4)
    end = at + 4 + length
    return data[:end] + bytes(4) + data[end + 4 :]


def padded_segments(data: bytes) -> bytes:
    at = 4 + struct.unpack_from(">H", data, 4)[0]  # behind the first segment
    return data[:at] + b"\0\7\xff\0" + data[at:]


@pytest.mark.parametrize("damage", [without_end, damaged_behind_the_data, wrong_checksum_of_the_data])
@pytest.mark.parametrize(("colour", "depth"), [(0, 16), (2, 8), (6, 16)])
def test_a_png_that_is_whole_but_for_its_frame_is_exact(
    colour: int, depth: int, damage: Callable[[bytes], bytes]
) -> None:
    samples = samples_of(colour, depth)
    source = damage(write_png(samples, colour, depth))
    result = flip_horizontally(source)
    assert np.array_equal(read_png(result.data), samples[:, ::-1])
    assert result.lossless
    assert np.array_equal(np.asarray(decode(result.data).image), np.asarray(decode(source).image)[:, ::-1])


@pytest.mark.parametrize("way", LOSSLESS_WAYS)
def test_a_jpeg_with_padding_between_its_segments_is_flipped_in_its_coefficients(way: Way) -> None:
    plain = encoded(photograph(96, 80), "JPEG")
    assert flip_horizontally(padded_segments(plain), jpeg_way=way) == flip_horizontally(plain, jpeg_way=way)
    assert flip_horizontally(plain, jpeg_way=way).lossless


FALLBACKS: list[tuple[str, str, dict[str, Any], int]] = [
    ("png.read_chunks", "PNG", {}, 0),
    ("jpeg.mirror", "JPEG", {"quality": 95}, 12),
    ("webp.mirror", "WEBP", {"lossless": True}, 0),
    ("webp.mirror", "WEBP", {"quality": 90}, 24),
]


@pytest.mark.parametrize("refusal", [ImageBroken("It cannot be taken apart."), IndexError(), struct.error()])
@pytest.mark.parametrize(("parser", "kind", "options", "tolerance"), FALLBACKS)
@pytest.mark.parametrize("drawn", [False, True])
def test_what_our_parser_refuses_is_flipped_as_it_decodes(
    parser: str,
    kind: str,
    options: dict[str, Any],
    tolerance: int,
    drawn: bool,
    refusal: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise refusal

    marks = stand_in_mark(kind) if drawn else {"orientation": 6}
    source = encoded(photograph(96, 80), kind, **options, **marks)
    kept = flip_horizontally(source)
    monkeypatch.setattr(f"services.augmenter.{parser}", refuse)
    result = flip_horizontally(source)
    assert_mirrored(result, source, tolerance=tolerance)
    assert not result.lossless
    assert (result.extension, result.media_type) == (kept.extension, kept.media_type)
    assert decode(result.data).is_stand_in == drawn


@pytest.mark.parametrize(("colour", "depth"), [(2, 8), (6, 16)])
def test_a_png_of_too_many_samples_is_flipped_as_it_decodes(
    colour: int, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_png(samples_of(colour, depth), colour, depth)
    held = 77 * 66 * CHANNELS[colour] * depth // 8
    monkeypatch.setattr(png, "MAX_SAMPLE_BYTES", held)
    assert flip_horizontally(source).lossless
    monkeypatch.setattr(png, "MAX_SAMPLE_BYTES", held - 1)
    result = flip_horizontally(source)
    assert not result.lossless
    assert np.array_equal(np.asarray(decode(result.data).image), np.asarray(decode(source).image)[:, ::-1])


@pytest.mark.parametrize("way", LOSSLESS_WAYS)
@pytest.mark.parametrize(("subsampling", "blocks"), [("4:4:4", 3 * 12 * 10), ("4:2:0", 12 * 10 + 2 * 6 * 5)])
def test_a_jpeg_of_too_many_coefficients_is_encoded_anew(
    subsampling: str, blocks: int, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = encoded(photograph(96, 80), "JPEG", quality=95, subsampling=subsampling)
    monkeypatch.setattr(jpeg, "MAX_COEFFICIENT_BYTES", blocks * 64 * 2)
    assert flip_horizontally(source, jpeg_way=way).lossless
    monkeypatch.setattr(jpeg, "MAX_COEFFICIENT_BYTES", blocks * 64 * 2 - 1)
    result = flip_horizontally(source, jpeg_way=way)
    assert not result.lossless
    assert_mirrored(result, source, tolerance=16)


@pytest.mark.parametrize(
    ("kind", "way"), [("PNG", Way.LIBTURBOJPEG), ("WEBP", Way.LIBTURBOJPEG), *(("JPEG", way) for way in Way)]
)
def test_what_decodes_is_flipped_wherever_it_is_damaged(kind: str, way: Way) -> None:
    good = encoded(photograph(96, 80), kind)
    rng, flipped = np.random.default_rng(4), 0
    for at in [*range(40), *rng.integers(0, len(good), 60), *range(len(good) - 20, len(good))]:
        bad = bytearray(good)
        bad[at] ^= 1 << int(rng.integers(8))
        try:
            decoded = decode(bytes(bad))
        except ImageError:
            continue
        result = flip_horizontally(bytes(bad), jpeg_way=way)
        assert (result.width, result.height) == (decoded.width, decoded.height)
        assert decode(result.data).image.size == decoded.image.size
        flipped += 1
    assert flipped > 10


# What a drawn face says of itself


@pytest.mark.parametrize("size", [(96, 80), (101, 83)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {"lossless": True}), ("WEBP", {})],
)
def test_a_drawn_face_stays_marked(kind: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    source = encoded(photograph(*size), kind, **options, **stand_in_mark(kind))
    once = flip_horizontally(source)
    twice = flip_horizontally(once.data)
    assert [decode(each).is_stand_in for each in (source, once.data, twice.data)] == [True, True, True]
    assert not decode(flip_horizontally(encoded(photograph(*size), kind, **options)).data).is_stand_in


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"tEXt", b"comment\0" + STAND_IN_COMMENT),
        png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(STAND_IN_COMMENT)),
        png_chunk(b"iTXt", b"Comment\0\0\0\0\0" + STAND_IN_COMMENT),
    ],
    ids=["tEXt", "zTXt", "iTXt"],
)
def test_the_mark_of_a_png_is_found_in_every_kind_of_comment(chunk: bytes, behind: bool) -> None:
    plain = encoded(photograph(96, 80), "PNG")
    at = len(plain) - 12 if behind else 33
    assert decode(flip_horizontally(plain[:at] + chunk + plain[at:]).data).is_stand_in


@pytest.mark.parametrize("size", [(96, 80), (101, 83)])
def test_the_mark_stays_where_another_comment_follows_which_does_not(size: tuple[int, int]) -> None:
    plain = encoded(photograph(*size), "JPEG", comment=STAND_IN_COMMENT)
    at = plain.index(b"\xff\xdb")
    source = plain[:at] + b"\xff\xfe\0\x09holiday" + plain[at:]
    flipped = flip_horizontally(source).data
    assert decode(source).is_stand_in
    assert decode(flipped).is_stand_in
    assert b"holiday" not in flipped
    assert b"holiday" not in flip_horizontally(encoded(photograph(*size), "JPEG", comment=b"holiday")).data


# Bad input


def broken_png_checksum() -> bytes:
    data = bytearray(encoded(photograph(90, 70), "PNG"))
    data[data.index(b"IDAT") + 40] ^= 1
    return bytes(data)


def unknown_filter() -> bytes:
    raw = b"".join(b"\7" + bytes(70) for _ in range(70))
    header = struct.pack(">IIBBBBB", 70, 70, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(raw))
        + png_chunk(b"IEND", b"")
    )


def animation() -> bytes:
    return encoded(photograph(90, 70), "WEBP", save_all=True, append_images=[photograph(90, 70, seed=1)])


BAD: list[tuple[Callable[[], bytes], type[ImageError]]] = [
    (lambda: b"", ImageEmpty),
    (lambda: b"not a picture at all", ImageUnsupported),
    (animation, ImageAnimated),
    (lambda: encoded(photograph(90, 70), "HEIF"), ImageUnsupported),
    (lambda: encoded(photograph(20, 20), "PNG"), ImageTooSmall),
    (lambda: encoded(photograph(90, 70), "PNG")[:-2000], ImageBroken),
    (broken_png_checksum, ImageBroken),
    (unknown_filter, ImageBroken),
    (lambda: encoded(photograph(96, 80), "JPEG")[:-400], ImageBroken),
    (lambda: encoded(photograph(91, 80), "JPEG")[:-400], ImageBroken),
    (lambda: encoded(photograph(90, 70), "WEBP")[:-400], ImageBroken),
]


@pytest.mark.parametrize(("make", "error"), BAD)
def test_bad_input_is_named(make: Callable[[], bytes], error: type[ImageError]) -> None:
    with pytest.raises(error):
        flip_horizontally(make())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_damage_anywhere_ends_in_a_picture_or_an_image_error(kind: str) -> None:
    good = encoded(photograph(96, 80), kind)
    rng = np.random.default_rng(3)
    for cut in rng.integers(1, len(good), 20):
        with pytest.raises(ImageError):
            flip_horizontally(good[:cut])
    for at in rng.integers(0, len(good), 60):
        bad = bytearray(good)
        bad[at] ^= 1 << int(rng.integers(8))
        with suppress(ImageError):
            assert flip_horizontally(bytes(bad)).data


def test_threads_do_not_mix_pictures_up() -> None:
    sources = [encoded(photograph(96 + 16 * n, 80, seed=n), kind) for n in range(6) for kind in ("PNG", "JPEG", "WEBP")]
    expected = [flip_horizontally(source) for source in sources]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(flip_horizontally, sources)) == expected


MARKS = Marks(SourceType.TRAINED, "gpt-image-2", "a campaign", "ab" * 32)


@pytest.mark.parametrize("size", [(96, 80), (91, 77)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {}), ("JPEG", {"orientation": 6}), ("WEBP", {}), ("WEBP", {"lossless": True})],
)
def test_how_a_picture_was_made_stays_told(kind: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    plain = encoded(photograph(*size), kind, **options)
    source = with_marks(plain, kind, MARKS)
    once = flip_horizontally(source)
    assert marks_of(open_checked(once.data).parts) == MARKS
    assert marks_of(open_checked(flip_horizontally(once.data).data).parts) == MARKS
    assert displayed(once.data).tolist() == displayed(flip_horizontally(plain).data).tolist()  # no pixel follows them
    assert marks_of(open_checked(flip_horizontally(plain).data).parts) is None


def test_of_a_file_s_xmp_a_flip_keeps_no_more_than_that() -> None:
    private = b'<rdf:RDF><rdf:Description photoshop:City="Ghent"/></rdf:RDF>'
    source = with_marks(encoded(photograph(96, 80), "JPEG"), "JPEG", MARKS, beside=private)
    assert b"Ghent" in source
    assert b"Ghent" not in flip_horizontally(source).data


def test_a_flip_has_no_manifest_and_says_what_the_manifest_said() -> None:
    manifest = b"jumdc2pa" + b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    plain = encoded(photograph(96, 80), "PNG")
    source = plain[:33] + png_chunk(b"caBX", manifest) + plain[33:]
    flipped = open_checked(flip_horizontally(source).data).parts
    assert not flipped.manifest
    assert marks_of(flipped) == Marks("trainedAlgorithmicMedia")


def test_the_flip_of_a_drawn_face_is_marked_whatever_its_source_lacks() -> None:
    source = encoded(photograph(96, 80), "JPEG", **stand_in_mark("JPEG"))
    assert marks_of(open_checked(flip_horizontally(source).data).parts) == Marks(SourceType.ALGORITHMIC)
