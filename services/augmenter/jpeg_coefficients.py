"""Mirror a JPEG in its DCT coefficients as jpeglib reads and writes them: for machines without libturbojpeg.

The cosine of an even horizontal frequency is symmetric about the middle of a block and that of an odd one
antisymmetric (ITU-T T.81, A.3.3). So a picture is mirrored without loss by reversing the order of the blocks in
each row and changing the sign of the odd horizontal frequencies in each: what jpegtran -flip does.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from services.augmenter.jpeg_file import (
    BASELINE,
    DHT,
    DQT,
    EXTENDED,
    FRAMES,
    PROGRESSIVE,
    Frame,
    Segment,
    broken,
    check_decodes,
    quantization_tables,
    split_header,
)

try:
    import jpeglib
except ImportError:  # there is no wheel for every machine: a re-encoded flip is better than none
    jpeglib = None
else:
    jpeglib.version.set("turbo210")  # the newest it has, and faster than its default, libjpeg 6b

_MAX_MCU_BLOCKS = 10  # T.81, B.2.3: of one interleaved scan, which is what is written
_MAX_COEFFICIENT = 1023  # T.81, F.1.2: of 8-bit pictures

Coefficients = npt.NDArray[np.int16]


def is_there() -> bool:
    """Whether jpeglib is installed."""
    return jpeglib is not None


def mirror(data: bytes, segments: list[Segment], frame: Frame, scans: bytes, axis: int) -> bytes | None:
    """Mirror what is stored; returns the new file from its quantization tables on.

    `axis`: 0 turns rows round, 1 columns. None where this cannot be done without loss: for a side that is no multiple
    of the MCU's, four components, tables that change between scans, and coefficients that damage has made too large.
    Raises ImageBroken, and OSError where temporary files cannot be written: jpeglib's interface is files.
    """
    if not _can_be_lossless(frame, segments, scans, axis):
        return None
    check_decodes(data)
    written = _mirrored_coefficients_file(data, frame, axis)
    return None if written is None else _spliced(segments, frame, written)


def _can_be_lossless(frame: Frame, segments: list[Segment], scans: bytes, axis: int) -> bool:
    if frame.precision != 8 or len(frame.components) not in (1, 3):  # jpeglib does not write a fourth component
        return False
    if not frame.width or not frame.height or not all(1 <= h <= 4 and 1 <= v <= 4 for _, h, v, _ in frame.components):
        return False
    if len(frame.components) > 1 and sum(h * v for _, h, v, _ in frame.components) > _MAX_MCU_BLOCKS:
        return False
    if (frame.height, frame.width)[axis] % frame.mcu_side(axis):
        return False
    if not {table for *_, table in frame.components} <= _defined_tables(segments):
        return False
    # Tables that change between scans could not be kept with one scan. (In entropy-coded data 0xFF is stuffed.)
    return b"\xff\xdb" not in scans[: scans.find(b"\xff\xd9")]


def _defined_tables(segments: list[Segment]) -> set[int]:
    return {slot for _, slot in quantization_tables(segments)}


def _mirrored_coefficients_file(data: bytes, frame: Frame, axis: int) -> bytes | None:
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
        raise broken() from error
    picture.content = None  # write from scratch, not over a copy of the source
    for name in ("Y", "Cb", "Cr")[: len(frame.components)]:
        blocks: Coefficients = getattr(picture, name)
        if blocks.min() < -_MAX_COEFFICIENT - 1 or blocks.max() > _MAX_COEFFICIENT:
            return None
        setattr(picture, name, _mirrored(blocks, axis))
    with tempfile.TemporaryDirectory(prefix="evenskin-") as directory:
        path = os.path.join(directory, "mirrored.jpg")
        # A quality makes jpeglib leave the quantization tables alone. They are put back in _spliced.
        picture.write_dct(path, quality=100, flags=["+OPTIMIZE_CODING"] if frame.marker == PROGRESSIVE else [])
        with open(path, "rb") as file:
            return file.read()


def _mirrored(blocks: Coefficients, axis: int) -> Coefficients:
    """Coefficients (block rows, block columns, vertical frequency, horizontal frequency) → mirrored along the axis."""
    mirrored = np.flip(blocks, axis).copy()
    odd = mirrored[:, :, 1::2, :] if axis == 0 else mirrored[:, :, :, 1::2]
    np.negative(odd, out=odd)
    return mirrored


def _spliced(segments: list[Segment], frame: Frame, written: bytes) -> bytes:
    """Join the source's quantization and frame headers with the entropy-coded data that libjpeg wrote."""
    parts = []
    for segment in segments:
        if segment.marker in FRAMES:
            # A sequential scan is written, also for a progressive source; baseline has 8-bit tables only.
            wide = frame.marker == EXTENDED or any(precision for precision, _ in quantization_tables(segments))
            segment = Segment(EXTENDED if wide else BASELINE, segment.body)
            parts.append(bytes(segment))
        elif segment.marker == DQT:
            parts.append(bytes(segment))
    new_segments, scan_at = split_header(written)
    parts += [bytes(segment) for segment in new_segments if segment.marker == DHT]
    scan = bytearray(written[scan_at:])
    for index, (identifier, *_) in enumerate(frame.components):
        scan[5 + 2 * index] = identifier  # SOS: marker, length, count, then (identifier, tables) of each component
    parts.append(bytes(scan))
    return b"".join(parts)
