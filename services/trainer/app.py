"""Puts the trainer together. Torch is loaded by the worker process alone."""

from __future__ import annotations

from importlib.util import find_spec

import structlog

from services.trainer.handlers import HANDLERS, SOURCE, Trainer
from services.trainer.metrics import TrainerMetrics
from services.trainer.settings import TrainerSettings
from shared.adapters import open_blobs, open_bus
from shared.blobs import Blobs
from shared.bus import Bus
from shared.errors import ConfigurationError
from shared.faces import MODEL, FaceSearch
from shared.installed_models import installed_model
from shared.metrics import MetricRegistry
from shared.service import Service, subscribe_all

NAME = SOURCE

log = structlog.get_logger(__name__)


def build(settings: TrainerSettings, bus: Bus | None = None, blobs: Blobs | None = None) -> Service:
    """The service, not yet started. The settings choose the adapters that are not given.

    Logs `pretrained_model_unusable` where a pretrained network is absent or another one: every training would end with
    `weights_unusable`. Raises ConfigurationError where PyTorch is not installed, rather than at the first training.
    """
    if find_spec("torch") is None:
        raise ConfigurationError("PyTorch is not installed.", advice="Install evenskin[trainer].")
    _tell_what_is_missing(settings)
    bus = bus or open_bus(settings, service=NAME)
    blobs = blobs or open_blobs(settings)
    registry = MetricRegistry()
    trainer = Trainer(bus, blobs, settings, TrainerMetrics(registry))
    return Service(
        name=NAME,
        settings=settings,
        bus=bus,
        blobs=blobs,
        subscriptions=subscribe_all(
            NAME,
            HANDLERS,
            trainer,
            prefetch=1,  # one training takes all cores; other replicas take the next
            settings=settings,
        ),
        registry=registry,
    )


def _tell_what_is_missing(settings: TrainerSettings) -> None:
    needed: list[str] = [settings.backbone] if settings.backbone != "none" else []
    if settings.faces is FaceSearch.ON:
        needed.append(MODEL)
    for name in needed:
        try:
            installed_model(name)
        except ConfigurationError as error:
            log.warning("pretrained_model_unusable", model=name, error=error.message, advice=error.advice)
