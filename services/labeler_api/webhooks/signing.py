"""Signatures of webhooks, by Standard Webhooks 1.0.0 (https://www.standardwebhooks.com). Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64  # of a secret, by the specification


def secret_bytes(text: str) -> bytes:
    """The bytes of a secret, `whsec_` and base64. Raises ValueError."""
    try:
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:  # of base64, or of characters beyond ASCII
        found = b""
    if not text.startswith(PREFIX) or not MIN_BYTES <= len(found) <= MAX_BYTES:
        raise ValueError(f"A secret is {PREFIX} and {MIN_BYTES} to {MAX_BYTES} random bytes in base64.")
    return found


def headers_of(message_id: str, timestamp: int, body: bytes, secret: bytes) -> dict[str, str]:
    """The headers that sign a body: its id, when it is sent (seconds since the epoch), a signature of all three."""
    signed = hmac.new(secret, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
