"""Thumbnails: small, upright copies of pictures."""

from __future__ import annotations

import io

from PIL import Image

from shared.imaging import decode

LONGER_SIDE = 256  # pixels
MEDIA_TYPE = "image/webp"


def thumbnail(data: bytes) -> bytes:
    """An encoded picture as WebP, upright, its longer side at most LONGER_SIDE pixels. Raises ImageError."""
    image = decode(data).image
    image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82)
    return buffer.getvalue()
