"""Reads and changes `models/live.json`, which names the live model: for the trainer's gate and the operator."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.blobs import Blobs
from shared.errors import BlobNotFound
from shared.model_card import LIVE_KEY, LiveModel, model_key
from shared.tracing import current_correlation_id, current_traceparent


async def read_live(blobs: Blobs) -> LiveModel | None:
    """The live model, or None if there is none yet."""
    live, _ = await _read(blobs)
    return live


async def make_live(blobs: Blobs, *, version: str, sha256: str, reason: str) -> LiveModel:
    """Point `models/live.json` at a version that lies in the store, and keep the version before it as `previous`.

    A version that is live already changes nothing. Raises PreconditionFailed where somebody else promoted meanwhile.
    """
    current, etag = await _read(blobs)
    if current is not None and current.version == version:
        return current
    live = LiveModel(
        version=version,
        key=model_key(version),
        sha256=sha256,
        promoted_at=datetime.now(UTC),
        reason=reason,
        previous=current.version if current else None,
        correlation_id=current_correlation_id(),
        traceparent=current_traceparent(),
    )
    await blobs.put(
        LIVE_KEY,
        live.model_dump_json(indent=1).encode(),
        content_type="application/json",
        if_absent=etag is None,
        if_match=etag,
    )
    return live


async def _read(blobs: Blobs) -> tuple[LiveModel | None, str | None]:
    try:
        blob = await blobs.get(LIVE_KEY)
    except BlobNotFound:
        return None, None
    return LiveModel.model_validate_json(blob.data), blob.etag
