"""The horizontal flip: the one augmentation that leaves every sign of a skin condition as it is."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from services.augmenter import jpeg, png, webp
from services.augmenter.orientation import exif_orientation, swaps_sides
from shared.errors import ImageBroken, ImageUnsupported
from shared.imaging import EXTENSIONS, MEDIA_TYPES, format_of, open_checked

# Where a PNG may hold an orientation besides its eXIf chunk: what Pillow, and so shared.imaging, reads.
_ORIENTED_TEXTS = (b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")


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


def flip_horizontally(data: bytes) -> Flipped:
    """Mirror a PNG, JPEG or WebP as it is displayed: EXIF orientation is respected.

    The format and the colour profile stay. PNG is exact to the bit in every depth; JPEG is flipped in its
    coefficients where its size allows it, WebP exact where the source is lossless. What is private in the metadata
    (places, dates, thumbnails) is dropped. Can be called from many threads at once; releases the GIL for most of
    its time. Raises the errors of `shared.imaging.open_checked`, ImageBroken for damaged data and ImageUnsupported
    for formats the dataset does not store (HEIC).
    """
    image = open_checked(data)
    kind = format_of(image)
    lossless = True
    if kind == "PNG":
        chunks = png.read_chunks(data)
        orientation = _png_orientation(chunks, image)
        mirrored = png.mirror(chunks, orientation)
    elif kind == "JPEG":
        orientation = _checked_orientation(image)
        mirrored, lossless = jpeg.mirror(data, orientation)
    elif kind == "WEBP":
        orientation = _checked_orientation(image)
        mirrored, lossless = webp.mirror(image, data, orientation)
    else:
        raise ImageUnsupported(f"{kind} pictures are not flipped.", advice="Store the picture as PNG, JPEG or WebP.")
    width, height = image.size[::-1] if swaps_sides(orientation) else image.size
    return Flipped(mirrored, EXTENSIONS[kind], MEDIA_TYPES[kind], width, height, lossless)


def _png_orientation(chunks: list[png.Chunk], image: Image.Image) -> int:
    # Pillow decodes a whole PNG to look for EXIF behind the data: it is asked only where there is something to find.
    if any(chunk.kind == b"eXIf" or bytes(chunk.body[:22]).startswith(_ORIENTED_TEXTS) for chunk in chunks):
        return _checked_orientation(image)
    return 1


def _checked_orientation(image: Image.Image) -> int:
    try:
        return exif_orientation(image)
    except Exception as error:  # damaged EXIF: each kind of damage has its own exception
        raise ImageBroken("The picture's EXIF data is damaged.", advice="Export it again.") from error
