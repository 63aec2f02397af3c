"""Puts the augmenter together. Only this module chooses adapters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import structlog

from services.augmenter import jpeg
from services.augmenter.handlers import HANDLERS, SOURCE, Augmentation
from services.augmenter.metrics import AugmenterMetrics
from services.augmenter.settings import AugmenterSettings
from shared.adapters import open_blobs, open_bus
from shared.admission import PixelAdmission
from shared.blobs import Blobs
from shared.bus import Bus
from shared.metrics import MetricRegistry
from shared.service import Service, subscribe_all

log = structlog.get_logger(__name__)


def build(settings: AugmenterSettings, *, bus: Bus | None = None, blobs: Blobs | None = None) -> Service:
    """The service, not yet started. The settings choose the adapters that are not given."""
    bus = bus or open_bus(settings, service=SOURCE)
    blobs = blobs or open_blobs(settings)
    pool = ThreadPoolExecutor(settings.flip_threads, thread_name_prefix="flip")
    registry, jpeg_way = MetricRegistry(), jpeg.best_way()
    metrics = AugmenterMetrics(registry, jpeg_way)
    augmentation = Augmentation(bus, blobs, pool, PixelAdmission(settings.decode_pixels), metrics)

    @contextlib.asynccontextmanager
    async def pool_open() -> AsyncIterator[None]:
        log.info("jpeg_flips", way=jpeg_way, lossless=jpeg_way is not jpeg.Way.REENCODING)
        try:
            yield
        finally:
            await asyncio.to_thread(pool.shutdown)

    return Service(
        name=SOURCE,
        settings=settings,
        bus=bus,
        blobs=blobs,
        subscriptions=subscribe_all(
            SOURCE,
            HANDLERS,
            augmentation,
            prefetch=2 * settings.flip_threads,  # one image waits in memory for each that is flipped
            settings=settings,
        ),
        resources=[pool_open()],
        registry=registry,
    )
