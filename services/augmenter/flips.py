"""The horizontal flip: the one augmentation that leaves every sign of a skin condition as it is."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from typing import Any

from PIL import ImageOps

from services.augmenter import jpeg, png, webp
from shared.errors import ImageBroken, ImageUnsupported
from shared.imaging import EXTENSIONS, MEDIA_TYPES, Opened, decode, open_checked, stand_in_mark
from shared.pictures.provenance import marks_of, with_marks

# What a parser of ours raises for a file that it does not take apart. OSError and MemoryError are the machine's.
_REFUSALS = (ImageBroken, ArithmeticError, LookupError, TypeError, ValueError, struct.error)
_FLIPPED = ("PNG", "JPEG", "WEBP")
_QUALITY = 95  # of 100, of a JPEG or WebP that is encoded from its pixels: the loss cannot be seen


@dataclass(frozen=True)
class Flipped:
    """An encoded picture. `width` and `height` are pixels as displayed.

    `lossless` says whether flipping it back gives the source's samples (PNG, WebP) or DCT coefficients (JPEG).
    """

    data: bytes
    extension: str  # png, jpg or webp
    media_type: str
    width: int
    height: int
    lossless: bool


def flip_horizontally(data: bytes, *, jpeg_way: jpeg.Way | None = None) -> Flipped:
    """Mirror a PNG, JPEG or WebP as it is displayed: EXIF orientation is respected.

    `jpeg_way`: what flips JPEGs; None: the fastest there is.

    The format and the colour profile stay. PNG is exact to the bit in every depth; JPEG is flipped in its
    coefficients where its size allows it, WebP exact where the source is lossless. Where a file cannot be taken apart
    so, what `shared.imaging.decode` sees of it is flipped and encoded anew. What is private in the metadata (places,
    dates, thumbnails) is dropped. How the picture was made stays told, also that a face is drawn; a C2PA manifest,
    which would not hold for the flip, is dropped, but for the kind of source that it names. Can be called from many
    threads at once; releases the GIL for most of its time. Raises the errors of `shared.imaging.decode`, and
    ImageUnsupported for formats the dataset does not store (HEIC, AVIF).
    """
    opened = open_checked(data)
    if opened.format not in _FLIPPED:
        raise ImageUnsupported(
            f"{opened.format} pictures are not flipped.", advice="Store the picture as PNG, JPEG or WebP."
        )
    try:
        flipped = _flip_stored(data, opened, jpeg_way or jpeg.best_way())
    except _REFUSALS:
        flipped = _flip_decoded(data)
    marks = marks_of(opened.parts, is_stand_in=opened.is_stand_in)
    return flipped if marks is None else replace(flipped, data=with_marks(flipped.data, opened.format, marks))


def displayed_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as displayed. Raises the errors of `shared.imaging.open_checked`."""
    return open_checked(data).displayed_size


def _flip_stored(data: bytes, opened: Opened, jpeg_way: jpeg.Way) -> Flipped:
    """Flip what is stored, without going through colours where that can be. Raises one of _REFUSALS."""
    kind, lossless = opened.format, True
    if kind == "PNG":
        mirrored = png.mirror(png.read_chunks(data), opened.orientation, stand_in=opened.is_stand_in)
    elif kind == "JPEG":
        mirrored, lossless = jpeg.mirror(data, opened.orientation, stand_in=opened.is_stand_in, way=jpeg_way)
    else:
        mirrored, lossless = webp.mirror(data, opened.orientation, stand_in=opened.is_stand_in)
    return Flipped(mirrored, EXTENSIONS[kind], MEDIA_TYPES[kind], *opened.displayed_size, lossless)


def _flip_decoded(data: bytes) -> Flipped:
    """Flip upright sRGB, and encode it in the source's format: without further loss where the source has none."""
    decoded = decode(data)
    options: dict[str, Any] = {"quality": _QUALITY}
    if decoded.format == "JPEG":
        options["subsampling"] = "4:4:4"
    elif decoded.format == "WEBP" and webp.is_lossless(data):
        options["lossless"] = True
    if decoded.is_stand_in:
        options |= stand_in_mark(decoded.format)
    out = io.BytesIO()
    ImageOps.mirror(decoded.image).save(out, decoded.format, icc_profile=None, **options)
    return Flipped(
        out.getvalue(),
        EXTENSIONS[decoded.format],
        MEDIA_TYPES[decoded.format],
        decoded.width,
        decoded.height,
        lossless=False,
    )
