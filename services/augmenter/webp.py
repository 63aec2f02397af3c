"""Mirror a WebP: without loss where the source is lossless, else encoded anew at quality 95."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from services.augmenter.orientation import mirror_displayed
from shared.errors import ImageBroken
from shared.imaging import stand_in_mark

_QUALITY = 95  # of 100: a lossy source has no quality to read out; this one's loss cannot be seen
_EFFORT = 20  # of 100, for lossless: twenty times faster than 100, a few percent larger


def mirror(image: Image.Image, data: bytes, orientation: int, *, stand_in: bool) -> tuple[bytes, bool]:
    """Mirror the displayed picture; returns the file, upright, and whether nothing was lost.

    `stand_in`: whether the file says that it is drawn. Raises ImageBroken.
    """
    lossless = is_lossless(data)
    try:
        image.load()
        flipped = Image.fromarray(np.ascontiguousarray(mirror_displayed(np.asarray(image), orientation)), image.mode)
    except Exception as error:  # Pillow raises OSError, SyntaxError and others
        raise ImageBroken("The WebP's data is damaged or cut off.", advice="Send it again.") from error
    out = io.BytesIO()
    flipped.save(
        out,
        "WEBP",
        lossless=lossless,
        quality=_EFFORT if lossless else _QUALITY,
        exact=lossless,  # also the colours under full transparency
        icc_profile=image.info.get("icc_profile"),
        **(stand_in_mark("WEBP") if stand_in else {}),
    )
    return out.getvalue(), lossless


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
