"""Mirror a PNG exactly, in every colour type and bit depth, without going through colours.

A PNG is taken apart as the specification (W3C PNG, third edition) describes it: chunks, inflate, undo the
row filters, mirror the samples, filter and deflate again. Pillow would lose 16-bit colour and is slower: of
its 43 ms for a photograph of 1024×1024, ISA-L's inflate needs 6 and libspng's unfiltering another 6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyspng  # type: ignore[import-untyped]
from isal import isal_zlib

from services.augmenter.orientation import mirror_displayed, swaps_sides
from shared.errors import ImageBroken
from shared.imaging import STAND_IN_COMMENT

Bytes = npt.NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples per pixel by colour type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # bits per sample
# What the samples mean. Everything else (text, time, EXIF, thumbnails) may be private and is dropped.
_KEPT = frozenset(
    (b"PLTE", b"tRNS", b"bKGD", b"sBIT", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI")
)
# The seven passes of Adam7 (section 8.1): first column, first row, step of columns, step of rows.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Undoing a filter depends on the bytes per pixel only, so a decoder of 8- and 16-bit pictures undoes those of
# all: bytes per pixel → the (bit depth, colour type) to declare to it.
_DISGUISES = {1: (8, 0), 2: (8, 4), 3: (8, 2), 4: (8, 6), 6: (16, 2), 8: (16, 6)}
# bytes of samples: 50 megapixels of 8-bit colours with alpha are 200 MB, and are held two to three times
MAX_SAMPLE_BYTES = 250_000_000
_STORED_BLOCK = 65535  # bytes: the largest stored block of deflate (RFC 1951, 3.2.4)
_NONE, _SUB = (
    0,
    1,
)  # row filters; SUB, the difference to the left, is cheap, and close to the best on photographs
# bytes of rows worked on at once: they stay in the processor's cache, and libspng, which
# is called with the GIL held, lets other threads in between.
_BAND = 1 << 18
_DEFLATE_LEVEL = 1  # ISA-L: as fast as 0, and a third smaller


@dataclass(frozen=True)
class Chunk:
    """One chunk of a PNG."""

    kind: bytes
    body: memoryview


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def pixel_bits(self) -> int:
        return self.depth * _CHANNELS[self.colour]

    @property
    def pixel_bytes(self) -> int:
        """Bytes per pixel as filters count them: at least one."""
        return max(1, self.pixel_bits // 8)

    def row_bytes(self, width: int) -> int:
        return (width * self.pixel_bits + 7) // 8

    def passes(self) -> Iterator[tuple[int, int, int, int]]:
        return iter(_ADAM7 if self.interlaced else ((0, 0, 1, 1),))


def read_chunks(data: bytes) -> list[Chunk]:
    """Split a PNG into its chunks, up to IEND.

    As shared.imaging.decode does, it takes the picture's data without their checksums, since deflate has its own,
    and behind the data it stops at what is cut off or has a wrong one. Raises ImageBroken for either before the data.
    """
    if not data.startswith(_SIGNATURE):
        raise _broken("does not begin as one")
    view, at, chunks = memoryview(data), len(_SIGNATURE), list[Chunk]()
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return chunks
        body, trailer = view[at + 8 : at + 8 + length], view[at + 8 + length : at + 12 + length]
        if kind != b"IDAT" and not _is_whole(kind, body, length, trailer):
            break
        chunks.append(Chunk(kind, body))
        at += 12 + length
    if not any(chunk.kind == b"IDAT" for chunk in chunks):
        raise _broken("is cut off or has a chunk with a wrong checksum")
    return chunks


def _is_whole(kind: bytes, body: memoryview, length: int, trailer: memoryview) -> bool:
    checksum = isal_zlib.crc32(body, isal_zlib.crc32(kind))
    return len(body) == length and bytes(trailer) == struct.pack(">I", checksum)


def mirror(chunks: list[Chunk], orientation: int, *, stand_in: bool) -> bytes:
    """Mirror the displayed picture; the result is upright, in the same colour type and depth, and not interlaced.

    `orientation` is the EXIF value (1 to 8); `stand_in`: whether the result says that it is drawn. Every sample keeps
    its bits. Raises ImageBroken, and ValueError for more than MAX_SAMPLE_BYTES.
    """
    header = _header(chunks)
    if header.height * header.width * header.pixel_bytes > MAX_SAMPLE_BYTES:
        raise ValueError("The PNG's samples need too much memory.")
    pixels = mirror_displayed(_samples(header, _inflate(header, chunks)), orientation)
    height, width = pixels.shape[:2]
    parts = [
        _SIGNATURE,
        *_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, header.depth, header.colour, 0, 0, 0)),
    ]
    for chunk in chunks:
        if chunk.kind in _KEPT:
            body = bytes(chunk.body)
            if chunk.kind == b"pHYs" and swaps_sides(orientation) and len(body) == 9:
                body = body[4:8] + body[:4] + body[8:]  # pixels per unit, x then y
            parts += _chunk(chunk.kind, body)
    if stand_in:
        parts += _chunk(b"tEXt", b"Comment\0" + STAND_IN_COMMENT)
    parts += _chunk(b"IDAT", _deflated(header, pixels))
    parts += _chunk(b"IEND", b"")
    return b"".join(parts)


def _header(chunks: list[Chunk]) -> _Header:
    if not chunks or chunks[0].kind != b"IHDR" or len(chunks[0].body) != 13:
        raise _broken("has no header")
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0].body)
    if depth not in _DEPTHS.get(colour, ()) or interlace > 1 or not width or not height:
        raise _broken("has a header that makes no sense")
    return _Header(width, height, depth, colour, bool(interlace))


def _inflate(header: _Header, chunks: list[Chunk]) -> memoryview:
    """The filtered rows of all passes; never more bytes than the header announces, whatever the stream holds."""
    expected = 0
    for column, row, step, row_step in header.passes():
        width, height = -(-(header.width - column) // step), -(-(header.height - row) // row_step)
        if width > 0 and height > 0:
            expected += height * (1 + header.row_bytes(width))
    stream = b"".join(chunk.body for chunk in chunks if chunk.kind == b"IDAT")
    try:
        rows = isal_zlib.decompressobj().decompress(stream, expected)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub gives an instance for the class
        raise _broken("has damaged data") from error
    if len(rows) != expected:
        raise _broken("has too few rows")
    return memoryview(rows)


def _samples(header: _Header, rows: memoryview) -> Bytes:
    """Unfiltered rows as (rows, columns, bytes per pixel); below 8 bits one byte holds one sample."""
    if not header.interlaced:
        return _unpacked(header, rows, header.width, header.height)
    picture = np.zeros((header.height, header.width, header.pixel_bytes), np.uint8)
    at = 0
    for column, row, step, row_step in header.passes():
        part = picture[row::row_step, column::step]
        height, width = part.shape[:2]
        if width and height:
            size = height * (1 + header.row_bytes(width))
            part[:] = _unpacked(header, rows[at : at + size], width, height)
            at += size
    return picture


def _unpacked(header: _Header, rows: memoryview, width: int, height: int) -> Bytes:
    unfiltered = _unfiltered(rows, header.row_bytes(width) // header.pixel_bytes, height, header.pixel_bytes)
    if header.depth >= 8:
        return unfiltered
    shifts = np.arange(8 - header.depth, -1, -header.depth, dtype=np.uint8)  # the leftmost sample is in the high bits
    samples = (unfiltered >> shifts) & np.uint8((1 << header.depth) - 1)
    return samples.reshape(height, -1, 1)[:, :width]


def _unfiltered(rows: memoryview, width: int, height: int, pixel_bytes: int) -> Bytes:
    """Undo the row filters: (height, width, bytes per pixel)."""
    pixels = np.empty((height, width, pixel_bytes), np.uint8)
    row_size = 1 + width * pixel_bytes
    band = max(1, _BAND // row_size)
    for top in range(0, height, band):
        bottom = min(top + band, height)
        # A filter looks at the row above: the last one of the band before goes first, as an unfiltered row.
        above = b"\0" + pixels[top - 1].tobytes() if top else b""
        part = _by_libspng((memoryview(above), rows[top * row_size : bottom * row_size]), width, pixel_bytes)
        pixels[top:bottom] = part[1:] if top else part
    return pixels


def _by_libspng(filtered: tuple[memoryview, ...], width: int, pixel_bytes: int) -> Bytes:
    """Unfilter whole rows: they go to libspng in a PNG whose deflate stream is not compressed."""
    depth, colour = _DISGUISES[pixel_bytes]
    height = sum(map(len, filtered)) // (1 + width * pixel_bytes)
    stored: list[bytes | memoryview] = [b"\x78\x01"]
    checksum = 1
    for piece in filtered:
        for at in range(0, len(piece), _STORED_BLOCK):
            block = piece[at : at + _STORED_BLOCK]
            stored += (struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF), block)
        checksum = isal_zlib.adler32(piece, checksum)
    stored.append(struct.pack("<BHH", 1, 0, 0xFFFF) + struct.pack(">I", checksum))
    disguised = b"".join(
        (
            _SIGNATURE,
            *_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
            struct.pack(">I", sum(map(len, stored))) + b"IDAT",
            *stored,
            bytes(4),  # pyspng has libspng not look at checksums
            *_chunk(b"IEND", b""),
        )
    )
    try:
        # libspng gives grey with alpha as colour with alpha only.
        pixels = pyspng.load(disguised, "RGBA")[:, :, ::3] if pixel_bytes == 2 else pyspng.load(disguised)
    except RuntimeError as error:
        raise _broken("has rows with an unknown filter") from error
    if depth == 16:  # pyspng adds an opaque alpha channel, and gives numbers where PNG has big-endian bytes
        pixels = pixels[:, :, : pixel_bytes // 2].astype(">u2").view(np.uint8)
    result: Bytes = pixels.reshape(height, width, pixel_bytes)
    return result


def _deflated(header: _Header, pixels: Bytes) -> bytes:
    """Filter and deflate (rows, columns, bytes per pixel)."""
    height, width = pixels.shape[:2]
    band = max(1, _BAND // (1 + header.row_bytes(width)))
    stream = isal_zlib.compressobj(_DEFLATE_LEVEL)
    parts = [stream.compress(_filtered_rows(header, pixels[top : top + band])) for top in range(0, height, band)]
    return b"".join((*parts, stream.flush()))


def _filtered_rows(header: _Header, pixels: Bytes) -> Bytes:
    """Rows ready to be deflated: one filter byte, then the row."""
    height, width = pixels.shape[:2]
    rows = np.empty((height, 1 + header.row_bytes(width)), np.uint8)
    if header.depth < 8:
        rows[:, 0] = _NONE
        rows[:, 1:] = _packed(pixels[:, :, 0], header.depth)
    elif header.colour == 3:  # neighbouring palette entries need not be alike: a difference says nothing
        rows[:, 0] = _NONE
        rows[:, 1:] = pixels[:, :, 0]
    else:
        upright = np.empty(pixels.shape, np.uint8)
        step = header.pixel_bytes
        for byte in range(step):  # NumPy copies reversed single bytes five times faster than reversed triples
            upright[:, :, byte] = pixels[:, :, byte]
        plain = upright.reshape(height, width * step)
        rows[:, 0] = _SUB
        rows[:, 1 : 1 + step] = plain[:, :step]
        np.subtract(plain[:, step:], plain[:, :-step], out=rows[:, 1 + step :])
    return rows


def _packed(samples: Bytes, depth: int) -> Bytes:
    """Samples below 8 bits → bytes, the leftmost sample in the high bits, rows padded with zeros."""
    height, width = samples.shape
    per_byte = 8 // depth
    padded = np.zeros((height, -(-width // per_byte), per_byte), np.uint8)
    padded.reshape(height, -1)[:, :width] = samples
    packed = np.zeros(padded.shape[:2], np.uint8)
    for place in range(per_byte):
        packed |= padded[:, :, place] << np.uint8(8 - depth * (place + 1))
    return packed


def _chunk(kind: bytes, body: bytes) -> tuple[bytes, bytes, bytes]:
    checksum = isal_zlib.crc32(body, isal_zlib.crc32(kind))
    return struct.pack(">I", len(body)) + kind, body, struct.pack(">I", checksum)


def _broken(how: str) -> ImageBroken:
    return ImageBroken(f"The PNG {how}.", advice="Export it again.")
