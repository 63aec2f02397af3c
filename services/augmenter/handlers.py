"""The augmenter's handlers: one verb-named coroutine per event, and their table at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import structlog

from services.augmenter.flips import Flipped, displayed_size, flip_horizontally
from services.augmenter.metrics import AugmenterMetrics
from shared.admission import PixelAdmission
from shared.blobs import Blobs
from shared.bus import Bus, RetryLater
from shared.errors import BlobNotFound, ImageError, PreconditionFailed, StoreUnavailable
from shared.events import Event, ImageAugmented, ImageLabeled, Variant, Verdict
from shared.message import Message
from shared.taxonomy import derived_id

log = structlog.get_logger(__name__)

SOURCE = "augmenter"
OPERATION = "hflip"
MAX_REASON = 1000  # characters: what ImageAugmented says at most


@dataclass(frozen=True)
class Augmentation:
    """What the handlers work with. `pool`: threads that flip, off the event loop; `admission`: how much at a time."""

    bus: Bus
    blobs: Blobs
    pool: Executor
    admission: PixelAdmission
    metrics: AugmenterMetrics


async def augment_image(augmentation: Augmentation, message: Message) -> None:
    """ImageLabeled: mirror an accepted image, or say why it cannot be.

    The same image always gives the same variant and event id: a variant that is in the store already stays.
    """
    event = message.event
    assert isinstance(event, ImageLabeled)
    if event.verdict is not Verdict.ACCEPTED:
        return
    try:
        source = await augmentation.blobs.get(event.key)
        began = time.monotonic()
        flipped = await augmentation.admission.run(
            source.data, partial(flip_horizontally, source.data), augmentation.pool
        )
        augmentation.metrics.variant_made(OPERATION, lossless=flipped.lossless, seconds=time.monotonic() - began)
        variant = await _keep(augmentation, f"images/{event.image_id}/{OPERATION}.{flipped.extension}", flipped)
        augmented = ImageAugmented(image_id=event.image_id, variants=(variant,))
        log.info("image_augmented", image_id=str(event.image_id), lossless=flipped.lossless)
    except BlobNotFound as error:
        raise RetryLater(error.message) from error
    except StoreUnavailable as error:
        raise RetryLater(error.message, counted=False) from error
    except ImageError as error:  # trying again would not help: whoever waits for variants is told
        reason = f"{error.code}: {error.message}"
        augmented = ImageAugmented(image_id=event.image_id, variants=(), reason=reason[:MAX_REASON])
        log.warning("image_not_augmented", image_id=str(event.image_id), key=event.key, reason=reason)
    identity = str(derived_id(ImageAugmented.name(), event.image_id))
    await augmentation.bus.publish(message.caused(augmented, source=SOURCE, id=identity))


async def _keep(augmentation: Augmentation, key: str, flipped: Flipped) -> Variant:
    """Store a flip unless one is there, and describe the one that lies in the store then.

    Another release or processor may have encoded other bytes, and published them.
    """
    data, (width, height) = flipped.data, (flipped.width, flipped.height)
    try:
        await augmentation.blobs.put(key, data, content_type=flipped.media_type, if_absent=True)
    except PreconditionFailed:
        data = (await augmentation.blobs.get(key)).data
        width, height = await augmentation.admission.run(data, partial(displayed_size, data), augmentation.pool)
    sha256 = hashlib.sha256(data).hexdigest()
    return Variant(operation=OPERATION, key=key, sha256=sha256, width=width, height=height)


HANDLERS: dict[type[Event], Callable[[Augmentation, Message], Awaitable[None]]] = {
    ImageLabeled: augment_image,
}
