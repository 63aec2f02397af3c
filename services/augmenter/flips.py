"""The horizontal flip: the one augmentation that leaves every sign of a skin condition as it is."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from services.augmenter import jpeg, png, webp
from services.augmenter.orientation import exif_orientation, swaps_sides
from shared.errors import ImageBroken, ImageUnsupported
from shared.imaging import EXTENSIONS, MEDIA_TYPES, decode, format_of, is_stand_in, open_checked, stand_in_mark

# Texts of a PNG that say how it is turned, or that it is drawn: what Pillow, and so shared.imaging, reads.
_TELLING_TEXTS = (b"raw profile type exif\0", b"raw profile type app1\0", b"xml:com.adobe.xmp\0", b"comment\0")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# What a parser of ours raises for a file that it does not take apart. OSError and MemoryError are the machine's.
_REFUSALS = (ImageBroken, ArithmeticError, LookupError, TypeError, ValueError, struct.error)
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
    dates, thumbnails) is dropped, and a drawn face stays marked as one. Can be called from many threads at once;
    releases the GIL for most of its time. Raises the errors of `shared.imaging.decode`, and ImageUnsupported for
    formats the dataset does not store (HEIC).
    """
    image = open_checked(data)
    if format_of(image) == "HEIF":
        raise ImageUnsupported("HEIF pictures are not flipped.", advice="Store the picture as PNG, JPEG or WebP.")
    try:
        return _flip_stored(data, image, jpeg_way or jpeg.best_way())
    except _REFUSALS:
        return _flip_decoded(data)


def displayed_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as displayed. Raises the errors of `shared.imaging.open_checked`, and ImageBroken."""
    image = open_checked(data)
    width, height = image.size
    return (height, width) if swaps_sides(_checked_orientation(image)) else (width, height)


def _flip_stored(data: bytes, image: Image.Image, jpeg_way: jpeg.Way) -> Flipped:
    """Flip what is stored, without going through colours where that can be. Raises one of _REFUSALS."""
    kind, lossless = format_of(image), True
    if kind == "PNG":
        chunks = png.read_chunks(data)
        # To look behind the data, Pillow decodes it: it is asked only where there is something to find.
        if any(_tells(chunk) for chunk in chunks):
            _load(image)
            mirrored = png.mirror(chunks, orientation := _checked_orientation(image), stand_in=is_stand_in(image))
        else:
            mirrored = png.mirror(chunks, orientation := 1, stand_in=False)
    else:
        orientation = _checked_orientation(image)
        stand_in = is_stand_in(image)
        if kind == "JPEG":
            mirrored, lossless = jpeg.mirror(data, orientation, stand_in=stand_in, way=jpeg_way)
        else:
            mirrored, lossless = webp.mirror(data, orientation, stand_in=stand_in)
    width, height = image.size[::-1] if swaps_sides(orientation) else image.size
    return Flipped(mirrored, EXTENSIONS[kind], MEDIA_TYPES[kind], width, height, lossless)


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


def _tells(chunk: png.Chunk) -> bool:
    return chunk.kind == b"eXIf" or (chunk.kind in _TEXTS and bytes(chunk.body[:22]).lower().startswith(_TELLING_TEXTS))


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # Pillow raises OSError, SyntaxError and others
        raise ImageBroken("The picture's data is damaged or cut off.", advice="Send it again.") from error


def _checked_orientation(image: Image.Image) -> int:
    try:
        return exif_orientation(image)
    except Exception as error:  # damaged EXIF: each kind of damage has its own exception
        raise ImageBroken("The picture's EXIF data is damaged.", advice="Export it again.") from error
