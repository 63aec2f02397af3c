"""The augmenter's handlers: one verb-named coroutine per event, and their table at the end."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import structlog

from services.augmenter.flips import flip_horizontally
from services.augmenter.metrics import AugmenterMetrics
from shared.blobs import Blobs
from shared.bus import Bus, RetryLater, Undeliverable
from shared.errors import BlobNotFound, ImageError, StoreUnavailable
from shared.events import Event, ImageAugmented, ImageLabeled, Variant, Verdict
from shared.message import Message
from shared.taxonomy import derived_id

log = structlog.get_logger(__name__)

SOURCE = "augmenter"
OPERATION = "hflip"


@dataclass(frozen=True)
class Augmentation:
    """What the handlers work with. `pool`: threads that flip, off the event loop."""

    bus: Bus
    blobs: Blobs
    pool: Executor
    metrics: AugmenterMetrics


async def augment_image(augmentation: Augmentation, message: Message) -> None:
    """ImageLabeled: mirror an accepted image. The same image always gives the same variant and event id."""
    event = message.event
    assert isinstance(event, ImageLabeled)
    if event.verdict is not Verdict.ACCEPTED:
        return
    try:
        source = await augmentation.blobs.get(event.key)
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        flipped = await loop.run_in_executor(augmentation.pool, flip_horizontally, source.data)
        augmentation.metrics.variant_made(OPERATION, lossless=flipped.lossless, seconds=time.monotonic() - began)
        key = f"images/{event.image_id}/{OPERATION}.{flipped.extension}"
        await augmentation.blobs.put(key, flipped.data, content_type=flipped.media_type)
    except BlobNotFound as error:
        raise RetryLater(error.message) from error
    except StoreUnavailable as error:
        raise RetryLater(error.message, counted=False) from error
    except ImageError as error:
        raise Undeliverable(f"{event.key} cannot be flipped: {error.message}") from error
    variant = Variant(
        operation=OPERATION,
        key=key,
        sha256=hashlib.sha256(flipped.data).hexdigest(),
        width=flipped.width,
        height=flipped.height,
    )
    augmented = ImageAugmented(image_id=event.image_id, variants=(variant,))
    identity = str(derived_id(ImageAugmented.name(), event.image_id))
    await augmentation.bus.publish(message.caused(augmented, source=SOURCE, id=identity))
    log.info("image_augmented", image_id=str(event.image_id), lossless=flipped.lossless)


HANDLERS: dict[type[Event], Callable[[Augmentation, Message], Awaitable[None]]] = {
    ImageLabeled: augment_image,
}
