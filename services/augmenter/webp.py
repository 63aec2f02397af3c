"""Mirror a WebP: without loss where the source is lossless, else encoded anew at quality 95."""

from __future__ import annotations

import io

from PIL import Image

from services.augmenter.orientation import mirror_image
from shared.errors import ImageBroken
from shared.imaging import stand_in_mark

_QUALITY = 95  # of 100: a lossy source has no quality to read out; this one's loss cannot be seen
_EFFORT = 20  # of 100, for lossless: twenty times faster than 100, a few percent larger


def mirror(data: bytes, orientation: int, *, stand_in: bool) -> tuple[bytes, bool]:
    """Mirror the displayed picture; returns the file, upright, and whether nothing was lost.

    `stand_in`: whether the file says that it is drawn. Raises ImageBroken.
    """
    lossless = is_lossless(data)
    flipped, profile = _mirrored(data, orientation)
    out = io.BytesIO()
    flipped.save(
        out,
        "WEBP",
        lossless=lossless,
        quality=_EFFORT if lossless else _QUALITY,
        exact=lossless,  # also the colours under full transparency
        icc_profile=profile,
        **(stand_in_mark("WEBP") if stand_in else {}),
    )
    return out.getvalue(), lossless


def _mirrored(data: bytes, orientation: int) -> tuple[Image.Image, bytes | None]:
    """The displayed picture, mirrored, and its colour profile.

    The decoder, which holds eight bytes a pixel for as long as its image, ends here.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            image.load()
            return mirror_image(image, orientation), image.info.get("icc_profile")
    except Exception as error:  # Pillow raises OSError, SyntaxError and others
        raise ImageBroken("The WebP's data is damaged or cut off.", advice="Send it again.") from error


def is_lossless(data: bytes) -> bool:
    """Whether the picture's chunk is VP8L (RFC 9649, 2.6), directly in the RIFF or after an extended header."""
    at = 12
    while at + 8 <= len(data):
        kind = data[at : at + 4]
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2  # chunks are padded to even lengths
    return False
