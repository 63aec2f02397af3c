"""Turns a picture into an array: the one preprocessing of trainer, model-server and review gate.

`decode` is the only place that opens bytes from outside. Everything after it sees upright sRGB. What a file is made of
is taken apart in `shared.pictures`: no decoder is shown more than the pixels need, so that nothing beside them counts
against them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo
from PIL.WebPImagePlugin import WebPImageFile

from shared.errors import ImageBroken, ImageEmpty, ImageError, ImageTooLarge, ImageTooManyPixels, ImageTooSmall
from shared.pictures import boxes, colour, exif, jpeg, kinds, opacity, png, webp
from shared.pictures.kinds import EXTENSIONS, FORMATS, MEDIA_TYPES
from shared.pictures.parts import Parts, damaged_header

__all__ = ["EXTENSIONS", "FORMATS", "MEDIA_TYPES"]  # beside what is defined here

MAX_BYTES = 20 * 1024 * 1024  # bytes of one upload: a 12-megapixel PNG fits. Inside, pixels alone bound the work
MAX_PIXELS = 50_000_000  # pixels that are decoded: 150 MB, above every phone's default camera mode
# pixels of a JPEG that is decoded at a smaller scale, and takes the time of reading it: above every phone's sensor
MAX_SCALED_PIXELS = 250_000_000
MIN_SIDE = 64  # pixels of the shorter side: below this no skin can be seen
OVERSAMPLING = 1.15  # pixels decoded for one that is needed, along a side: resizing has something to smooth

STAND_IN_COMMENT = b"evenskin stand-in: drawn, not photographed"
"""Comment of every drawn face, so that it is recognised wherever it comes from."""
_ROWS = 64  # of a picture that are compared at a time

# Of each EXIF orientation, the turn that sets the picture upright (EXIF 2.3, table 4).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)  # orientations whose rows are displayed as columns

# What stands for the rest of a JPEG that may lack some of its data: each bit of one is not that of the other, and no
# byte comes again, so that they are not the same a few bits on.
_RESTS = tuple(bytes((29 * n % 254 + 1) ^ inverted for n in range(127)) + jpeg.END_MARKER for inverted in (0, 255))

Pixels = npt.NDArray[np.uint8]


class PictureWarning(StrEnum):
    """What is wrong with a file whose pixels are sound all the same."""

    NO_END_MARKER = "no_end_marker"  # a JPEG that lacks nothing but its last two bytes


@dataclass(frozen=True)
class Opened:
    """A picture that is not decoded yet. `width` and `height` are pixels as stored, of the whole picture.

    `image` has the size that will be decoded; `pixels` is how many the decoder holds at a time. For the rest see
    `Decoded`.
    """

    image: Image.Image
    format: str
    width: int
    height: int
    pixels: int
    orientation: int
    exif_is_silent: bool
    is_stand_in: bool
    parts: Parts

    @property
    def displayed_size(self) -> tuple[int, int]:
        """Width and height of the whole picture in pixels, as displayed."""
        return (self.height, self.width) if self.orientation in _LYING else (self.width, self.height)


@dataclass(frozen=True)
class Decoded:
    """An upright picture in sRGB.

    `image` is RGB, and may be smaller than the picture is: where `decode` was told that less is enough. `format` is one
    of FORMATS. `width` and `height` are those of the whole picture in pixels, as displayed. `orientation` is the EXIF
    value (1 to 8) it was stored in; `exif_is_silent` says that nothing in the file told it. `is_stand_in` says that the
    procedural provider drew it.
    """

    image: Image.Image
    format: str
    width: int
    height: int
    orientation: int = 1
    exif_is_silent: bool = True
    is_stand_in: bool = False
    warnings: tuple[PictureWarning, ...] = ()

    @property
    def scale(self) -> float:
        """Pixels of `image` for one of the whole picture, along a side: 1, or about 1/2, 1/4, 1/8."""
        return max(self.image.size) / max(self.width, self.height)


def open_checked(
    data: bytes, *, max_bytes: int | None = None, max_pixels: int = MAX_PIXELS, min_side: int | None = None
) -> Opened:
    """Open a picture without decoding it, after the checks that cost nothing.

    `max_bytes`: the limit of a door to the outside; what is stored has none, since a copy may be larger than what came.
    `max_pixels`: the most that are decoded, at the scale that `min_side` (see `decode`) allows.

    Raises ImageEmpty, ImageTooLarge, ImageUnsupported, ImageAnimated, ImageBroken, ImageTooManyPixels,
    ImageTooSmall.
    """
    if not data:
        raise ImageEmpty("The upload is empty.", advice="Send the bytes of a picture.")
    if max_bytes is not None and len(data) > max_bytes:
        raise ImageTooLarge(
            f"The upload has {len(data)} bytes; at most {max_bytes} are read.", advice="Send a smaller picture."
        )
    kind = kinds.kind_of(data)
    parts = _APART[kind](data)
    image = _open(kind, parts.pixels, max_pixels)
    width, height = image.size
    _scale_down(image, min_side)
    pixels = width * height if parts.buffers_all else image.width * image.height
    if pixels > max_pixels:
        raise _too_many_pixels(max_pixels)
    if width * height > max(MAX_SCALED_PIXELS, max_pixels):
        raise _too_many_pixels(max(MAX_SCALED_PIXELS, max_pixels))
    if parts.is_animated or (kind == "AVIF" and getattr(image, "n_frames", 1) > 1):
        raise kinds.animated()
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmall(
            f"The picture is {width}×{height} pixels; its shorter side must have {MIN_SIDE}.",
            advice="Send a larger picture.",
        )
    colour.check_range(parts.profile, parts.code_points)
    told = exif.orientation_of(parts.exif, parts.xmp)
    # A HEIC's or AVIF's own turn is the one that counts: libheif has done it, libavif's comes as if EXIF said it.
    turn = told if kind in ("JPEG", "PNG", "WEBP") else exif.orientation_of(image.info.get("exif") or b"")
    return Opened(
        image,
        kind,
        width,
        height,
        pixels,
        orientation=turn or 1,
        exif_is_silent=told is None and not parts.is_turned,
        is_stand_in=STAND_IN_COMMENT in (*parts.comments, exif.description_of(parts.exif)),
        parts=parts,
    )


_APART: dict[str, Callable[[bytes], Parts]] = {
    "JPEG": jpeg.take_apart,
    "PNG": png.take_apart,
    "WEBP": webp.take_apart,
    "HEIF": boxes.take_apart,
    "AVIF": boxes.take_apart,
}


def _open(kind: str, pixels: bytes, max_pixels: int) -> Image.Image:
    opener = _opener(kind)
    try:
        return opener(io.BytesIO(pixels))
    except Image.DecompressionBombError:
        raise _too_many_pixels(max_pixels) from None
    except Exception as error:  # decoders raise whatever they like on damaged headers
        raise damaged_header() from error


@cache
def _opener(kind: str) -> Callable[[io.BytesIO], Image.Image]:
    """What opens a format. HEIF's decoder, 26 MB that not every service has, is loaded for HEIF alone."""
    if kind == "HEIF":
        try:
            from pillow_heif.as_plugin import HeifImageFile
        except ImportError:
            raise kinds.not_here("HEIC") from None
        return HeifImageFile
    if kind == "AVIF":
        from PIL import AvifImagePlugin

        if not AvifImagePlugin.SUPPORTED:
            raise kinds.not_here("AVIF")
        return AvifImagePlugin.AvifImageFile
    return {"JPEG": JpegImageFile, "PNG": PngImageFile, "WEBP": WebPImageFile}[kind]


def _scale_down(image: Image.Image, min_side: int | None) -> None:
    if min_side is not None and isinstance(image, JpegImageFile):
        image.draft(None, (min_side, min_side))  # libjpeg's inverse DCT of fewer coefficients


def pixels_of(data: bytes, min_side: int | None = None) -> int:
    """Pixels that decoding a picture holds, as its header says; 0 of what is refused before it is decoded.

    `min_side`: as `decode` will be told.
    """
    try:
        return open_checked(data, min_side=min_side).pixels
    except ImageError:
        return 0


def stand_in_mark(picture_format: str) -> dict[str, Any]:
    """The options of Pillow's `save` that mark a JPEG, PNG or WebP as a drawn face, for `is_stand_in` to find."""
    if picture_format == "JPEG":
        return {"comment": STAND_IN_COMMENT}
    if picture_format == "PNG":
        texts = PngInfo()
        texts.add_text("Comment", STAND_IN_COMMENT.decode())
        return {"pnginfo": texts}
    block = Image.Exif()
    block[exif.DESCRIPTION] = STAND_IN_COMMENT.decode()
    return {"exif": block.tobytes()}


def _too_many_pixels(limit: int) -> ImageTooManyPixels:
    return ImageTooManyPixels(f"The picture has more than {limit} pixels.", advice="Send a smaller picture.")


def decode(
    data: bytes, *, max_bytes: int | None = None, max_pixels: int = MAX_PIXELS, min_side: int | None = None
) -> Decoded:
    """Decode a picture to an upright sRGB picture: EXIF orientation and colour profile applied.

    `min_side`: pixels of the shorter side that are enough; a JPEG is then decoded at a half, a quarter or an eighth of
    its size, which is the faster the smaller, but to no less than that. None: whole. Transparency is laid on white.
    Raises what `open_checked` raises, and ImageBroken for damaged data.
    """
    opened = open_checked(data, max_bytes=max_bytes, max_pixels=max_pixels, min_side=min_side)
    width, height = opened.displayed_size
    picture_format, parts, orientation = opened.format, opened.parts, opened.orientation
    is_silent, is_stand_in = opened.exif_is_silent, opened.is_stand_in
    stored = opacity.stored_samples(opened.image)
    try:
        image, warnings = _load(opened, min_side)
        colours, opaque = opacity.split(image, parts.pixels, stored)
        del image, opened  # as large as what was made of it
        rgb = colour.to_srgb(colours, parts.profile, parts.code_points)
        if opaque is not None:
            rgb.paste("white", mask=ImageChops.invert(opaque))
    except Exception as error:  # truncated or corrupt data: each decoder has its own exception
        raise ImageBroken("The picture's data is damaged or cut off.", advice="Send it again.") from error
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    return Decoded(
        rgb,
        picture_format,
        width,
        height,
        orientation,
        exif_is_silent=is_silent,
        is_stand_in=is_stand_in,
        warnings=warnings,
    )


def _load(opened: Opened, min_side: int | None) -> tuple[Image.Image, tuple[PictureWarning, ...]]:
    """Decode an opened picture. Raises whatever its decoder raises for damaged data."""
    if opened.format == "JPEG" and not jpeg.has_end(opened.parts.pixels):
        return _load_endless(opened.parts.pixels, min_side), (PictureWarning.NO_END_MARKER,)
    image = opened.image
    if isinstance(image, JpegImageFile):
        image.decodermaxblock = len(opened.parts.pixels)  # at once: each block would wait for the interpreter's lock
    image.load()
    return image, ()


def _load_endless(data: bytes, min_side: int | None) -> Image.Image:
    """Decode a JPEG that lacks its end marker. Raises ImageBroken where it lacks more.

    Whatever comes behind its data, the picture must be the same: else some of what was read is not the picture's.
    """
    body = jpeg.without_padding(data)
    if not jpeg.says_every_coefficient(body):
        raise ImageBroken("The picture's last scans are missing.")
    images = []
    for rest in _RESTS:
        image = JpegImageFile(io.BytesIO(body + rest))
        _scale_down(image, min_side)
        image.load()
        images.append(image)
    one, other = images
    for top in range(0, one.height, _ROWS):
        box = (0, top, one.width, min(top + _ROWS, one.height))
        if one.crop(box).tobytes() != other.crop(box).tobytes():
            raise ImageBroken("The picture's last rows are missing.")
    return one


def needed_side(size: int) -> int:
    """Pixels of a picture's shorter side from which its middle square is cut at `size` without loss that shows."""
    return math.ceil(OVERSAMPLING * size)
