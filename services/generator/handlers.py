"""The generator's handlers: one verb-named coroutine per event, and their table at the end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from services.generator.calls import PATIENCE_S, Doubt, Made, ProviderFailed, picture_for
from services.generator.claims import ClaimHeld, Claims, Holding, Unclaimed
from services.generator.keeping import Outcome, keep_picture, keep_record, record_key, record_of, until_stored
from services.generator.marking import STORED, marked
from services.generator.metrics import GeneratorMetrics
from services.generator.pacing import Pacer, PacingStopped
from services.generator.provider import NotDone, Order, Picture, Provider
from shared.blobs import Blobs
from shared.bus import Bus, RetryLater
from shared.errors import ImageError, StoreUnavailable
from shared.events import ACCOUNT_FAILURES, Event, FailureReason, ImageFailed, ImageGenerated, ImageRequested
from shared.imaging import EXTENSIONS, MEDIA_TYPES, open_checked
from shared.message import Message
from shared.metrics import MetricRegistry
from shared.taxonomy import derived_id

log = structlog.get_logger(__name__)

SOURCE = "generator"
PROCEDURAL = "procedural"  # provider of drawn faces
CLOSING_S = 3.0  # for pictures that are being paid for when the service stops, its drain over


@dataclass
class Generation:
    """What the handlers work with.

    `drain_s`: seconds that pictures under way get once no further one is paid for. `patience_s`: seconds waited for one
    picture where the provider asks for it. `at_work`: one task per image,
    however often the image is requested. `dearest_usd`: what a picture costs, US dollars: the provider's price, or more
    where the usage that an answer told of came to more.
    """

    provider: Provider
    bus: Bus
    blobs: Blobs
    pacer: Pacer
    claims: Claims
    registry: MetricRegistry
    drain_s: float = 0.0
    patience_s: float = PATIENCE_S
    at_work: dict[UUID, asyncio.Task[Outcome]] = field(default_factory=dict)
    metrics: GeneratorMetrics = field(init=False)
    dearest_usd: float = field(init=False)

    def __post_init__(self) -> None:
        self._stopped_at: float | None = None
        self.dearest_usd = self.provider.price_usd
        self.metrics = GeneratorMetrics(
            self.registry, self.provider.name, lambda: len(self.at_work), lambda: self.pacer.per_minute or math.inf
        )

    def holding(self, image_id: UUID) -> contextlib.AbstractAsyncContextManager[Holding]:
        """The right to make an image: a claim where it is paid for. Raises ClaimHeld, StoreUnavailable."""
        if self.provider.price_usd == 0:
            return contextlib.nullcontext(Unclaimed(self.blobs))
        return self.claims.holding(image_id)

    def stop_paying(self) -> None:
        """Send no further request: what is under way is all that will be paid for."""
        self.pacer.stop()
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()

    async def close(self) -> None:
        """Send no further request, and give pictures under way the rest of the drain to be stored, or CLOSING_S."""
        self.stop_paying()
        assert self._stopped_at is not None
        if self.at_work:
            # The drain of a bus that is shared with other services may have been shorter than this one's.
            left_s = self._stopped_at + self.drain_s - time.monotonic()
            _, late = await asyncio.wait(self.at_work.values(), timeout=max(left_s, CLOSING_S))
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
    identity = derived_id(event.name(), request.image_id)
    if _is_account_failure(event):  # the same request may fail so again: each time is a happening of its own
        identity = derived_id(event.name(), request.image_id, message.source, message.id)
    await generation.bus.publish(message.caused(event, source=SOURCE, id=str(identity)))


def _discard_task(generation: Generation, image_id: UUID, task: asyncio.Task[Outcome]) -> None:
    del generation.at_work[image_id]
    if not task.cancelled():
        task.exception()  # retrieved, also where no delivery waits for it any more


def _is_account_failure(event: Outcome) -> bool:
    return isinstance(event, ImageFailed) and event.reason in ACCOUNT_FAILURES


async def _found_or_made(generation: Generation, request: ImageRequested) -> Outcome:
    try:
        record = await _ended_record(generation, request.image_id)
        if record is not None:
            log.info("image_found", image_id=str(request.image_id))  # made for an earlier delivery
            await generation.claims.forget(request.image_id)
            return record
        async with generation.holding(request.image_id) as claim:
            # Once more: whoever held the claim may have stored its outcome since.
            ended = claim.outcome or await _ended_record(generation, request.image_id)
            if ended is None:
                return await _make_and_keep(generation, request, claim)
            return await until_stored(request.image_id, lambda: _keep_outcome(generation, claim, ended))
    except PacingStopped:
        raise RetryLater("The generator is stopping.", counted=False) from None
    except ClaimHeld as error:
        raise RetryLater(str(error), counted=False) from error
    except StoreUnavailable as error:
        raise RetryLater(error.message, counted=False) from error


async def _ended_record(generation: Generation, image_id: UUID) -> Outcome | None:
    """The record of an outcome that is an end. An older generator stored the account's failures too: they go."""
    record = await record_of(generation.blobs, image_id)
    if record is None or not _is_account_failure(record):
        return record
    await generation.blobs.delete(record_key(image_id))
    return None


def _is_too_dear(generation: Generation, request: ImageRequested) -> bool:
    """Whether a picture costs more than the ledger reckons with. Both are told in millionths of a dollar."""
    return request.price_usd is not None and round(generation.dearest_usd * 1e6) > round(request.price_usd * 1e6)


def _price_exceeded(generation: Generation, request: ImageRequested) -> ImageFailed:
    """The failure of a picture that is not asked for."""
    here_usd = generation.dearest_usd
    detail = (
        f"A picture costs ${here_usd:g} here, and its campaign reckons with ${request.price_usd:g}. "
        "Set EVENSKIN_IMAGE_PRICE_USD alike for generator and labeler-api, or the provider, model, size and quality."
    )
    log.warning("image_failed", image_id=str(request.image_id), reason=FailureReason.PRICE_EXCEEDED, detail=detail)
    generation.metrics.image_ended(request.condition, FailureReason.PRICE_EXCEEDED, 0.0, 0)
    return _failed_event(request, ProviderFailed(detail, FailureReason.PRICE_EXCEEDED), Doubt())


async def _make_and_keep(generation: Generation, request: ImageRequested, claim: Holding) -> Outcome:
    # What an earlier generator may have paid comes first: once it is booked, the attempt has ended.
    if not claim.doubt.calls and _is_too_dear(generation, request):
        return _price_exceeded(generation, request)
    order = Order(
        request.image_id,
        request.condition,
        request.severity,
        request.subject,
        request.earlier_rejections,
        request.quality,
    )
    try:
        made = await _made_picture(generation, order, claim)
        generation.dearest_usd = max(generation.dearest_usd, made.picture.cost_usd)
        picture = marked(made.picture, request)
        generated = _generated_event(generation, request, made, picture)
    except ProviderFailed as error:
        log.warning("image_failed", image_id=str(request.image_id), reason=error.reason.value, detail=error.message)
        failed = _failed_event(request, error, claim.doubt)
        generation.metrics.image_ended(request.condition, error.reason, failed.cost_usd, failed.unknown_calls)
        if _is_account_failure(failed):
            return failed  # without a record: the image may be asked for again
        return await until_stored(request.image_id, lambda: _keep_outcome(generation, claim, failed))
    generation.metrics.image_ended(request.condition, "generated", generated.cost_usd, 0)

    async def keep() -> Outcome:
        data = await keep_picture(generation.blobs, generated.key, picture, generated.media_type)
        return await _keep_outcome(generation, claim, _generated_event(generation, request, made, data))

    kept = await until_stored(request.image_id, keep)
    log.info("image_generated", image_id=str(request.image_id), cost_usd=generated.cost_usd, calls=made.calls)
    return kept


async def _keep_outcome(generation: Generation, claim: Holding, outcome: Outcome) -> Outcome:
    """Settle the claim with an outcome, and store its record. Returns the outcome that stands.

    Raises ClaimHeld, StoreUnavailable.
    """
    if claim.outcome is None:
        await claim.settle(outcome)
    standing = await keep_record(generation.blobs, outcome)
    claim.close()
    return standing


async def _made_picture(generation: Generation, order: Order, claim: Holding) -> Made:
    """Have the provider make the picture, and observe how long it took, without the waiting between requests."""
    took_s = 0.0

    async def generate(order: Order) -> Picture:
        nonlocal took_s
        generation.metrics.request_began()
        began = time.monotonic()
        try:
            picture = await generation.provider.generate(order)
            generation.pacer.answered(refused=False)
            return picture
        except NotDone as error:
            generation.pacer.answered(refused=error.asks_to_wait)
            if error.reason is FailureReason.MODERATION_BLOCKED:
                severity = "" if order.severity is None else order.severity.label
                generation.metrics.prompt_refused(order.condition, severity, error.wording)
            raise
        finally:
            took_s += time.monotonic() - began

    try:
        return await picture_for(
            order,
            generation.provider,
            claim,
            price_usd=generation.dearest_usd,
            pause=generation.pacer.pause,
            generate=generate,
            patience_s=generation.patience_s,
        )
    finally:
        if took_s:
            generation.metrics.provider_took(took_s)


def _generated_event(generation: Generation, request: ImageRequested, made: Made, data: bytes) -> ImageGenerated:
    """The event of a picture whose stored bytes are `data`. Raises ProviderFailed where they are no usable picture."""
    picture = made.picture
    try:
        opened = open_checked(data)
    except ImageError as error:
        raise ProviderFailed(
            f"The provider's picture cannot be read: {error.message}",
            FailureReason.INVALID_RESPONSE,
            cost_usd=picture.cost_usd,
        ) from error
    if opened.format not in STORED:
        raise ProviderFailed(
            f"The provider's picture is {opened.format}, which the dataset does not keep.",
            FailureReason.INVALID_RESPONSE,
            cost_usd=picture.cost_usd,
        )
    extension = EXTENSIONS[opened.format]
    return ImageGenerated(
        campaign_id=request.campaign_id,
        slot_id=request.slot_id,
        attempt=request.attempt,
        image_id=request.image_id,
        key=f"images/{request.image_id}/original.{extension}",
        sha256=hashlib.sha256(data).hexdigest(),
        width=opened.width,
        height=opened.height,
        media_type=MEDIA_TYPES[opened.format],
        c2pa=bool(opened.parts.manifest),
        prompt=picture.prompt,
        prompts_sha256=picture.prompts_sha256,
        # A drawn face that comes back through a folder stays one: models must say so.
        provider=PROCEDURAL if opened.is_stand_in else generation.provider.name,
        model=picture.model,
        provider_request_id=picture.request_id,
        cost_usd=picture.cost_usd,
        quality={"provider_calls": float(made.calls)},
    )


def _failed_event(request: ImageRequested, error: ProviderFailed, doubt: Doubt) -> ImageFailed:
    return ImageFailed(
        campaign_id=request.campaign_id,
        slot_id=request.slot_id,
        attempt=request.attempt,
        image_id=request.image_id,
        reason=error.reason,
        detail=error.message,
        cost_usd=error.cost_usd + doubt.cost_usd,
        unknown_calls=doubt.calls,
    )


HANDLERS: dict[type[Event], Callable[[Generation, Message], Awaitable[None]]] = {
    ImageRequested: generate_image,
}
