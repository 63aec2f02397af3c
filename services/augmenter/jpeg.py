"""Mirror a JPEG in its DCT coefficients, or, where its size does not allow that, in pixels.

The cosine of an even horizontal frequency is symmetric about the middle of a block and that of an odd one
antisymmetric (ITU-T T.81, A.3.3). So a picture is mirrored without loss by reversing the order of the blocks in
each row and changing the sign of the odd horizontal frequencies in each: what jpegtran -flip does. The last
column of blocks becomes the first, so it must be full: the width must be a multiple of the MCU's.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin

from services.augmenter.orientation import exif_block, swaps_sides
from shared.errors import ImageBroken
from shared.imaging import STAND_IN_COMMENT

try:
    import jpeglib
except ImportError:  # there is no wheel for every machine: a re-encoded flip is better than none
    jpeglib = None
else:
    jpeglib.version.set("turbo210")  # the newest it has, and faster than its default, libjpeg 6b

_SOI, _SOS, _DQT, _DHT, _COM = 0xD8, 0xDA, 0xDB, 0xC4, 0xFE
_STUFFED = 0x00  # behind 0xFF: not a marker
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_BASELINE, _EXTENDED, _PROGRESSIVE = _FRAMES = (0xC0, 0xC1, 0xC2)  # SOF markers, all with Huffman codes
_STANDALONE = (0x01, *range(0xD0, 0xD8))  # TEM and the restart markers have no length
_MAX_MCU_BLOCKS = 10  # T.81, B.2.3: of one interleaved scan, which is what is written
# bytes of coefficients: 50 megapixels with halved chroma (4:2:0) are 150 MB, and are held three times
MAX_COEFFICIENT_BYTES = 200_000_000
_MAX_COEFFICIENT = 1023  # T.81, F.1.2: of 8-bit pictures

Coefficients = npt.NDArray[np.int16]


@dataclass(frozen=True)
class _Segment:
    marker: int
    body: bytes

    def __bytes__(self) -> bytes:
        return struct.pack(">BBH", 0xFF, self.marker, len(self.body) + 2) + self.body


@dataclass(frozen=True)
class _Frame:
    """What the frame header (SOF) says."""

    marker: int
    precision: int
    width: int
    height: int
    components: tuple[tuple[int, int, int, int], ...]  # identifier, horizontal and vertical sampling, table

    def mcu_side(self, axis: int) -> int:
        """Pixels of the smallest coded unit along the axis: 0 is vertical, 1 horizontal."""
        if len(self.components) == 1:
            return 8  # one component is never interleaved: its unit is a block (T.81, A.2.2)
        return 8 * self._max_sampling(axis)

    def blocks(self, component: int, axis: int) -> int:
        """Blocks of a component along the axis (T.81, A.1.1)."""
        side = (self.height, self.width)[axis]
        return -(-side * self._sampling(component, axis) // (8 * self._max_sampling(axis)))

    def _sampling(self, component: int, axis: int) -> int:
        return self.components[component][2 - axis]

    def _max_sampling(self, axis: int) -> int:
        return max(self._sampling(each, axis) for each in range(len(self.components)))


def mirror(data: bytes, orientation: int, *, stand_in: bool) -> tuple[bytes, bool]:
    """Mirror the displayed picture; returns the file and whether nothing was lost.

    The orientation tag (1 to 8) is kept: where it turns rows into columns, mirroring what is displayed is flipping
    what is stored upside down. Of the metadata only JFIF, Adobe and colour profile segments are kept, and the comment
    of a drawn face (`stand_in`). Without loss: 8-bit Huffman-coded grey and three-component pictures whose side along
    the axis is a multiple of the MCU, up to MAX_COEFFICIENT_BYTES. Others (also CMYK) are encoded anew with the same
    quantization tables. Raises ImageBroken.
    """
    axis = 0 if swaps_sides(orientation) else 1
    try:
        segments, scan_at = _split_header(data)
    except (struct.error, IndexError, ValueError) as error:
        raise ImageBroken("The JPEG's header is damaged or cut off.", advice="Export it again.") from error
    frame = _frame(segments)
    if jpeglib is None or frame is None or not _can_be_lossless(frame, segments, data[scan_at:], axis):
        return _reencoded(data, orientation, axis, stand_in=stand_in), False
    _check_decodes(data)
    written = _mirrored_coefficients_file(data, frame, axis)
    if written is None:
        return _reencoded(data, orientation, axis, stand_in=stand_in), False
    return _spliced(segments, frame, written, orientation, stand_in=stand_in), True


def _split_header(data: bytes) -> tuple[list[_Segment], int]:
    """The segments between SOI and the first scan, and where that begins.

    What stands between segments without a marker is passed over, as every decoder does.
    """
    segments, at = list[_Segment](), 2
    while True:
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # padding, or a fill byte
            at += 1
        elif marker == _STUFFED or marker in _STANDALONE:
            at += 2
        elif marker == _SOS:
            return segments, at
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if length < 2 or at + 2 + length > len(data):
                raise ValueError("a segment is cut off")
            segments.append(_Segment(marker, data[at + 4 : at + 2 + length]))
            at += 2 + length


def _frame(segments: list[_Segment]) -> _Frame | None:
    for segment in segments:
        if segment.marker in _FRAMES:
            precision, height, width, count = struct.unpack_from(">BHHB", segment.body)
            if len(segment.body) != 6 + 3 * count:
                return None
            components = tuple(
                (identifier, sampling >> 4, sampling & 15, table)
                for identifier, sampling, table in struct.iter_unpack("BBB", segment.body[6:])
            )
            return _Frame(segment.marker, precision, width, height, components)
    return None


def _can_be_lossless(frame: _Frame, segments: list[_Segment], scans: bytes, axis: int) -> bool:
    if frame.precision != 8 or len(frame.components) not in (1, 3):  # jpeglib does not write a fourth component
        return False
    if not frame.width or not frame.height or not all(1 <= h <= 4 and 1 <= v <= 4 for _, h, v, _ in frame.components):
        return False
    if len(frame.components) > 1 and sum(h * v for _, h, v, _ in frame.components) > _MAX_MCU_BLOCKS:
        return False
    if (frame.height, frame.width)[axis] % frame.mcu_side(axis):
        return False
    blocks = sum(frame.blocks(each, 0) * frame.blocks(each, 1) for each in range(len(frame.components)))
    if blocks * 64 * 2 > MAX_COEFFICIENT_BYTES:
        return False
    if not {table for *_, table in frame.components} <= _defined_tables(segments):
        return False
    # Tables that change between scans could not be kept with one scan. (In entropy-coded data 0xFF is stuffed.)
    return b"\xff\xdb" not in scans[: scans.find(b"\xff\xd9")]


def _quantization_tables(segments: list[_Segment]) -> list[tuple[int, int]]:
    """(precision, slot) of each table: precision 0 is 8 bits, 1 is 16."""
    tables = []
    for segment in segments:
        at = 0
        while segment.marker == _DQT and at < len(segment.body):
            precision, slot = segment.body[at] >> 4, segment.body[at] & 15
            tables.append((precision, slot))
            at += 1 + 64 * (1 + precision)
    return tables


def _defined_tables(segments: list[_Segment]) -> set[int]:
    return {slot for _, slot in _quantization_tables(segments)}


def _check_decodes(data: bytes) -> None:
    """Raise ImageBroken for damaged data, which the coefficient reader would silently fill with grey.

    Decoding at an eighth of the size reads everything and computes hardly anything.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.draft("L", (1, 1))
            image.load()
    except Exception as error:  # Pillow raises OSError, SyntaxError and others
        raise _broken_jpeg() from error


def _mirrored_coefficients_file(data: bytes, frame: _Frame, axis: int) -> bytes | None:
    """A JPEG of the mirrored coefficients as libjpeg writes it: with tables and identifiers of its own.

    None where damage has made coefficients that a sequential scan cannot hold. Raises ImageBroken, and OSError
    where temporary files cannot be written: jpeglib's interface is files. Thread-safe: of jpeglib, only its reader
    of markers, which is not called here, has global state.
    """
    indices = range(len(frame.components))
    colours = jpeglib.Colorspace
    picture: Any = jpeglib.DCTJPEG(
        path="",
        content=data,
        height=frame.height,
        width=frame.width,
        block_dims=np.array([[frame.blocks(each, axis) for axis in (0, 1)] for each in indices], np.int32),
        samp_factor=np.array([[v, h] for _, h, v, _ in frame.components], np.int32),
        markers=None,
        huffmans=None,
        jpeg_color_space=colours.JCS_GRAYSCALE if len(frame.components) == 1 else colours.JCS_YCbCr,  # only a number
        progressive_mode=False,
        num_scans=1,
        Y=None,
        Cb=None,
        Cr=None,
        K=None,
        qt=None,
        quant_tbl_no=None,
    )
    try:
        picture.load()
    except OSError as error:
        if error.errno is not None:  # not the picture's fault: the disk is full, or the like
            raise
        raise _broken_jpeg() from error
    picture.content = None  # write from scratch, not over a copy of the source
    for name in ("Y", "Cb", "Cr")[: len(frame.components)]:
        blocks: Coefficients = getattr(picture, name)
        if blocks.min() < -_MAX_COEFFICIENT - 1 or blocks.max() > _MAX_COEFFICIENT:
            return None
        setattr(picture, name, _mirrored(blocks, axis))
    with tempfile.TemporaryDirectory(prefix="evenskin-") as directory:
        path = os.path.join(directory, "mirrored.jpg")
        # A quality makes jpeglib leave the quantization tables alone. They are put back in _spliced.
        picture.write_dct(path, quality=100, flags=["+OPTIMIZE_CODING"] if frame.marker == _PROGRESSIVE else [])
        with open(path, "rb") as file:
            return file.read()


def _mirrored(blocks: Coefficients, axis: int) -> Coefficients:
    """Coefficients (block rows, block columns, vertical frequency, horizontal frequency) → mirrored along the axis."""
    mirrored = np.flip(blocks, axis).copy()
    odd = mirrored[:, :, 1::2, :] if axis == 0 else mirrored[:, :, :, 1::2]
    np.negative(odd, out=odd)
    return mirrored


def _spliced(segments: list[_Segment], frame: _Frame, written: bytes, orientation: int, *, stand_in: bool) -> bytes:
    """Join the source's colour, quantization and frame headers with the entropy-coded data that libjpeg wrote."""
    parts = [bytes((0xFF, _SOI))]
    exif = exif_block(orientation)
    kept = [kept for segment in segments if (kept := _without_private_data(segment)) is not None]
    parts += [bytes(segment) for segment in kept if segment.marker == _APP0]  # JFIF must come first
    if exif:
        parts.append(bytes(_Segment(_APP1, exif)))
    parts += [bytes(segment) for segment in kept if segment.marker != _APP0]
    if stand_in:
        parts.append(bytes(_Segment(_COM, STAND_IN_COMMENT)))
    for segment in segments:
        if segment.marker in _FRAMES:
            # A sequential scan is written, also for a progressive source; baseline has 8-bit tables only.
            wide = frame.marker == _EXTENDED or any(precision for precision, _ in _quantization_tables(segments))
            segment = _Segment(_EXTENDED if wide else _BASELINE, segment.body)
            parts.append(bytes(segment))
        elif segment.marker == _DQT:
            parts.append(bytes(segment))
    new_segments, scan_at = _split_header(written)
    parts += [bytes(segment) for segment in new_segments if segment.marker == _DHT]
    scan = bytearray(written[scan_at:])
    for index, (identifier, *_) in enumerate(frame.components):
        scan[5 + 2 * index] = identifier  # SOS: marker, length, count, then (identifier, tables) of each component
    parts.append(bytes(scan))
    return b"".join(parts)


def _without_private_data(segment: _Segment) -> _Segment | None:
    """The segment without thumbnails if it decides on colours; None for all others, which may be private."""
    if segment.marker == _APP0 and segment.body.startswith(b"JFIF\0") and len(segment.body) >= 14:
        return _Segment(_APP0, segment.body[:12] + b"\0\0")
    if segment.marker == _APP2 and segment.body.startswith(b"ICC_PROFILE\0"):
        return segment
    if segment.marker == _APP14 and segment.body.startswith(b"Adobe"):
        return segment
    return None


def _reencoded(data: bytes, orientation: int, axis: int, *, stand_in: bool) -> bytes:
    """Mirror the pixels, and encode with the source's quantization tables and, where Pillow can, its subsampling."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            sampling = JpegImagePlugin.get_sampling(image)
            tables = image.quantization
            info = image.info
            turn = Image.Transpose.FLIP_TOP_BOTTOM if axis == 0 else Image.Transpose.FLIP_LEFT_RIGHT
            flipped = image.transpose(turn)
    except Exception as error:  # Pillow raises OSError, SyntaxError and others
        raise _broken_jpeg() from error
    options: dict[str, Any] = {}
    if exif := exif_block(orientation):
        options["exif"] = exif
    if "dpi" in info:
        options["dpi"] = info["dpi"]
    out = io.BytesIO()
    flipped.save(
        out,
        "JPEG",
        qtables=tables,
        subsampling=max(sampling, 0),  # unknown to Pillow: none, which loses nothing
        progressive="progressive" in info,
        keep_rgb=flipped.mode == "RGB" and info.get("adobe_transform") == 0,
        icc_profile=info.get("icc_profile"),
        comment=STAND_IN_COMMENT if stand_in else b"",  # absent: Pillow would write the source's, which may be private
        **options,
    )
    return out.getvalue()


def _broken_jpeg() -> ImageBroken:
    return ImageBroken("The JPEG's data is damaged or cut off.", advice="Send it again.")
