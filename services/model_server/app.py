"""Puts the model-server together. Only this module chooses adapters."""

from __future__ import annotations

from functools import partial

from services.model_server.handlers import HANDLERS
from services.model_server.http_api import UNLOGGED_ROUTES, HttpApi
from services.model_server.metrics import ServerMetrics
from services.model_server.models import ModelHolder
from services.model_server.pool import PredictionPool
from services.model_server.portrait_policy import PortraitPolicy
from services.model_server.prediction import Pictures
from services.model_server.settings import ModelServerSettings
from services.model_server.shadow import Shadow, ShadowMetrics
from shared.adapters import open_blobs, open_bus
from shared.blobs import Blobs
from shared.bus import Bus, Subscription
from shared.errors import NoModel
from shared.faces import detector_from
from shared.metrics import MetricRegistry
from shared.service import Service

NAME = "model-server"


class ModelServer(Service):
    """A service that is ready while it has a model, whether or not broker and store answer."""

    async def check(self) -> None:
        """Raise while no model is served: the error of the bus or store that keeps it from loading, else NoModel."""
        assert self.ready is not None
        try:
            await self.ready()
        except NoModel:
            await super().check()


def build(settings: ModelServerSettings, bus: Bus | None = None, blobs: Blobs | None = None) -> ModelServer:
    """The service, not yet started. The settings choose the adapters that are not given.

    Raises ConfigurationError where the face detector's file is missing, or the settings do not go together.
    """
    policy = PortraitPolicy(settings.face_policy, settings.multiple_faces)
    policy.check(settings.faces)
    pictures = Pictures(
        detector=detector_from(settings.faces),
        policy=policy,
        max_bytes=settings.max_image_bytes,
        max_pixels=settings.max_image_pixels,
        heatmap_max_side=settings.heatmap_max_side,
    )
    bus = bus or open_bus(settings, service=NAME)
    blobs = blobs or open_blobs(settings)
    registry = MetricRegistry()
    metrics = ServerMetrics(registry)
    models = ModelHolder(blobs, metrics, threads=settings.predict_threads, poll_s=settings.model_poll_s)
    pool = PredictionPool(
        metrics,
        workers=settings.predict_workers,
        queue=settings.predict_queue,
        decode_pixels=settings.decode_pixels,
    )
    shadow = Shadow(
        blobs,
        ShadowMetrics(registry),
        version=settings.shadow_model,
        threads=settings.predict_threads,
        poll_s=settings.model_poll_s,
    )
    api = HttpApi(models, pool, metrics, settings, pictures, shadow)
    return ModelServer(
        name=NAME,
        settings=settings,
        bus=bus,
        blobs=blobs,
        subscriptions=[
            # Every replica serves the new model; what one misses, its poll finds.
            Subscription(NAME, event, partial(handler, models), prefetch=1, every_replica=True)
            for event, handler in HANDLERS.items()
        ],
        loops={"watch_live_model": models.watch, "load_shadow_model": shadow.load},
        configure_http=api.configure,
        resources=[pool, models],
        ready=models.check,
        max_request_bytes=settings.max_image_bytes,
        registry=registry,
        unlogged_routes=UNLOGGED_ROUTES,
        ends_abandoned_requests=True,
    )
