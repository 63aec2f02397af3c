"""What stands beside a picture's pixels, damaged in every way: it costs nothing but itself."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from services.augmenter.flips import flip_horizontally
from shared.errors import ImageBroken
from shared.imaging import FORMATS, STAND_IN_COMMENT, decode
from tests.unit.model_server.pictures import encoded, face

GIVEN = Path(__file__).parents[5] / "shared" / "data" / "pictures"
CORNERS = {(5, 5): (0, 0, 255), (120, 5): (255, 0, 0), (5, 90): (255, 255, 255), (120, 90): (0, 255, 0)}  # of `o6.jpg`
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Make="%s"/></rdf:RDF></x:xmpmeta>'


def exif(**tags: Any) -> bytes:
    """An EXIF block with a long text and directories of its own in it."""
    block = Image.Exif()
    block[0x010F], block[0x011A] = "A maker of cameras" * 5, 72.0
    block.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    block.get_ifd(0x8825)[1] = "N"
    block.update({int(tag, 16): value for tag, value in tags.items()})
    return block.tobytes()


def pixels(data: bytes) -> npt.NDArray[np.int64]:
    return np.asarray(decode(data).image, dtype=int)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*chunks: bytes, at: int = 33) -> bytes:
    """The drawn head as a PNG with chunks behind its header."""
    plain = encoded(face(), "PNG")
    return plain[:at] + b"".join(chunks) + plain[at:]


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    """The drawn head as a JPEG with segments behind its first."""
    plain = encoded(face(), "JPEG")
    made = b"".join(bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return plain[:20] + made + plain[20:]


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_exif_and_xmp_cost_nothing(format: str) -> None:
    xmp = XMP % (b"Make" * 20)
    block = exif()
    data = encoded(face(), format, exif=block, **({} if format == "PNG" else {"xmp": xmp}))
    sound = pixels(data)
    regions = [(data.index(part), len(part)) for part in (block.removeprefix(b"Exif\0\0"), xmp) if part in data]
    assert len(regions) == (1 if format == "PNG" else 2)
    chance = random.Random(format)
    for _ in range(60):
        damaged = bytearray(data)
        start, length = chance.choice(regions)
        for _ in range(chance.choice((1, 10, 100))):
            damaged[start + chance.randrange(length)] = chance.randrange(256)
        decoded = decode(bytes(damaged))
        if decoded.orientation == 1:  # else the damage made an orientation
            assert np.array_equal(np.asarray(decoded.image, dtype=int), sound)


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_profile_costs_no_more_than_itself(format: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    sound = pixels(encoded(face(), format))
    for damaged in (b"x", profile[:100], bytes(len(profile)), profile[:128] + b"\xff" * (len(profile) - 128)):
        assert np.abs(pixels(encoded(face(), format, icc_profile=damaged)) - sound).max() <= 1


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_counts_whatever_is_damaged_behind_it(orientation: int) -> None:
    # Orientation; XResolution as a rational of -1 / 0; a tag whose data lies outside; one of a type that there is not.
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack(">HHII", 0x011A, 5, 1, 62)
    entries += struct.pack(">HHII", 0x010F, 2, 4_000_000_000, 4_000_000_000) + struct.pack(">HHII", 0x0131, 99, 1, 1)
    block = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 4) + entries + bytes(4) + struct.pack(">iI", -1, 0)
    for format in ("JPEG", "PNG", "WEBP"):
        stored = face().transpose({3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation])
        for data in (block, block[:30]):  # whole, and cut off behind the first tag
            decoded = decode(encoded(stored, format, exif=data))
            assert (decoded.orientation, decoded.exif_is_silent) == (orientation, False)
            assert np.abs(np.asarray(decoded.image, dtype=int) - np.asarray(face(), dtype=int)).mean() < 3


def test_xmp_tells_how_a_picture_is_turned_where_exif_is_silent() -> None:
    stored = face().transpose(Image.Transpose.ROTATE_90)
    for told in (b'tiff:Orientation="6"', b"<tiff:Orientation>6</tiff:Orientation>"):
        for data in (encoded(stored, "JPEG", xmp=told), encoded(stored, "WEBP", xmp=told)):
            decoded = decode(data)
            assert (decoded.width, decoded.height, decoded.orientation, decoded.exif_is_silent) == (300, 360, 6, False)
    silent = encoded(face(), "JPEG", xmp=b'tiff:Orientation="0"')
    assert (decode(silent).orientation, decode(silent).exif_is_silent) == (1, True)
    both = encoded(stored, "JPEG", xmp=b'tiff:Orientation="3"', exif=exif(**{"0x0112": 6}))
    assert decode(both).orientation == 6


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_the_container_itself_tells_how_a_heic_or_avif_is_turned(format: str) -> None:
    stored = face().transpose(Image.Transpose.ROTATE_90)
    decoded = decode(encoded(stored, format, exif=exif(**{"0x0112": 6})))  # which becomes the container's own turn
    assert (decoded.width, decoded.height, decoded.exif_is_silent) == (300, 360, False)
    assert np.abs(np.asarray(decoded.image, dtype=int) - np.asarray(face(), dtype=int)).mean() < 4
    assert decode(encoded(face(), format)).exif_is_silent is True


@pytest.mark.parametrize(
    "segments",
    [
        [(0xE0, b"JFIF\0")],
        [(0xEE, b"Adobe")],
        [(0xEE, b"Adobe\0\x64\0")],
        [(0xE1, b"Exif\0\0")],
        [(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")],
        [(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe")],
        [(0xE2, b"MPF\0"), (0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1\xb0\1")],
        [(0xE2, b"ICC_PROFILE\0")],
        [(0xE2, b"ICC_PROFILE\0\2\1half a profile")],
        [(0xE2, b"FPXR\0")],
        [(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\xff\xff\xff\xff")],
        [(0xED, b"Photoshop 3.0\x008BIM")],
        [(0xFE, b"")],
        [(0xEB, b"JP\0\1")],
    ],
    ids=lambda segments: segments[0][1][:16].decode(errors="replace"),
)
def test_damaged_segments_of_a_jpeg_are_passed_over(segments: list[tuple[int, bytes]]) -> None:
    assert np.array_equal(pixels(with_segments(*segments)), pixels(encoded(face(), "JPEG")))


def test_a_profile_comes_in_pieces_in_any_order() -> None:
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    linear = bytearray(content)
    for tag in (b"rTRC", b"gTRC", b"bTRC"):
        entry = linear.index(tag)
        offset = struct.unpack(">I", linear[entry + 4 : entry + 8])[0]
        linear[offset : offset + 14] = b"curv\0\0\0\0\0\0\0\1\1\0"
    whole = pixels(encoded(face(), "JPEG", icc_profile=bytes(linear)))
    assert np.abs(whole - pixels(encoded(face(), "JPEG"))).mean() > 10
    pieces = [(0xE2, b"ICC_PROFILE\0\1\2" + linear[:200]), (0xE2, b"ICC_PROFILE\0\2\2" + linear[200:])]
    assert np.array_equal(pixels(with_segments(*pieces[::-1])), whole)
    for lacking in (pieces[:1], pieces[1:]):
        assert np.array_equal(pixels(with_segments(*lacking)), pixels(encoded(face(), "JPEG")))


@pytest.mark.parametrize(
    "kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"gAMA", b"cHRM", b"pHYs", b"tIME", b"acTL"]
)
def test_an_ancillary_chunk_that_is_damaged_is_passed_over(kind: bytes) -> None:
    wrong = bytearray(chunk(kind, b"Comment\0\0\0\0\0what it says"))
    wrong[-1] ^= 1
    for damaged in (bytes(wrong), chunk(kind, b""), chunk(kind, b"\0"), chunk(kind, b"Comment\0\0\xff\xff")):
        assert np.array_equal(pixels(with_chunks(damaged)), pixels(with_chunks()))
        behind = with_chunks(damaged, at=len(with_chunks()) - 12)
        assert np.array_equal(pixels(behind), pixels(with_chunks()))


@pytest.mark.parametrize("size", [1_400_000, 60_000_000])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_what_is_large_once_unpacked_is_left_unread(kind: bytes, size: int) -> None:
    head = b"XML:com.adobe.xmp\0\1\0\0\0" if kind == b"iTXt" else b"Comment\0\0"
    large = chunk(kind, head + zlib.compress(b"a" * size))
    data = with_chunks(*[large] * 20)
    assert np.array_equal(pixels(data), pixels(with_chunks()))
    flipped = flip_horizontally(data)
    assert np.array_equal(pixels(flipped.data)[:, ::-1], pixels(with_chunks()))


def test_the_header_and_the_palette_of_a_png_are_not_beside() -> None:
    indexed = encoded(face().convert("P"), "PNG")
    for data in (with_chunks(), indexed):
        for kind in (b"IHDR", b"PLTE"):
            damaged = bytearray(data)
            at = data.find(kind)
            if at < 0:
                continue
            damaged[at + 5] ^= 1
            with pytest.raises(ImageBroken):
                decode(bytes(damaged))
    suggested = bytearray(chunk(b"PLTE", bytes(3)))
    suggested[-1] ^= 1  # of a picture in colours, a palette is a suggestion
    assert np.array_equal(pixels(with_chunks(bytes(suggested))), pixels(with_chunks()))


def test_a_transparency_that_does_not_fit_is_passed_over() -> None:
    assert np.array_equal(pixels(with_chunks(chunk(b"tRNS", b"\0\1"))), pixels(with_chunks()))


@pytest.mark.parametrize("keyword", [b"Raw profile type exif", b"Raw profile type APP1"])
def test_the_exif_that_imagemagick_writes_into_a_png_counts(keyword: bytes) -> None:
    block = exif(**{"0x0112": 3})
    text = b"\nexif\n%8d\n%s\n" % (len(block), block.hex("\n", 36).encode())
    for told, orientation in ((text, 3), (text.replace(b"4", b"x"), 1)):
        assert decode(with_chunks(chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(told)))).orientation == orientation


def test_the_mark_of_a_png_counts_in_every_kind_of_text_before_and_behind_the_data() -> None:
    for text in (
        chunk(b"tEXt", b"Comment\0" + STAND_IN_COMMENT),
        chunk(b"zTXt", b"comment\0\0" + zlib.compress(STAND_IN_COMMENT)),
        chunk(b"iTXt", b"Comment\0\0\0en\0Comment\0" + STAND_IN_COMMENT),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(STAND_IN_COMMENT)),
    ):
        for at in (33, len(with_chunks()) - 12):
            assert decode(with_chunks(text, at=at)).is_stand_in
    assert not decode(with_chunks(chunk(b"tEXt", b"Title\0" + STAND_IN_COMMENT))).is_stand_in


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP from its chunks."""
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def test_damaged_chunks_of_a_webp_are_passed_over() -> None:
    plain = encoded(face(), "WEBP")
    picture = (b"VP8 ", plain[20:])
    canvas = (b"VP8X", bytes([0b00101100, 0, 0, 0]) + (299).to_bytes(3, "little") + (359).to_bytes(3, "little"))
    sound = pixels(plain)
    for data in (
        riff(canvas, picture),  # it says that there are EXIF, XMP and a profile
        riff(canvas, (b"ICCP", b"no profile"), picture, (b"EXIF", b"none"), (b"XMP ", b"\xff")),
        riff(canvas, picture, (b"EXIF", b"MM\0*\0\0\0\x08\xff\xff")),
        riff(canvas, picture, (b"what", b"?")),
        riff(canvas, picture) + b"EXIF" + struct.pack("<I", 1000) + b"cut off",
        riff((canvas[0], canvas[1][:5]), picture),
        plain[:4] + bytes(4) + plain[8:],  # the file's length
    ):
        assert np.array_equal(pixels(data), sound)


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_items_of_metadata_that_lie_outside_the_file_are_passed_over(format: str) -> None:
    block = exif()
    data = encoded(face(), format, exif=block)
    places = data.index(b"iloc")
    start = data.index(block) - 4
    at = data.index(struct.pack(">I", start), places)
    assert at < data.index(b"mdat")
    for offset in (len(data) - 10, 0x7FFFFFFF):
        damaged = data[:at] + struct.pack(">I", offset) + data[at + 4 :]
        assert np.array_equal(pixels(damaged), pixels(data))


@pytest.mark.skipif(not GIVEN.is_dir(), reason="the given pictures lie beside the repository")
@pytest.mark.parametrize(
    ("name", "size", "seen"),
    [
        *((name, (128, 96), CORNERS) for name in ("o6.jpg", "o6_xresolution_minus1_0.jpg")),
        *(
            (name, (80, 80), {(40, 40): (120, 120, 120)})
            for name in ("ztxt_1.4MB.png", "itxt_xmp_1.4MB.png", "iccp_1.4MB.png", "text_wrong_crc.png")
        ),
        ("grey16.png", (80, 80), {(40, 20): (64,) * 3, (40, 40): (129,) * 3, (79, 79): (255,) * 3}),
        (
            "grey16_trns0.png",
            (80, 80),
            {(0, 0): (255,) * 3, (40, 20): (64,) * 3, (40, 40): (129,) * 3, (79, 79): (255,) * 3},
        ),
        *((name, (80, 80), {(40, 40): (215, 93, 73)}) for name in ("palette_p3.png", "palette_p3_opaque_trns.png")),
        ("rgb_p3.png", (80, 80), {(40, 40): (215, 93, 73)}),
        ("nclx_p3.heic", (96, 96), {(40, 40): (215, 93, 73)}),
    ],
)
def test_the_given_pictures_have_their_right_values(
    name: str, size: tuple[int, int], seen: dict[tuple[int, int], tuple[int, int, int]]
) -> None:
    decoded = decode((GIVEN / name).read_bytes())
    assert decoded.image.size == (decoded.width, decoded.height) == size
    for place, colour in seen.items():
        assert decoded.image.getpixel(place) == pytest.approx(colour, abs=2)
