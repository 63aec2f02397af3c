"""What the generator does with each event: one verb-named coroutine per event, and their table at the end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from services.generator.pacing import Pacer
from services.generator.provider import Order, Picture, Provider, ProviderFailed
from shared.blobs import Blobs
from shared.bus import Bus, RetryLater
from shared.errors import BlobNotFound, ImageError, StoreUnavailable
from shared.events import Event, FailureReason, ImageFailed, ImageGenerated, ImageRequested
from shared.imaging import EXTENSIONS, MEDIA_TYPES, format_of, open_checked
from shared.message import Message
from shared.taxonomy import derived_id

log = structlog.get_logger(__name__)

SOURCE = "generator"
WRITE_TRIES = (
    30  # of the record of a paid picture: with WRITE_WAIT_S between them, five minutes of a store that is down
)
WRITE_WAIT_S = 10.0


@dataclass
class Generation:
    """What the handlers work with. One task per image, however often it is asked for."""

    provider: Provider
    bus: Bus
    blobs: Blobs
    pacer: Pacer
    at_work: dict[UUID, asyncio.Task[Event]] = field(default_factory=dict)


async def generate_image(generation: Generation, message: Message) -> None:
    """ImageRequested: make the picture unless it is made already, and say so."""
    request = message.event
    assert isinstance(request, ImageRequested)
    task = generation.at_work.get(request.image_id)
    if task is None:
        task = asyncio.create_task(_outcome(generation, request), name=f"generate {request.image_id}")
        generation.at_work[request.image_id] = task
        task.add_done_callback(lambda _: generation.at_work.pop(request.image_id, None))
    # Shielded: a picture that is being paid for is kept even if this delivery is taken away.
    event = await asyncio.shield(task)
    identity = str(derived_id(event.name(), request.image_id))
    await generation.bus.publish(message.caused(event, source=SOURCE, id=identity))


def record_key(image_id: UUID) -> str:
    """Where the record of a picture lies, once it is paid for."""
    return f"images/{image_id}/generation.json"


async def _outcome(generation: Generation, request: ImageRequested) -> Event:
    try:
        record = await generation.blobs.get(record_key(request.image_id))
    except BlobNotFound:
        return await _make(generation, request)
    except StoreUnavailable as error:
        raise RetryLater(error.message, counted=False) from error
    log.info("image_found", image_id=str(request.image_id))  # paid for by an earlier delivery
    return ImageGenerated.model_validate_json(record.data)


async def _make(generation: Generation, request: ImageRequested) -> Event:
    order = Order(request.image_id, request.condition, request.severity, request.subject, request.earlier_rejections)
    try:
        await generation.blobs.check()  # a picture that cannot be kept is not paid for
    except StoreUnavailable as error:
        raise RetryLater(error.message, counted=False) from error
    await generation.pacer.turn()
    try:
        picture = await generation.provider.generate(order)
        event = _describe(generation, request, picture)
    except ProviderFailed as error:
        log.warning("image_failed", image_id=str(request.image_id), reason=error.failure.value, detail=error.message)
        return _failed(request, error.failure, error.message, error.cost_usd)
    await _keep(generation, event, picture)
    log.info("image_generated", image_id=str(request.image_id), cost_usd=picture.cost_usd, calls=picture.calls)
    return event


def _describe(generation: Generation, request: ImageRequested, picture: Picture) -> ImageGenerated:
    try:
        opened = open_checked(picture.data)
    except ImageError as error:
        raise ProviderFailed(
            f"The provider's picture cannot be read: {error.message}",
            FailureReason.INVALID_RESPONSE,
            cost_usd=picture.cost_usd,
        ) from error
    extension = EXTENSIONS[format_of(opened)]
    return ImageGenerated(
        campaign_id=request.campaign_id,
        slot_id=request.slot_id,
        attempt=request.attempt,
        image_id=request.image_id,
        key=f"images/{request.image_id}/original.{extension}",
        sha256=hashlib.sha256(picture.data).hexdigest(),
        width=opened.width,
        height=opened.height,
        media_type=MEDIA_TYPES[format_of(opened)],
        prompt=picture.prompt,
        provider=generation.provider.name,
        model=picture.model,
        provider_request_id=picture.request_id,
        cost_usd=picture.cost_usd,
        quality={"provider_calls": float(picture.calls)},
    )


def _failed(request: ImageRequested, reason: FailureReason, detail: str, cost_usd: float) -> ImageFailed:
    return ImageFailed(
        campaign_id=request.campaign_id,
        slot_id=request.slot_id,
        attempt=request.attempt,
        image_id=request.image_id,
        reason=reason,
        detail=detail,
        cost_usd=cost_usd,
    )


async def _keep(generation: Generation, event: ImageGenerated, picture: Picture) -> None:
    """Store the picture, then its record, which is what makes it paid; wait for a store that is down."""
    for attempt in range(1, WRITE_TRIES + 1):
        try:
            await generation.blobs.put(event.key, picture.data, content_type=event.media_type)
            await generation.blobs.put(
                record_key(event.image_id), event.model_dump_json().encode(), content_type="application/json"
            )
            return
        except StoreUnavailable as error:
            if attempt == WRITE_TRIES:
                raise
            log.warning("paid_image_not_stored_yet", image_id=str(event.image_id), error=error.message)
            await asyncio.sleep(WRITE_WAIT_S)


HANDLERS: dict[type[Event], Callable[[Generation, Message], Awaitable[None]]] = {
    ImageRequested: generate_image,
}
