"""Keeping: an image's picture and the record of its outcome, each stored once. The record that is stored stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from pydantic import TypeAdapter

from shared.blobs import Blobs
from shared.errors import BlobNotFound, PreconditionFailed, StoreUnavailable
from shared.events import ImageFailed, ImageGenerated

log = structlog.get_logger(__name__)

STORE_RETRY_S = 10.0  # between tries to store what was paid for; only the end of the process ends them

Outcome = ImageGenerated | ImageFailed
_RECORD: TypeAdapter[Outcome] = TypeAdapter(Outcome)


def record_key(image_id: UUID) -> str:
    """Key of the record of an image's outcome, ImageGenerated or ImageFailed. With a record, it is not made again."""
    return f"images/{image_id}/generation.json"


async def record_of(blobs: Blobs, image_id: UUID) -> Outcome | None:
    """The outcome of an image that is made already, or None. Raises StoreUnavailable."""
    try:
        record = await blobs.get(record_key(image_id))
    except BlobNotFound:
        return None
    return _RECORD.validate_json(record.data)


async def keep_picture(blobs: Blobs, key: str, data: bytes, media_type: str) -> bytes:
    """Store a picture unless one is there. Returns the bytes that lie in the store then. Raises StoreUnavailable.

    A generator that was killed, or that lost its claim, may have stored its own picture.
    """
    try:
        await blobs.put(key, data, content_type=media_type, if_absent=True)
    except PreconditionFailed:
        return (await blobs.get(key)).data
    return data


async def keep_record(blobs: Blobs, event: Outcome) -> Outcome:
    """Store the record of an outcome unless one is there. Returns the record that lies in the store then.

    Raises StoreUnavailable.
    """
    key = record_key(event.image_id)
    try:
        await blobs.put(key, event.model_dump_json().encode(), content_type="application/json", if_absent=True)
    except PreconditionFailed:
        standing = _RECORD.validate_json((await blobs.get(key)).data)
        if isinstance(event, ImageGenerated) and getattr(standing, "key", None) != event.key:
            await blobs.delete(event.key)  # a picture that no record is about
        return standing
    return event


async def until_stored(image_id: UUID, keep: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Store what was paid for, however long the store is down. Returns the outcome that stands."""
    while True:
        try:
            return await keep()
        except StoreUnavailable as error:
            log.warning("outcome_not_stored_yet", image_id=str(image_id), error=error.message)
            await asyncio.sleep(STORE_RETRY_S)
