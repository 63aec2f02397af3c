"""What the trainer does on an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from services.trainer.child import WorkerCrashed
from services.trainer.metrics import TrainerMetrics
from services.trainer.run import Run
from services.trainer.settings import TrainerSettings
from shared.blobs import Blobs
from shared.bus import Bus, RetryLater, Undeliverable
from shared.errors import (
    BusUnavailable,
    InvalidRequest,
    ParityFailed,
    StoreUnavailable,
    TrainingFailed,
    UnroutableEvent,
)
from shared.events import Event, ModelPromoted, ModelTrained, QuotaMet, TrainingProgressed
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

    A dataset or a network that cannot do goes to the dead letters at once; what another try may mend (a
    worker that was killed, a store that is down) comes again and goes on from its checkpoint.
    """
    event = message.event
    assert isinstance(event, QuotaMet)
    run = Run(trainer.blobs, trainer.settings, event)
    told: set[int] = set()

    async def tell(epoch: dict[str, Any]) -> None:
        trainer.metrics.epoch_ended(epoch)
        if await _tell_epoch(trainer, message, run, epoch):
            told.add(epoch["epoch"])

    try:
        card = await run.card()
        if card is None:
            log.info("training_started", run_id=run.id, images=event.images, dataset_version=event.dataset_version)
            with trainer.metrics.training():
                card = await run.train(tell)
            trainer.metrics.decided(promoted=card.config["gate"]["promoted"])
    except StoreUnavailable as error:
        raise RetryLater(f"{error.code}: {error}", counted=False) from error
    except WorkerCrashed:
        raise
    except (TrainingFailed, ParityFailed, InvalidRequest) as error:
        log.error("training_failed", run_id=run.id, code=error.code, error=error.message)
        raise Undeliverable(f"{error.code}: {error.message}") from error
    await _tell_end(trainer, message, run, card, told)


async def _tell_epoch(trainer: Trainer, message: Message, run: Run, epoch: dict[str, Any]) -> bool:
    """Say how an epoch went. Returns whether somebody heard it."""
    event = message.event
    assert isinstance(event, QuotaMet)
    progress = TrainingProgressed(run_id=run.id, campaign_id=event.campaign_id, **epoch)
    try:
        await _publish(trainer, message, progress, run.id, epoch["epoch"])
    except (UnroutableEvent, BusUnavailable) as error:  # news of an epoch is no reason to stop training
        log.warning("progress_not_published", run_id=run.id, error=str(error))
        return False
    return True


async def _tell_end(trainer: Trainer, message: Message, run: Run, card: ModelCard, told: set[int]) -> None:
    event = message.event
    assert isinstance(event, QuotaMet)
    was_told = await run.was_told()
    if not was_told:  # a trainer that was killed may have kept an epoch's checkpoint without telling of it
        for epoch in card.metrics["history"]:
            if epoch["epoch"] not in told:
                await _tell_epoch(trainer, message, run, epoch)
    # Told before: only repeat what is true still. An operator's rollback meanwhile stands.
    live = None if was_told else await run.promote(card)
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
    )
    await _publish(trainer, message, trained, run.id)
    if live is not None:
        promoted = ModelPromoted(**live.model_dump(include=set(ModelPromoted.model_fields)))
        try:
            await _publish(trainer, message, promoted, run.id)
        except UnroutableEvent as error:  # no model-server runs; its start reads models/live.json
            log.info("promotion_unheard", version=card.version, error=str(error))
    await run.finish()


async def _publish(trainer: Trainer, message: Message, event: Event, *what: object) -> None:
    """Publish with an id that follows from what it tells, so that a repetition is known as one."""
    told = str(derived_id(event.name(), *what))
    await trainer.bus.publish(message.caused(event, source=SOURCE, id=told))


HANDLERS: dict[type[Event], Callable[[Trainer, Message], Awaitable[None]]] = {
    QuotaMet: train_model,
}
