"""What the trainer does on an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from services.trainer.metrics import TrainerMetrics
from services.trainer.retention import remove_old_models
from services.trainer.run import Run
from services.trainer.settings import TrainerSettings
from services.trainer.tracking import Tracking, trackers_of
from shared.blobs import Blobs
from shared.bus import Bus, RetryLater
from shared.errors import BusUnavailable, EvenskinError, StoreUnavailable, UnroutableEvent
from shared.events import (
    Event,
    ModelPromoted,
    ModelTrained,
    QuotaMet,
    TrainingFailed,
    TrainingFailure,
    TrainingProgressed,
)
from shared.message import Message
from shared.model_card import ModelCard
from shared.taxonomy import derived_id

log = structlog.get_logger(__name__)

SOURCE = "trainer"


@dataclass(frozen=True)
class Trainer:
    """What the handlers work with."""

    bus: Bus
    blobs: Blobs
    settings: TrainerSettings
    metrics: TrainerMetrics


async def train_model(trainer: Trainer, message: Message) -> None:
    """QuotaMet: train on the dataset's manifest, store the model, and promote it if the gate agrees.

    Where trying again is no use (a dataset that cannot be trained on, a model that fails its parity check, tries
    that are used up), TrainingFailed says so. Where another try may succeed (a killed worker, a store that is
    down), the message comes again and training goes on from its checkpoint.
    """
    event = message.event
    assert isinstance(event, QuotaMet)
    run = Run(trainer.blobs, trainer.settings, event)
    published: set[int] = set()
    try:
        outcome = await run.card() or await run.failure() or await _train(trainer, message, run, published)
    except StoreUnavailable as error:
        raise RetryLater(f"{error.code}: {error}", counted=False) from error
    if isinstance(outcome, TrainingFailed):
        await _publish(trainer, message, outcome, run.id)
    else:
        await _publish_model(trainer, message, run, outcome, published)


async def _train(trainer: Trainer, message: Message, run: Run, published: set[int]) -> ModelCard | TrainingFailed:
    """One try. Returns the model's card, or how the run was given up; adds to `published` the epochs told of.

    Raises what ended the try, where another one may succeed.
    """
    event = message.event
    assert isinstance(event, QuotaMet)

    tracking = Tracking(trackers_of(trainer.settings), run.id)

    async def epoch_ended(epoch: dict[str, Any]) -> None:
        trainer.metrics.epoch_ended(epoch)
        await tracking.epoch_ended(epoch)
        if await _publish_epoch(trainer, message, run, epoch):
            published.add(epoch["epoch"])

    log.info("training_started", run_id=run.id, images=event.images, dataset_version=event.dataset_version)
    await tracking.begin(_parameters(trainer.settings, event))
    try:
        with trainer.metrics.training():
            card = await run.train(epoch_ended)
    except EvenskinError as error:
        if error.retryable or error.code not in set(TrainingFailure):
            raise
        log.error("training_failed", run_id=run.id, code=error.code, error=error.message)
        await tracking.failed(f"{error.code}: {error.message}")
        return await run.give_up(TrainingFailure(error.code), f"{error.message} {error.advice}".strip())
    trainer.metrics.decided(promoted=card.config["gate"]["promoted"])
    await tracking.ended(card)
    return card


def _parameters(settings: TrainerSettings, event: QuotaMet) -> dict[str, Any]:
    """What a tracker notes of a run's beginning."""
    return {
        **settings.training.model_dump(mode="json"),
        "backbone": settings.backbone,
        "faces": settings.faces.value,
        "dataset_version": event.dataset_version,
        "images": event.images,
        "variants": event.variants,
        "campaign_id": event.campaign_id,
    }


async def _publish_epoch(trainer: Trainer, message: Message, run: Run, epoch: dict[str, Any]) -> bool:
    """Publish TrainingProgressed for one epoch. Returns whether the broker took it."""
    event = message.event
    assert isinstance(event, QuotaMet)
    progress = TrainingProgressed(run_id=run.id, campaign_id=event.campaign_id, **epoch)
    try:
        await _publish(trainer, message, progress, run.id, epoch["epoch"])
    except (UnroutableEvent, BusUnavailable) as error:  # news of an epoch is no reason to stop training
        log.warning("progress_not_published", run_id=run.id, error=str(error))
        return False
    return True


async def _publish_model(
    trainer: Trainer, message: Message, run: Run, card: ModelCard, published_epochs: set[int]
) -> None:
    """Promote the model if the gate agreed, publish ModelTrained and ModelPromoted, and end the run."""
    event = message.event
    assert isinstance(event, QuotaMet)
    was_finished = await run.is_finished()
    if not was_finished:  # a trainer that was killed may have kept an epoch's checkpoint without telling of it
        for epoch in card.metrics["history"]:
            if epoch["epoch"] not in published_epochs:
                await _publish_epoch(trainer, message, run, epoch)
    # A finished run promotes nothing again: an operator may have rolled back since.
    live = None if was_finished else await run.promote(card)
    trained = ModelTrained(
        run_id=run.id,
        campaign_id=event.campaign_id,
        dataset_version=card.dataset_version,
        version=card.version,
        key=card.key,
        sha256=card.sha256,
        metrics=card.metrics,
        comparison=card.comparison,
        promoted=card.config["gate"]["promoted"],
        reason=card.config["gate"]["reason"],
    )
    await _publish(trainer, message, trained, run.id)
    if live is not None:
        promoted = ModelPromoted(**live.model_dump(include=set(ModelPromoted.model_fields)))
        try:
            await _publish(trainer, message, promoted, run.id)
        except UnroutableEvent as error:  # no model-server runs; its start reads models/live.json
            log.info("promotion_unheard", version=card.version, error=str(error))
    await run.finish()
    await _remove_old_models(trainer)


async def _remove_old_models(trainer: Trainer) -> None:
    settings = trainer.settings
    try:
        await remove_old_models(trainer.blobs, newest=settings.models_kept, pinned=settings.pinned)
    except EvenskinError as error:  # the training is done all the same; the next one tries again
        log.warning("old_models_not_removed", code=error.code, error=error.message)


async def _publish(trainer: Trainer, message: Message, event: Event, *names: object) -> None:
    """Publish an event whose id follows from its type and `names`, so that consumers recognise a repetition."""
    event_id = str(derived_id(event.name(), *names))
    await trainer.bus.publish(message.caused(event, source=SOURCE, id=event_id))


HANDLERS: dict[type[Event], Callable[[Trainer, Message], Awaitable[None]]] = {
    QuotaMet: train_model,
}
