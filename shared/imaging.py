"""Turns a picture into an array: the one preprocessing of trainer, model-server and review gate.

`decode` is the only place that opens bytes from outside. Everything after it sees upright sRGB.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from shared.errors import (
    ImageAnimated,
    ImageBroken,
    ImageEmpty,
    ImageTooLarge,
    ImageTooManyPixels,
    ImageTooSmall,
    ImageUnsupported,
)

MAX_BYTES = 20 * 1024 * 1024  # bytes of one upload: a 12-megapixel PNG fits
MAX_PIXELS = 50_000_000  # pixels: 150 MB decoded, above every phone's default camera mode
MIN_SIDE = 64  # pixels of the shorter side: below this no skin can be seen
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF")
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "HEIF": "image/heic"}
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "HEIF": "heic"}

STAND_IN_COMMENT = b"evenskin stand-in: drawn, not photographed"
"""Comment of every drawn face, so that it is recognised wherever it comes from."""
_DESCRIPTION = 0x010E  # EXIF 2.3, table 4: ImageDescription

# Phones put previews and bursts behind a still picture: the first picture counts.
_MULTI_PICTURE_FORMATS = ("HEIF", "MPO")

_SRGB = ImageCms.createProfile("sRGB")

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Decoded:
    """An upright picture in sRGB.

    `image` is RGB; `format` is one of FORMATS; `orientation` is the EXIF value (1 to 8) it was stored in.
    """

    image: Image.Image
    format: str
    orientation: int
    is_stand_in: bool = False  # whether it says that the procedural provider drew it

    @property
    def width(self) -> int:
        """Pixels, as displayed."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels, as displayed."""
        return self.image.height


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


def open_checked(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open a picture without decoding it, after the checks that cost nothing.

    Raises ImageEmpty, ImageTooLarge, ImageUnsupported, ImageAnimated, ImageBroken, ImageTooManyPixels,
    ImageTooSmall.
    """
    if not data:
        raise ImageEmpty("The upload is empty.", advice="Send the bytes of a picture.")
    if len(data) > max_bytes:
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


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode an upload to an upright sRGB picture: EXIF orientation and colour profile applied.

    Transparency is laid on white. Raises what `open_checked` raises, and ImageBroken for damaged data.
    """
    image = open_checked(data, max_bytes=max_bytes, max_pixels=max_pixels)
    picture_format = format_of(image)
    try:
        orientation = image.getexif().get(0x0112, 1)
        image.load()
        drawn = is_stand_in(image)
        ImageOps.exif_transpose(image, in_place=True)  # no copy of a picture that is upright
    except Exception as error:  # truncated or corrupt data: each decoder has its own exception
        raise ImageBroken("The picture's data is damaged or cut off.", advice="Send it again.") from error
    return Decoded(
        _to_srgb(image),
        picture_format,
        orientation if orientation in range(1, 9) else 1,
        is_stand_in=drawn,
    )


def _to_srgb(image: Image.Image) -> Image.Image:
    profile_bytes = image.info.get("icc_profile")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(layer, mask=layer.getchannel("A"))
        image = flat
    elif image.mode.startswith("I;16") or image.mode in ("I", "F"):
        scaled = np.asarray(image, dtype=np.float32) / 257.0
        image = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8), "L")
    if profile_bytes and image.mode in ("RGB", "CMYK", "L"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
            converted = ImageCms.profileToProfile(image, profile, _SRGB, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # an unusable profile says nothing about the pixels: take them as sRGB
    return image if image.mode == "RGB" else image.convert("RGB")


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
