"""Pictures as text: base64 as servers and proxies write it."""

from __future__ import annotations

import base64

_SAFE_FOR_URLS = str.maketrans("-_", "+/")  # RFC 4648, section 5


def is_data_url(text: str) -> bool:
    """Whether a text holds its data itself (RFC 2397)."""
    return text.lstrip()[:5].casefold() == "data:"


def picture_bytes(text: object) -> bytes | None:
    """The bytes of a picture in base64: with a `data:` prefix, line breaks, url-safe or unpadded. None: no base64."""
    if not isinstance(text, str):
        return None
    if is_data_url(text):
        head, comma, text = text.partition(",")
        if not comma or not head.rstrip().casefold().endswith(";base64"):
            return None
    plain = "".join(text.split()).translate(_SAFE_FOR_URLS).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        return None
