"""Mirror a JPEG in its DCT coefficients, or, where its size does not allow that, in pixels.

The last column of blocks becomes the first, so it must be full for a flip without loss: the width must be a multiple
of the MCU's (ITU-T T.81, A.2.3).
"""

from __future__ import annotations

import io
import struct
from enum import StrEnum
from typing import Any

from PIL import Image, JpegImagePlugin

from services.augmenter import jpeg_coefficients, turbojpeg
from services.augmenter.jpeg_file import (
    PROGRESSIVE,
    SOI,
    Frame,
    broken,
    check_decodes,
    colour_metadata,
    frame_of,
    split_header,
)
from services.augmenter.orientation import exif_block, swaps_sides
from shared.errors import ImageBroken
from shared.imaging import STAND_IN_COMMENT

# bytes of coefficients: 50 megapixels with halved chroma (4:2:0) are 150 MB, and are held up to three times
MAX_COEFFICIENT_BYTES = 200_000_000


class Way(StrEnum):
    """What flips JPEGs, the fastest first. All give the same coefficients; REENCODING loses a little."""

    LIBTURBOJPEG = "libturbojpeg"
    JPEGLIB = "jpeglib"
    REENCODING = "re-encoding"


def best_way() -> Way:
    """The fastest way that this machine has."""
    if turbojpeg.is_there():
        return Way.LIBTURBOJPEG
    return Way.JPEGLIB if jpeg_coefficients.is_there() else Way.REENCODING


def mirror(data: bytes, orientation: int, *, stand_in: bool, way: Way) -> tuple[bytes, bool]:
    """Mirror the displayed picture; returns the file and whether nothing was lost.

    The orientation tag (1 to 8) is kept: where it turns rows into columns, mirroring what is displayed is flipping
    what is stored upside down. Of the metadata only JFIF, Adobe and colour profile segments are kept, and the comment
    of a drawn face (`stand_in`). Without loss: 8-bit Huffman-coded pictures whose side along the axis is a multiple of
    the MCU, up to MAX_COEFFICIENT_BYTES; with jpeglib only those of one or three components. Others are encoded anew
    with the same quantization tables. Raises ImageBroken.
    """
    axis = 0 if swaps_sides(orientation) else 1
    try:
        segments, scan_at = split_header(data)
        frame = frame_of(segments)
    except (struct.error, IndexError, ValueError) as error:
        raise ImageBroken("The JPEG's header is damaged or cut off.", advice="Export it again.") from error
    body = None
    if frame is not None and _coefficient_bytes(frame) <= MAX_COEFFICIENT_BYTES:
        if way is Way.LIBTURBOJPEG:
            body = _by_libturbojpeg(data, frame, axis)
        elif way is Way.JPEGLIB:
            body = jpeg_coefficients.mirror(data, segments, frame, data[scan_at:], axis)
    if body is None:
        return _reencoded(data, orientation, axis, stand_in=stand_in), False
    metadata = colour_metadata(segments, orientation, stand_in=stand_in)
    return b"".join((bytes((0xFF, SOI)), *map(bytes, metadata), body)), True


def _coefficient_bytes(frame: Frame) -> int:
    return sum(frame.blocks(each, 0) * frame.blocks(each, 1) * 64 * 2 for each in range(len(frame.components)))


def _by_libturbojpeg(data: bytes, frame: Frame, axis: int) -> bytes | None:
    mirrored = turbojpeg.mirror(data, axis, progressive=frame.marker == PROGRESSIVE)
    if mirrored is None:
        return None
    written, warned = mirrored
    if warned:  # it fills with grey what is missing, which not every decoder takes
        check_decodes(data)
    segments, scan_at = split_header(written)
    tables = (bytes(segment) for segment in segments if not segment.is_metadata)
    return b"".join((*tables, written[scan_at:]))


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
        raise broken() from error
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
