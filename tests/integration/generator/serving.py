"""A generator on embedded adapters, with somebody who hears what it says."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from PIL import Image

from services.generator.app import build
from services.generator.openai_provider import OpenAIProvider
from services.generator.provider import Provider
from services.generator.settings import GeneratorSettings
from shared.blobs import Blobs
from shared.bus import Subscription
from shared.embedded.bus import InProcessBus
from shared.events import Event, ImageFailed, ImageGenerated, ImageRequested, Subject
from shared.message import Message
from shared.service import Service
from shared.taxonomy import AgeBand, Condition, Light, Severity, Sex, View, generated_image_id
from tests.eventually import LIMIT_S, eventually
from tests.fakes.openai_server import KEY, OpenAIServer

PRICE = 0.03
SUBJECT = Subject(age_band=AgeBand.ADULT, skin_tone=4, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=View.FRONTAL)


@cache
def png(kind: str = "PNG") -> bytes:
    """A small picture."""
    noise = np.random.default_rng(7).integers(0, 255, (80, 72, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def requested(
    slot_id: UUID | None = None, attempt: int = 1, *, price_usd: float | None = PRICE, quality: str | None = None
) -> Message:
    """A request for one image, as the labeler-api sends it."""
    slot_id = slot_id or uuid4()
    return Message(
        ImageRequested(
            campaign_id=uuid4(),
            slot_id=slot_id,
            attempt=attempt,
            image_id=generated_image_id(slot_id, attempt),
            condition=Condition.REDNESS,
            severity=Severity.MODERATE,
            subject=SUBJECT,
            price_usd=price_usd,
            quality=quality,
        ),
        "labeler-api",
    )


def image_id_of(message: Message) -> UUID:
    """The image that a request is about."""
    assert isinstance(message.event, ImageRequested)
    return message.event.image_id


@dataclass
class Running:
    """A started generator. `said`: what it published, with the envelopes."""

    service: Service
    bus: InProcessBus
    blobs: Blobs
    said: list[Message] = field(default_factory=list)

    async def hear(self, message: Message) -> None:
        """The labeler-api's part: take note."""
        self.said.append(message)

    def events(self) -> list[Event]:
        """What it published."""
        return [message.event for message in self.said]

    async def answers(self, count: int) -> list[Event]:
        """Wait until it has published so many events."""
        await eventually(lambda: len(self.said) >= count)
        return self.events()

    def handled(self, outcome: str = "done") -> float:
        """Deliveries that were handled."""
        return self.metric("evenskin_events_handled_total", event="ImageRequested", outcome=outcome)

    def metric(self, name: str, **labels: str) -> float:
        """A sample of the service's registry; 0 where there is none."""
        return self.service.registry.get_sample_value(name, labels) or 0.0


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path,
    blobs: Blobs,
    provider: Provider,
    *,
    max_tries: int = 3,
    drain_s: float = LIMIT_S,
    bus: InProcessBus | None = None,
    **more: Any,
) -> AsyncIterator[Running]:
    """A generator until the context is left, then drained and stopped as on SIGTERM. `bus`: absent, one of its own.

    `more`: further settings.
    """
    settings = GeneratorSettings.load(
        home=tmp_path, port=0, retry_delay_s=0.01, max_tries=max_tries, drain_s=drain_s, amqp_url=None, **more
    )
    bus = bus or InProcessBus()
    service = build(settings, bus=bus, blobs=blobs, provider=provider)
    started = Running(service, bus, blobs)
    await bus.start()
    for event in (ImageGenerated, ImageFailed):
        await bus.subscribe(Subscription("labeler-api", event, started.hear))
    await service.start()
    try:
        yield started
    finally:
        await service.drain()
        await service.stop()
        await bus.close()


def provider_for(
    server: OpenAIServer,
    *,
    key: str = KEY,
    images_per_minute: float = 60_000,
    timeout_s: float = LIMIT_S,
    first_wait_s: float = 0.001,
    model: str = "gpt-image-2",
    **more: Any,
) -> OpenAIProvider:
    """The provider under test, hardly waiting between its tries."""
    return OpenAIProvider(
        api_key=key,
        base_url=server.url,
        model=model,
        size="1024x1024",
        price_usd=PRICE,
        images_per_minute=images_per_minute,
        concurrency=8,
        first_wait_s=first_wait_s,
        timeout_s=timeout_s,
        **more,
    )
