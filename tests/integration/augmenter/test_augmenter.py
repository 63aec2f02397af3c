"""The augmenter as a service: what it stores, what it says, and what becomes of what it cannot flip."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from PIL import Image

from services.augmenter.app import build
from services.augmenter.flips import flip_horizontally
from services.augmenter.settings import AugmenterSettings
from shared.bus import DeadLetter, Subscription
from shared.embedded.bus import InProcessBus
from shared.events import ImageAugmented, ImageLabeled, Verdict
from shared.message import Message
from shared.service import Service
from shared.taxonomy import Condition, Severity
from tests.eventually import LIMIT_S, eventually
from tests.fakes.blobs import FlakyBlobs
from tests.fakes.together import Together


def picture(kind: str = "PNG", *, orientation: int = 1) -> bytes:
    pixels = np.random.default_rng(3).integers(0, 255, (80, 96, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, exif=exif.tobytes())
    return buffer.getvalue()


def labeled(
    image_id: UUID | None = None, ending: str = "png", *, verdict: Verdict = Verdict.ACCEPTED
) -> tuple[Message, ImageLabeled]:
    image_id = image_id or uuid4()
    event = ImageLabeled(
        image_id=image_id,
        key=f"images/{image_id}/original.{ending}",
        verdict=verdict,
        labels={Condition.ACNE: Severity.MILD},
        reviewer="tests",
    )
    return Message(event, "labeler-api"), event


@dataclass
class Running:
    """A started augmenter. `said`: what it published, with the envelopes."""

    service: Service
    bus: InProcessBus
    blobs: FlakyBlobs
    said: list[Message] = field(default_factory=list)

    async def hear(self, message: Message) -> None:
        """The labeler-api's part: take note."""
        self.said.append(message)

    async def told(self, count: int) -> list[ImageAugmented]:
        """Wait until it has published so many events."""
        await eventually(lambda: len(self.said) >= count)
        return [message.event for message in self.said if isinstance(message.event, ImageAugmented)]

    def handled(self, outcome: str) -> float:
        """Deliveries that were handled."""
        labels = {"event": "ImageLabeled", "outcome": outcome}
        return self.service.registry.get_sample_value("evenskin_events_handled_total", labels) or 0.0

    async def buried(self) -> DeadLetter:
        """Wait for the one dead letter."""
        (letter,) = await eventually(lambda: self.bus.dead_letters("augmenter.ImageLabeled"), "A dead letter")
        assert isinstance(letter, DeadLetter)
        return letter


@contextlib.asynccontextmanager
async def running(tmp_path: Path, **changes: int) -> AsyncIterator[Running]:
    settings = AugmenterSettings.load(
        home=tmp_path, port=0, retry_delay_s=0.01, max_tries=3, flip_threads=2, amqp_url=None, **changes
    )
    bus, blobs = InProcessBus(), FlakyBlobs(tmp_path / "store")
    service = build(settings, bus=bus, blobs=blobs)
    started = Running(service, bus, blobs)
    await bus.start()
    await bus.subscribe(Subscription("labeler-api", ImageAugmented, started.hear))
    await service.start()
    try:
        yield started
    finally:
        await bus.drain(LIMIT_S)
        await service.stop()
        await bus.close()


@pytest.fixture
async def augmenter(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


@pytest.mark.parametrize(("kind", "ending"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
async def test_an_accepted_image_gets_its_mirrored_variant(augmenter: Running, kind: str, ending: str) -> None:
    message, event = labeled(ending=ending)
    await augmenter.blobs.put(event.key, picture(kind))
    await augmenter.bus.publish(message)
    (augmented,) = await augmenter.told(1)
    assert augmented.image_id == event.image_id
    (variant,) = augmented.variants
    assert (variant.operation, variant.key) == ("hflip", f"images/{event.image_id}/hflip.{ending}")
    stored = (await augmenter.blobs.get(variant.key)).data
    assert variant.sha256 == hashlib.sha256(stored).hexdigest()
    flipped = Image.open(io.BytesIO(stored))
    assert flipped.size == (variant.width, variant.height) == (96, 80)
    if kind == "PNG":
        source = np.asarray(Image.open(io.BytesIO(picture(kind))))
        assert np.array_equal(np.asarray(flipped), source[:, ::-1])
    assert augmenter.said[0].correlation_id == message.correlation_id


async def test_the_size_of_a_variant_is_the_one_it_is_displayed_in(augmenter: Running) -> None:
    message, event = labeled(ending="jpg")
    await augmenter.blobs.put(event.key, picture("JPEG", orientation=6))
    await augmenter.bus.publish(message)
    (augmented,) = await augmenter.told(1)
    assert (augmented.variants[0].width, augmented.variants[0].height) == (80, 96)


async def test_a_redelivery_says_the_same_under_the_same_id(tmp_path: Path) -> None:
    message, event = labeled()
    said = []
    for _ in range(2):  # also by another process
        async with running(tmp_path) as augmenter:
            await augmenter.blobs.put(event.key, picture())
            await augmenter.bus.publish(message)
            await augmenter.bus.publish(message)
            await augmenter.told(2)
            said += augmenter.said
    assert len({message.id for message in said}) == 1
    assert len({message.event.model_dump_json() for message in said}) == 1


async def test_two_images_are_two_happenings(augmenter: Running) -> None:
    for _ in range(2):
        message, event = labeled()
        await augmenter.blobs.put(event.key, picture())
        await augmenter.bus.publish(message)
    await augmenter.told(2)
    assert len({message.id for message in augmenter.said}) == 2


async def test_a_rejected_image_is_left_alone(augmenter: Running) -> None:
    message, event = labeled(verdict=Verdict.REJECTED)
    await augmenter.blobs.put(event.key, picture())
    await augmenter.bus.publish(message)
    await eventually(lambda: augmenter.handled("done") == 1)
    assert not augmenter.said
    assert [info.key async for info in augmenter.blobs.list("images/")] == [event.key]


async def test_a_picture_that_comes_late_is_waited_for(augmenter: Running) -> None:
    message, event = labeled()
    await augmenter.bus.publish(message)
    await eventually(lambda: augmenter.handled("retried") == 1)
    await augmenter.blobs.put(event.key, picture())
    assert len(await augmenter.told(1)) == 1


async def test_a_picture_that_never_comes_ends_as_a_dead_letter_from_where_it_can_be_replayed(
    augmenter: Running,
) -> None:
    message, event = labeled()
    await augmenter.bus.publish(message)
    letter = await augmenter.buried()
    assert letter.tries == 3
    assert event.key in letter.error
    assert not augmenter.said
    await augmenter.blobs.put(event.key, picture())
    assert await augmenter.bus.replay() == 1
    assert len(await augmenter.told(1)) == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture at all", picture()[:-200], picture("JPEG")[:40], picture("WEBP")[:60], picture("GIF")],
    ids=["empty", "text", "cut-png", "cut-jpeg", "cut-webp", "gif"],
)
async def test_what_cannot_be_flipped_is_told_at_once(augmenter: Running, data: bytes) -> None:
    message, event = labeled()
    await augmenter.blobs.put(event.key, data)
    await augmenter.bus.publish(message)
    (augmented,) = await augmenter.told(1)
    assert (augmented.image_id, augmented.variants) == (event.image_id, ())
    assert augmented.reason is not None
    assert augmented.reason.startswith(("image_empty: ", "image_unsupported: ", "image_broken: "))
    assert len(augmented.reason) <= 1000
    await eventually(lambda: augmenter.handled("done") == 1)
    assert not await augmenter.bus.dead_letters()
    assert [info.key async for info in augmenter.blobs.list("images/")] == [event.key]


async def test_what_only_decode_takes_is_flipped(augmenter: Running) -> None:
    message, event = labeled()
    await augmenter.blobs.put(event.key, picture()[:-12])  # a PNG without its end
    await augmenter.bus.publish(message)
    (augmented,) = await augmenter.told(1)
    assert augmented.reason is None
    stored = (await augmenter.blobs.get(augmented.variants[0].key)).data
    source = np.asarray(Image.open(io.BytesIO(picture())))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(stored))), source[:, ::-1])


async def test_a_variant_that_is_stored_stays_and_is_described_as_it_is(augmenter: Running) -> None:
    message, event = labeled(ending="jpg")
    await augmenter.blobs.put(event.key, picture("JPEG"))
    key = f"images/{event.image_id}/hflip.jpg"
    earlier = picture("JPEG", orientation=6)  # as another release wrote it
    await augmenter.blobs.put(key, earlier)
    for delivery in (1, 2):
        await augmenter.bus.publish(message)
        (variant,) = (await augmenter.told(delivery))[-1].variants
        assert (variant.key, variant.sha256) == (key, hashlib.sha256(earlier).hexdigest())
        assert (variant.width, variant.height) == (80, 96)
        assert (await augmenter.blobs.get(key)).data == earlier


async def test_large_pictures_are_flipped_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = Together()
    monkeypatch.setattr("services.augmenter.handlers.flip_horizontally", at_once.watching(flip_horizontally))
    async with running(tmp_path, decode_pixels=100 * 80) as augmenter:
        for _ in range(4):
            message, event = labeled()
            await augmenter.blobs.put(event.key, picture())
            await augmenter.bus.publish(message)
        await augmenter.told(4)
    assert (at_once.count, at_once.most) == (4, 1)


async def test_one_broken_picture_does_not_hold_up_the_others(augmenter: Running) -> None:
    for data in (b"broken", picture(), b"broken", picture()):
        message, event = labeled()
        await augmenter.blobs.put(event.key, data)
        await augmenter.bus.publish(message)
    assert sorted(len(augmented.variants) for augmented in await augmenter.told(4)) == [0, 0, 1, 1]


@pytest.mark.parametrize("trouble", ["down", "full"])
async def test_waiting_for_the_store_uses_up_no_try(augmenter: Running, trouble: str) -> None:
    message, event = labeled()
    await augmenter.blobs.put(event.key, picture())
    setattr(augmenter.blobs, trouble, True)
    await augmenter.bus.publish(message)
    await eventually(lambda: augmenter.handled("retried") >= 5)  # max_tries is 3
    assert not await augmenter.bus.dead_letters()
    assert not augmenter.said
    setattr(augmenter.blobs, trouble, False)
    assert len(await augmenter.told(1)) == 1


async def test_a_stop_ends_the_flips_at_work_first(tmp_path: Path) -> None:
    async with running(tmp_path) as augmenter:
        keys = []
        for _ in range(6):
            message, event = labeled()
            keys.append(f"images/{event.image_id}/hflip.png")
            await augmenter.blobs.put(event.key, picture())
            await augmenter.bus.publish(message)
        await eventually(lambda: augmenter.handled("done"))
    assert augmenter.handled("done") == sum(map(augmenter.blobs.holds, keys))
    assert augmenter.handled("retried") == 0
