"""Thumbnails: small, upright copies of pictures."""

from __future__ import annotations

import io

from PIL import Image

from shared.imaging import decode, needed_side

LONGER_SIDE = 256  # pixels
DECODED_SIDE = needed_side(LONGER_SIDE)  # pixels of the shorter side
MEDIA_TYPE = "image/webp"


def thumbnail(data: bytes) -> bytes:
    """An encoded picture as WebP, upright, its longer side at most LONGER_SIDE pixels. Raises ImageError."""
    image = decode(data, min_side=DECODED_SIDE).image
    image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82)
    return buffer.getvalue()
