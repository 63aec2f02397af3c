"""Turns a picture into an array: the one preprocessing of trainer, model-server and review gate.

`decode` is the only place that opens bytes from outside. Everything after it sees upright sRGB.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageCms, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo

from shared.errors import (
    ImageAnimated,
    ImageBroken,
    ImageEmpty,
    ImageError,
    ImageTooLarge,
    ImageTooManyPixels,
    ImageTooSmall,
    ImageUnsupported,
)

MAX_BYTES = 20 * 1024 * 1024  # bytes of one upload: a 12-megapixel PNG fits. Inside, pixels alone bound the work
MAX_PIXELS = 50_000_000  # pixels: 150 MB decoded, above every phone's default camera mode
MIN_SIDE = 64  # pixels of the shorter side: below this no skin can be seen
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF")
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "HEIF": "image/heic"}
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "HEIF": "heic"}

STAND_IN_COMMENT = b"evenskin stand-in: drawn, not photographed"
"""Comment of every drawn face, so that it is recognised wherever it comes from."""
_ROWS = 64  # of a picture that are worked on at a time
_DESCRIPTION = 0x010E  # EXIF 2.3, table 4: ImageDescription

# Phones put previews and bursts behind a still picture: the first picture counts.
_MULTI_PICTURE_FORMATS = ("HEIF", "MPO")

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

_SRGB = ImageCms.createProfile("sRGB")

Pixels = npt.NDArray[np.uint8]


class PictureWarning(StrEnum):
    """What is wrong with a file whose pixels are sound all the same."""

    NO_END_MARKER = "no_end_marker"  # a JPEG that lacks nothing but its last two bytes


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


def _formats_of(data: bytes) -> tuple[str, ...]:
    """The formats to try on a file. HEIF's decoder, 26 MB that not every service has, is loaded for HEIF alone."""
    if data[4:8] == b"ftyp" and _can_read_heif():
        return FORMATS
    return tuple(name for name in FORMATS if name != "HEIF")


@cache
def _can_read_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def open_checked(data: bytes, *, max_bytes: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open a picture without decoding it, after the checks that cost nothing.

    `max_bytes`: the limit of a door to the outside; what is stored has none, since a copy may be larger than what came.

    Raises ImageEmpty, ImageTooLarge, ImageUnsupported, ImageAnimated, ImageBroken, ImageTooManyPixels,
    ImageTooSmall.
    """
    if not data:
        raise ImageEmpty("The upload is empty.", advice="Send the bytes of a picture.")
    if max_bytes is not None and len(data) > max_bytes:
        raise ImageTooLarge(
            f"The upload has {len(data)} bytes; at most {max_bytes} are read.", advice="Send a smaller picture."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_formats_of(data))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _too_many_pixels(max_pixels) from None
    except UnidentifiedImageError:
        raise ImageUnsupported(
            "The upload is not a picture in a format that is read.", advice="Send JPEG, PNG, WebP or HEIC."
        ) from None
    except Exception as error:  # decoders raise whatever they like on damaged headers
        raise ImageBroken("The picture's header is damaged.", advice="Export it again.") from error
    if image.width * image.height > max_pixels:
        raise _too_many_pixels(max_pixels)
    if getattr(image, "n_frames", 1) > 1 and image.format not in _MULTI_PICTURE_FORMATS:
        raise ImageAnimated("The picture is animated.", advice="Send a still picture.")
    if min(image.size) < MIN_SIDE:
        raise ImageTooSmall(
            f"The picture is {image.width}×{image.height} pixels; its shorter side must have {MIN_SIDE}.",
            advice="Send a larger picture.",
        )
    return image


def pixels_of(data: bytes) -> int:
    """Pixels that decoding a picture makes, as its header says; 0 of what is refused before it is decoded."""
    try:
        width, height = open_checked(data).size
    except ImageError:
        return 0
    return width * height


def format_of(image: Image.Image) -> str:
    """The picture's format, one of FORMATS. An MPO is a JPEG with further pictures behind it."""
    return "JPEG" if image.format == "MPO" else image.format or ""


def is_stand_in(image: Image.Image) -> bool:
    """Whether an opened picture says that it is a drawn face, in a comment (JPEG, PNG) or in its EXIF description.

    What stands behind a PNG's data counts once that is loaded. Raises whatever Pillow raises for damaged EXIF data.
    """
    said = [value for name, value in image.info.items() if str(name).lower() == "comment"]
    said += [body for name, body in getattr(image, "applist", ()) if name == "COM"]  # of a JPEG: Pillow's info has one
    said.append(image.getexif().get(_DESCRIPTION))
    return any(
        (text.encode(errors="replace") if isinstance(text, str) else text) == STAND_IN_COMMENT
        for text in said
        if isinstance(text, str | bytes)
    )


def stand_in_mark(picture_format: str) -> dict[str, Any]:
    """The options of Pillow's `save` that mark a JPEG, PNG or WebP as a drawn face, for `is_stand_in` to find."""
    if picture_format == "JPEG":
        return {"comment": STAND_IN_COMMENT}
    if picture_format == "PNG":
        texts = PngInfo()
        texts.add_text("Comment", STAND_IN_COMMENT.decode())
        return {"pnginfo": texts}
    exif = Image.Exif()
    exif[_DESCRIPTION] = STAND_IN_COMMENT.decode()
    return {"exif": exif.tobytes()}


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
    image = open_checked(data, max_bytes=max_bytes, max_pixels=max_pixels)
    width, height = image.size
    if min_side is not None and isinstance(image, JpegImageFile):
        image.draft(None, (min_side, min_side))  # libjpeg's inverse DCT of fewer coefficients
    picture_format = format_of(image)
    stored = _stored_samples(image)
    try:
        told = image.getexif().get(0x0112)
        image.load()
        drawn, profile = is_stand_in(image), image.info.get("icc_profile")
        colours, opacity = _split(image, data, stored)
        del image  # as large as what was made of it
        rgb = _to_srgb(colours, opacity, profile)
    except Exception as error:  # truncated or corrupt data: each decoder has its own exception
        raise ImageBroken("The picture's data is damaged or cut off.", advice="Send it again.") from error
    is_silent = told not in range(1, 9)
    orientation = 1 if is_silent else int(told)
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    if orientation >= 5:  # stored lying down
        width, height = height, width
    return Decoded(rgb, picture_format, width, height, orientation, exif_is_silent=is_silent, is_stand_in=drawn)


def _stored_samples(image: Image.Image) -> str:
    """How an opened PNG stores its samples, in Pillow's words such as "L;4": known only until its data is loaded."""
    return str(image.tile[0][3]) if isinstance(image, PngImageFile) and image.tile else ""


def _to_srgb(colours: Image.Image, opacity: Image.Image | None, profile: bytes | None) -> Image.Image:
    rgb = colours if profile is None else _from_profile(colours, profile)
    if rgb.mode != "RGB":
        rgb = rgb.convert("RGB")
    if opacity is not None:
        rgb.paste("white", mask=ImageChops.invert(opacity))
    return rgb


def _split(image: Image.Image, data: bytes, stored: str) -> tuple[Image.Image, Image.Image | None]:
    """Split a picture into its colours (L, RGB or CMYK) and their opacity (L; None: nothing says that it is not 255).

    A PNG without an alpha channel names its transparent colour or palette entries (W3C PNG, third edition, 11.3.1.1).
    """
    transparent = image.info.pop("transparency", None)
    if image.mode in ("RGBA", "LA"):
        return image.convert(image.mode[:-1]), image.getchannel("A")
    if image.mode == "P":
        opacities = bytes(255 * (entry != transparent) for entry in range(256))
        if isinstance(transparent, bytes):
            opacities = transparent[:256].ljust(256, b"\xff")
        return image.convert("RGB"), None if transparent is None else image.point(list(opacities), "L")
    if image.mode == "I;16":
        return _split_deep_grey(image, transparent)
    colours = image if image.mode in ("L", "RGB", "CMYK") else image.convert("L" if image.mode == "1" else "RGB")
    if transparent is None:
        return colours, None
    named = transparent if isinstance(transparent, tuple) else (transparent,)
    if stored == "RGB;16B":
        high, low = _opacity(image, [value >> 8 for value in named]), [value & 255 for value in named]
        return colours, ImageChops.lighter(high, _opacity(_low_bytes(data), low))
    step = {"L;2": 85, "L;4": 17}.get(stored, 1)  # between the levels that fewer bits become
    return colours, _opacity(colours, [value % (255 // step + 1) * step for value in named])


def _split_deep_grey(image: Image.Image, transparent: int | None) -> tuple[Image.Image, Image.Image | None]:
    """16 bits of grey to 8, some rows at a time: an array of all of them would take five times the picture."""
    colours = Image.new("L", image.size)
    opacity = None if transparent is None else Image.new("L", image.size)
    for top in range(0, image.height, _ROWS):
        levels = np.asarray(image.crop((0, top, image.width, min(top + _ROWS, image.height))))
        colours.paste(Image.fromarray((levels >> 8).astype(np.uint8)), (0, top))
        if opacity is not None:
            opacity.paste(Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)), (0, top))
    return colours, opacity


def _opacity(image: Image.Image, transparent: Sequence[int]) -> Image.Image:
    """0 where every channel has its transparent value, else 255."""
    masks = [
        channel.point([255 * (level != value) for level in range(256)])
        for channel, value in zip(image.split(), transparent, strict=True)
    ]
    return reduce(ImageChops.lighter, masks)


def _low_bytes(data: bytes) -> Image.Image:
    """The low bytes of a PNG's 16-bit colours, of which Pillow gives the high ones."""
    image = Image.open(io.BytesIO(data), formats=["PNG"])
    assert isinstance(image, PngImageFile)
    image.tile = [image.tile[0]._replace(args="RGB;16L")]  # as if the low byte came last
    image.load()
    return image


def _from_profile(image: Image.Image, profile_bytes: bytes) -> Image.Image:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
        if profile.profile.xcolor_space.strip() == "GRAY" and image.mode == "RGB":
            image = image.convert("L")  # grey that Pillow gives as colours
        converted = ImageCms.profileToProfile(image, profile, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # an unusable profile says nothing about the pixels: take them as sRGB
    return image if converted is None else converted


def square(image: Image.Image, size: int) -> Pixels:
    """Preprocess for the model: centre-crop to a square, resize to `size`.

    Returns uint8 of shape (size, size, 3), RGB. Normalisation is in the model's graph.
    """
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    resized = image.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side), reducing_gap=3.0
    )
    return np.asarray(resized, dtype=np.uint8)


def model_input(data: bytes, size: int) -> Pixels:
    """Encoded file → model input, uint8 (size, size, 3). Trainer and model-server both call this."""
    return square(decode(data).image, size)
