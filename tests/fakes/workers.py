"""A generator and an augmenter for labeler-api's tests. They answer events at once, or as a test tells them."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from shared.blobs import Blobs
from shared.bus import Bus, Subscription
from shared.events import (
    Event,
    FailureReason,
    ImageAugmented,
    ImageFailed,
    ImageGenerated,
    ImageLabeled,
    ImageRequested,
    Variant,
    Verdict,
)
from shared.message import Message
from shared.taxonomy import derived_id
from tests.fakes.pictures import SIDE, png

Answer = bytes | FailureReason | None


def seed_of(image_id: UUID) -> int:
    """The seed of an image's picture: the same for every delivery."""
    return image_id.int % 2**32


@dataclass
class FakeGenerator:
    """Answers requests with noise pictures, or with what `answer` says: bytes, a failure, or nothing at all.

    `paid` counts the pictures made per image: a request that comes again finds the first one. `jitter_s` is
    the longest time an answer takes, so that answers overtake each other.
    """

    bus: Bus
    blobs: Blobs
    answer: Callable[[ImageRequested], Answer] = lambda request: png(seed_of(request.image_id))
    price_usd: float = 0.03
    failure_cost_usd: float = 0.0
    jitter_s: float = 0.0
    requests: list[ImageRequested] = field(default_factory=list)
    paid: Counter[UUID] = field(default_factory=Counter)

    async def start(self) -> None:
        """Listen from now on."""
        await self.bus.subscribe(Subscription("generator", ImageRequested, self._generate, retry_delay_s=0.02))

    async def _generate(self, message: Message) -> None:
        request = message.event
        assert isinstance(request, ImageRequested)
        await asyncio.sleep(random.uniform(0, self.jitter_s))
        answer = self.answer(request)
        self.requests.append(request)  # only now: whoever sees it may tell us to answer otherwise from now on
        if answer is None:
            return
        event = self.failed(request, answer) if isinstance(answer, FailureReason) else await self.made(request, answer)
        await self.bus.publish(
            message.caused(event, source="generator", id=str(derived_id(event.name(), request.image_id)))
        )

    def failed(self, request: ImageRequested, reason: FailureReason) -> Event:
        """The event of a provider that gave nothing."""
        return ImageFailed(
            campaign_id=request.campaign_id,
            slot_id=request.slot_id,
            attempt=request.attempt,
            image_id=request.image_id,
            reason=reason,
            detail="as the test asked",
            cost_usd=self.failure_cost_usd,
        )

    async def made(self, request: ImageRequested, data: bytes) -> Event:
        """Store the picture unless it is there. Returns the event that says so."""
        key = f"images/{request.image_id}/original.png"
        if await self.blobs.head(key) is None:
            self.paid[request.image_id] += 1
            await self.blobs.put(key, data)
        return ImageGenerated(
            campaign_id=request.campaign_id,
            slot_id=request.slot_id,
            attempt=request.attempt,
            image_id=request.image_id,
            key=key,
            sha256=hashlib.sha256(data).hexdigest(),
            width=SIDE,
            height=SIDE,
            media_type="image/png",
            prompt="a portrait",
            provider="fake",
            model="noise-1",
            cost_usd=self.price_usd,
        )


@dataclass
class FakeAugmenter:
    """Answers accepted images with one variant that need not exist; or with nothing, while `silent`, or for the ids in
    `silent_of`.

    `refuses`: whether an image cannot be augmented.
    """

    bus: Bus
    silent: bool = False
    silent_of: frozenset[str] = frozenset()
    jitter_s: float = 0.0
    refuses: Callable[[ImageLabeled], bool] = lambda event: False
    labeled: list[ImageLabeled] = field(default_factory=list)

    async def start(self) -> None:
        """Listen from now on."""
        await self.bus.subscribe(Subscription("augmenter", ImageLabeled, self._augment, retry_delay_s=0.02))

    async def _augment(self, message: Message) -> None:
        event = message.event
        assert isinstance(event, ImageLabeled)
        self.labeled.append(event)
        if self.silent or str(event.image_id) in self.silent_of or event.verdict is not Verdict.ACCEPTED:
            return
        await asyncio.sleep(random.uniform(0, self.jitter_s))
        variant = Variant(
            operation="hflip",
            key=f"images/{event.image_id}/hflip.png",
            sha256=hashlib.sha256(f"hflip {event.image_id}".encode()).hexdigest(),
            width=SIDE,
            height=SIDE,
        )
        augmented = ImageAugmented(image_id=event.image_id, variants=(variant,))
        if self.refuses(event):
            reason = "image_broken: The picture's data is damaged or cut off."
            augmented = ImageAugmented(image_id=event.image_id, variants=(), reason=reason)
        identity = str(derived_id(ImageAugmented.name(), event.image_id))
        await self.bus.publish(message.caused(augmented, source="augmenter", id=identity))
