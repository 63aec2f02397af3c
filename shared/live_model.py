"""Reads and changes `models/live.json`, which names the live model: for the trainer's gate and the operator.

Changes are ordered by the generation number in the file, never by clocks: each change is one more than the one that
it replaces, and replaces that one only (compare-and-set on its ETag).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.blobs import Blobs
from shared.errors import BlobNotFound, PreconditionFailed
from shared.model_card import LIVE_KEY, LiveModel, model_key
from shared.tracing import current_correlation_id, current_traceparent


@dataclass(frozen=True)
class LivePointer:
    """`models/live.json` as it was read: the live model and the file's ETag; None, None where there is none yet."""

    live: LiveModel | None
    etag: str | None


async def read_live(blobs: Blobs) -> LiveModel | None:
    """The live model, or None if there is none yet."""
    return (await read_pointer(blobs)).live


async def read_pointer(blobs: Blobs) -> LivePointer:
    """`models/live.json` for `make_live` to replace, by whoever decides on what stands in it."""
    try:
        blob = await blobs.get(LIVE_KEY)
    except BlobNotFound:
        return LivePointer(None, None)
    return LivePointer(LiveModel.model_validate_json(blob.data), blob.etag)


async def make_live(
    blobs: Blobs, *, version: str, sha256: str, reason: str, replacing: LivePointer | None = None
) -> LiveModel:
    """Point `models/live.json` at a version that lies in the store, and keep the version before it as `previous`.

    `replacing`: what the decision was made on; None: whatever stands there now. A version that is live already
    changes nothing. Raises PreconditionFailed where somebody else changed the file meanwhile.
    """
    pointer = replacing or await read_pointer(blobs)
    current = pointer.live
    if current is not None and current.version == version:
        return current
    live = LiveModel(
        version=version,
        key=model_key(version),
        sha256=sha256,
        generation=current.generation + 1 if current else 1,
        promoted_at=datetime.now(UTC),
        reason=reason,
        previous=current.version if current else None,
        correlation_id=current_correlation_id(),
        traceparent=current_traceparent(),
    )
    try:
        await blobs.put(
            LIVE_KEY,
            live.model_dump_json(indent=1).encode(),
            content_type="application/json",
            if_absent=pointer.etag is None,
            if_match=pointer.etag,
        )
    except PreconditionFailed as error:
        if await read_live(blobs) == live:  # an answer was lost, and the store's client wrote it twice
            return live
        raise PreconditionFailed(
            f"Another model went live while '{version[:80]}' was about to.",
            advice="See which one is live (`evenskin models list`), and ask again.",
        ) from error
    return live


async def put_back(blobs: Blobs, live: LiveModel, before: LivePointer) -> None:
    """Let `models/live.json` say again what it said before `live`, under the next generation number.

    Whatever else went live since stays.
    """
    pointer = await read_pointer(blobs)
    if pointer.live != live or before.live == live:
        return
    if before.live is None:
        await blobs.delete(LIVE_KEY)
        return
    restored = before.live.model_copy(update={"generation": live.generation + 1})
    with contextlib.suppress(PreconditionFailed):  # another one went live
        await blobs.put(
            LIVE_KEY,
            restored.model_dump_json(indent=1).encode(),
            content_type="application/json",
            if_match=pointer.etag,
        )
