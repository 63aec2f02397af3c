"""The generator's handlers: one verb-named coroutine per event, and their table at the end."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from pydantic import TypeAdapter

from services.generator.metrics import GeneratorMetrics
from services.generator.pacing import Pacer, PacingStopped
from services.generator.provider import Order, Picture, Provider, ProviderFailed
from shared.blobs import Blobs
from shared.bus import Bus, RetryLater
from shared.errors import BlobNotFound, ImageError, PreconditionFailed, StoreUnavailable
from shared.events import Event, FailureReason, ImageFailed, ImageGenerated, ImageRequested
from shared.imaging import EXTENSIONS, MEDIA_TYPES, format_of, open_checked
from shared.message import Message
from shared.metrics import MetricRegistry
from shared.taxonomy import derived_id

log = structlog.get_logger(__name__)

SOURCE = "generator"
STORE_RETRY_S = 10.0  # between tries to store what was paid for; only the end of the process ends them
CLOSING_S = 3.0  # for pictures that are being paid for when the service stops, its drain over

_STORED = ("PNG", "JPEG", "WEBP")  # formats that the dataset keeps
_RECORD: TypeAdapter[ImageGenerated | ImageFailed] = TypeAdapter(ImageGenerated | ImageFailed)


@dataclass
class Generation:
    """What the handlers work with. `at_work`: one task per image, however often the image is requested."""

    provider: Provider
    bus: Bus
    blobs: Blobs
    pacer: Pacer
    registry: MetricRegistry
    at_work: dict[UUID, asyncio.Task[Event]] = field(default_factory=dict)
    metrics: GeneratorMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = GeneratorMetrics(self.registry, self.provider.name, lambda: len(self.at_work))

    async def turn(self) -> None:
        """Wait for the pace, then check the store: no picture is paid for that could not be kept.

        Raises PacingStopped, StoreUnavailable.
        """
        await self.pacer.turn()
        await self.blobs.check()

    async def close(self) -> None:
        """Send no further request, and give pictures under way CLOSING_S to be stored."""
        self.pacer.stop()
        if self.at_work:
            _, late = await asyncio.wait(self.at_work.values(), timeout=CLOSING_S)
            for task in late:
                log.warning("image_given_up", task=task.get_name())
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def generate_image(generation: Generation, message: Message) -> None:
    """ImageRequested: make the picture unless it is made already, and publish the outcome."""
    request = message.event
    assert isinstance(request, ImageRequested)
    task = generation.at_work.get(request.image_id)
    if task is None:
        task = asyncio.create_task(_found_or_made(generation, request), name=f"generate {request.image_id}")
        generation.at_work[request.image_id] = task
        task.add_done_callback(lambda done: _discard_task(generation, request.image_id, done))
    # Shielded: a picture that is being paid for is kept even if this delivery is cancelled.
    event = await asyncio.shield(task)
    identity = str(derived_id(event.name(), request.image_id))
    await generation.bus.publish(message.caused(event, source=SOURCE, id=identity))


def _discard_task(generation: Generation, image_id: UUID, task: asyncio.Task[Event]) -> None:
    del generation.at_work[image_id]
    if not task.cancelled():
        task.exception()  # retrieved, also where no delivery waits for it any more


def record_key(image_id: UUID) -> str:
    """Key of the record of an image's outcome, ImageGenerated or ImageFailed. With a record, it is not made again."""
    return f"images/{image_id}/generation.json"


async def _found_or_made(generation: Generation, request: ImageRequested) -> Event:
    try:
        record = await generation.blobs.get(record_key(request.image_id))
    except BlobNotFound:
        return await _make_and_keep(generation, request)
    except StoreUnavailable as error:
        raise RetryLater(error.message, counted=False) from error
    log.info("image_found", image_id=str(request.image_id))  # made for an earlier delivery
    return _RECORD.validate_json(record.data)


async def _make_and_keep(generation: Generation, request: ImageRequested) -> Event:
    order = Order(request.image_id, request.condition, request.severity, request.subject, request.earlier_rejections)
    try:
        picture = await _provider_picture(generation, order)
        made = _generated_event(generation, request, picture, picture.data)
    except PacingStopped:
        raise RetryLater("The generator is stopping.", counted=False) from None
    except StoreUnavailable as error:
        raise RetryLater(error.message, counted=False) from error
    except ProviderFailed as error:
        log.warning("image_failed", image_id=str(request.image_id), reason=error.failure.value, detail=error.message)
        failed = _failed_event(request, error.failure, error.message, error.cost_usd)
        generation.metrics.image_ended(request.condition, error.failure, error.cost_usd)
        return await _keep_until_stored(request, lambda: _keep_record(generation, failed))
    generation.metrics.image_ended(request.condition, "generated", picture.cost_usd)

    async def keep() -> Event:
        data = await _keep_picture(generation, made.key, picture.data, made.media_type)
        return await _keep_record(generation, _generated_event(generation, request, picture, data))

    kept = await _keep_until_stored(request, keep)
    log.info("image_generated", image_id=str(request.image_id), cost_usd=picture.cost_usd, calls=picture.calls)
    return kept


async def _provider_picture(generation: Generation, order: Order) -> Picture:
    """Have the provider make the picture, and observe how long it took, without the waiting for turns."""
    waited_s = 0.0

    async def turn() -> None:
        nonlocal waited_s
        began = time.monotonic()
        try:
            await generation.turn()
        finally:
            waited_s += time.monotonic() - began

    began = time.monotonic()
    try:
        return await generation.provider.generate(order, generation.metrics.counting_turns(turn))
    finally:
        generation.metrics.provider_took(time.monotonic() - began - waited_s)


def _generated_event(generation: Generation, request: ImageRequested, picture: Picture, data: bytes) -> ImageGenerated:
    """The event of a picture whose stored bytes are `data`. Raises ProviderFailed where they are no usable picture."""
    try:
        opened = open_checked(data)
    except ImageError as error:
        raise ProviderFailed(
            f"The provider's picture cannot be read: {error.message}",
            FailureReason.INVALID_RESPONSE,
            cost_usd=picture.cost_usd,
        ) from error
    if format_of(opened) not in _STORED:
        raise ProviderFailed(
            f"The provider's picture is {format_of(opened)}, which the dataset does not keep.",
            FailureReason.INVALID_RESPONSE,
            cost_usd=picture.cost_usd,
        )
    extension = EXTENSIONS[format_of(opened)]
    return ImageGenerated(
        campaign_id=request.campaign_id,
        slot_id=request.slot_id,
        attempt=request.attempt,
        image_id=request.image_id,
        key=f"images/{request.image_id}/original.{extension}",
        sha256=hashlib.sha256(data).hexdigest(),
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


def _failed_event(request: ImageRequested, reason: FailureReason, detail: str, cost_usd: float) -> ImageFailed:
    return ImageFailed(
        campaign_id=request.campaign_id,
        slot_id=request.slot_id,
        attempt=request.attempt,
        image_id=request.image_id,
        reason=reason,
        detail=detail,
        cost_usd=cost_usd,
    )


async def _keep_until_stored(request: ImageRequested, keep: Callable[[], Awaitable[Event]]) -> Event:
    """Store what was paid for, however long the store is down. Returns the outcome that stands."""
    while True:
        try:
            return await keep()
        except StoreUnavailable as error:
            log.warning("outcome_not_stored_yet", image_id=str(request.image_id), error=error.message)
            await asyncio.sleep(STORE_RETRY_S)


async def _keep_picture(generation: Generation, key: str, data: bytes, media_type: str) -> bytes:
    """Store a picture unless one is there. Returns the bytes that lie in the store then.

    Another replica, or a generator that was killed, may have stored its own picture and published it.
    """
    try:
        await generation.blobs.put(key, data, content_type=media_type, if_absent=True)
    except PreconditionFailed:
        return (await generation.blobs.get(key)).data
    return data


async def _keep_record(generation: Generation, event: ImageGenerated | ImageFailed) -> ImageGenerated | ImageFailed:
    """Store the record of an outcome unless one is there. Returns the record that lies in the store then."""
    key = record_key(event.image_id)
    try:
        await generation.blobs.put(
            key, event.model_dump_json().encode(), content_type="application/json", if_absent=True
        )
    except PreconditionFailed:
        standing = _RECORD.validate_json((await generation.blobs.get(key)).data)
        if isinstance(event, ImageGenerated) and getattr(standing, "key", None) != event.key:
            await generation.blobs.delete(event.key)  # a picture that no record is about
        return standing
    return event


HANDLERS: dict[type[Event], Callable[[Generation, Message], Awaitable[None]]] = {
    ImageRequested: generate_image,
}
