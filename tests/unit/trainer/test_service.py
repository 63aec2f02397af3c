"""The service: from QuotaMet to a model that is live, and everything that may come between."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.trainer import run as run_module
from services.trainer.app import build
from services.trainer.export import metadata_of
from services.trainer.handlers import Trainer, train_model
from services.trainer.metrics import TrainerMetrics
from services.trainer.run import Run
from services.trainer.settings import TrainerSettings
from services.trainer.spec import RunSpec, checkpoint_path, evaluation_path, fp32_path, model_path
from services.trainer.tries import Tries
from services.trainer.worker_process import WorkerCrashed, run_worker
from shared.bus import Subscription
from shared.dataset_summary import summarise
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.errors import DatasetTooSmall, ParityFailed, StoreUnavailable
from shared.evaluation import Evaluation
from shared.events import (
    Event,
    ModelPromoted,
    ModelTrained,
    QuotaMet,
    TrainingFailed,
    TrainingFailure,
    TrainingProgressed,
)
from shared.faces import FaceSearch
from shared.live_model import make_live, read_live
from shared.manifest import dump_manifest
from shared.message import Message
from shared.metrics import MetricRegistry
from shared.model_card import LIVE_KEY, ModelCard, ModelMetadata, card_key, fp32_key, model_key
from shared.preprocessing import Preprocessing
from shared.taxonomy import Condition, Fold
from tests.eventually import LIMIT_S, LONG_LIMIT_S, eventually
from tests.unit.trainer.squares import TINY, Dataset, dataset_of

QUEUE = "trainer.QuotaMet"


@dataclass
class World:
    """A running trainer, its ports, and what it published."""

    bus: InProcessBus
    blobs: DirectoryBlobs
    settings: TrainerSettings
    heard: list[Message] = field(default_factory=list)

    def events(self, kind: type[Event]) -> list[Any]:
        return [message.event for message in self.heard if isinstance(message.event, kind)]

    async def quota_met(self, dataset: Dataset, campaign_id: UUID | None = None) -> QuotaMet:
        """Put a dataset in the store and return the event that announces it."""
        for key, data in dataset.files.items():
            await self.blobs.put(key, data)
        version = f"ds-{len(dataset.images)}"
        key = f"datasets/{version}/manifest.jsonl"
        await self.blobs.put(key, dump_manifest(dataset.images))
        return QuotaMet(
            campaign_id=campaign_id or uuid4(),
            dataset_version=version,
            manifest_key=key,
            counts={},
            images=len(dataset.images),
            variants=len(dataset.images),
        )

    async def until_told(self, times: int) -> None:
        await eventually(lambda: len(self.events(ModelTrained)) >= times, within_s=LONG_LIMIT_S)

    async def until_failed(self, times: int = 1) -> TrainingFailed:
        """Until a training was given up, which leaves no dead letter. Returns how the last one was."""
        await eventually(lambda: len(self.events(TrainingFailed)) >= times, within_s=LONG_LIMIT_S)
        assert await self.bus.dead_letters(QUEUE) == []
        failed: TrainingFailed = self.events(TrainingFailed)[-1]
        return failed

    async def until_done(self, event: QuotaMet, times: int = 1) -> None:
        """Until the handler is through `times` times: its last act is the note that it told everybody."""
        await self.until_told(times)
        await eventually(Run(self.blobs, self.settings, event).is_finished, within_s=LONG_LIMIT_S)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    settings = TrainerSettings(
        home=tmp_path / "home",
        port=0,
        training=TINY,
        backbone="none",
        faces=FaceSearch.OFF,
        retry_delay_s=0.05,
        max_tries=2,
    )
    world = World(InProcessBus(), DirectoryBlobs(tmp_path / "store"), settings)

    async def hear(message: Message) -> None:
        world.heard.append(message)

    await world.bus.start()
    for kind in (TrainingProgressed, TrainingFailed, ModelTrained, ModelPromoted):
        await world.bus.subscribe(Subscription("listener", kind, hear))
    service = build(settings, world.bus, world.blobs)
    await service.start()
    yield world
    await world.bus.drain(0)
    await service.stop()
    await world.bus.close()


def metadata(version: str) -> ModelMetadata:
    """What a model that exists in name alone says of itself."""
    return metadata_of(version, "ds", [], [0.5] * 7, 32, Preprocessing.MIDDLE_3)


@pytest.fixture
def quick_worker(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace the worker by one that answers at once. Returns what it says, to be changed, and its specs."""
    said: dict[str, Any] = {
        "model": b"a model",
        "promoted": True,
        "specs": [],
        "meanwhile": None,
        "history": [],
        "left_out": [],
    }

    async def answer(spec: RunSpec, on_epoch: Any) -> dict[str, Any]:
        said["specs"].append(spec)
        model, meanwhile = said["model"], said["meanwhile"]
        await asyncio.to_thread(model_path(spec.run_dir).write_bytes, model)
        await asyncio.to_thread(evaluation_path(spec.run_dir).write_bytes, b"{}")
        if meanwhile:
            said["meanwhile"] = None
            await meanwhile()
        return {
            "metadata": metadata(spec.version).model_dump(mode="json"),
            "sha256": hashlib.sha256(model).hexdigest(),
            "metrics": {"history": said["history"]},
            "comparison": None,
            "parity": {},
            "left_out": said["left_out"],
            "promoted": said["promoted"],
            "verdict": "not_worse",
            "reason": "because",
            "config": {},
            "seconds": {},
        }

    monkeypatch.setattr(run_module, "run_worker", answer)
    return said


async def other_live(world: World, version: str) -> None:
    """Another model, made some days ago, live."""
    live = await make_live(world.blobs, version=version, sha256="cd" * 32, reason="test")
    card = ModelCard(
        version=version,
        key=model_key(version),
        sha256="cd" * 32,
        run_id="r",
        campaign_id="c",
        dataset_version="ds",
        created_at=live.promoted_at - timedelta(days=2),
        metadata=metadata(version),
        metrics={},
        comparison=None,
        parity={},
        config={},
        intended_use="",
    )
    await world.blobs.put(card.key, b"another model")
    await world.blobs.put(card_key(version), card.model_dump_json().encode())


async def test_quota_met_ends_in_a_live_model(world: World, small: Dataset) -> None:
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api", correlation_id="the-campaign"))
    await world.until_done(event)
    epochs = world.events(TrainingProgressed)
    assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))
    (trained,) = world.events(ModelTrained)
    (promoted,) = world.events(ModelPromoted)
    assert trained.promoted
    assert {"test", "baseline", "history"} <= set(trained.metrics)
    assert promoted.version == trained.version
    live = await read_live(world.blobs)
    assert live is not None
    assert (live.version, live.sha256, live.previous) == (trained.version, trained.sha256, None)
    card = ModelCard.model_validate_json((await world.blobs.get(card_key(trained.version))).data)
    assert card.metadata.dataset_version == event.dataset_version
    manifest = (await world.blobs.get(event.manifest_key)).data
    assert card.metadata.manifest_sha256 == hashlib.sha256(manifest).hexdigest()
    assert card.dataset == summarise(small.images)
    assert trained.comparison is None
    assert trained.reason == live.reason == "No model was live, or none that could be opened."
    assert card.evaluation is not None
    evaluation = Evaluation.model_validate_json((await world.blobs.get(card.evaluation)).data)
    tested = {str(image.image_id) for image in small.images if image.fold is Fold.TEST}
    assert {picture.image_id for picture in evaluation.pictures} == tested
    assert (evaluation.version, evaluation.sha256) == (trained.version, trained.sha256)
    assert evaluation.overall.values["accuracy"] == pytest.approx(card.metrics["test"]["overall"]["accuracy"])
    assert [group.name for group in evaluation.groups] == ["imported"]
    assert len(evaluation.history) == len(epochs)
    assert evaluation.datasheet["train"].variants == evaluation.datasheet["train"].images > 0
    assert evaluation.compute.peak_memory_bytes > 10**7
    assert {message.correlation_id for message in world.heard} == {"the-campaign"}
    # What only a run under way needs is gone.
    assert await world.blobs.head(f"training/{trained.run_id}/checkpoint.pt") is None
    assert not any((world.settings.work / "runs").iterdir())


async def test_a_second_delivery_tells_again_and_trains_nothing(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    event = await world.quota_met(small)
    for times in (1, 2):
        await world.bus.publish(Message(event, "labeler-api"))
        await world.until_done(event, times)
    assert len(quick_worker["specs"]) == 1
    first, second = (message for message in world.heard if isinstance(message.event, ModelTrained))
    assert (first.id, first.event) == (second.id, second.event)


async def stored_model(world: World, run: Run) -> tuple[ModelCard, bytes]:
    """The card of a run's model and the bytes beside it, which must be those that it describes."""
    card = await run.card()
    assert card is not None
    data = (await world.blobs.get(card.key)).data
    assert hashlib.sha256(data).hexdigest() == card.sha256
    return card, data


async def test_two_trainers_on_one_run_store_one_model_and_describe_it_as_it_is(
    world: World, small: Dataset, quick_worker: dict[str, Any], tmp_path: Path
) -> None:
    event = await world.quota_met(small)
    elsewhere = world.settings.model_copy(update={"trainer_work_dir": tmp_path / "elsewhere"})
    first, second = (Run(world.blobs, settings, event) for settings in (world.settings, elsewhere))
    quick_worker["model"] = b"a model, as x86 computes it"

    async def first_is_quicker() -> None:
        quick_worker["model"] = b"a model, as Arm computes it"
        await first.train(nothing)

    quick_worker["meanwhile"] = first_is_quicker
    told = await second.train(nothing)
    card, data = await stored_model(world, second)
    assert told == card
    assert data == b"a model, as Arm computes it"
    await first.finish()
    await second.finish()
    await stored_model(world, first)
    assert [info.key async for info in world.blobs.list("training/")] == [f"training/{first.id}/done.json"]


async def test_a_trainer_that_dies_between_card_and_model_leaves_both_to_the_next(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    event = await world.quota_met(small)
    run = Run(world.blobs, world.settings, event)
    card = await run.train(nothing)
    await world.blobs.delete(card.key)  # as if it had died before
    quick_worker["model"] = b"another"
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    assert (await stored_model(world, run))[1] == b"a model"
    assert len(quick_worker["specs"]) == 1


async def test_a_model_that_no_card_describes_is_replaced(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    event = await world.quota_met(small)
    run = Run(world.blobs, world.settings, event)
    await world.blobs.put(model_key(run.version), b"left by a try that died before its card")
    await run.train(nothing)
    assert (await stored_model(world, run))[1] == b"a model"


async def test_a_model_that_was_removed_since_is_told_again_and_not_trained_again(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    (trained,) = world.events(ModelTrained)
    await world.blobs.delete(trained.key)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_told(2)
    await world.bus.drain(LIMIT_S)
    assert await world.bus.dead_letters(QUEUE) == []
    assert len(quick_worker["specs"]) == 1


async def test_a_training_removes_old_models_and_keeps_the_one_for_a_rollback(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    for version in ("m-older", "m-old"):
        await other_live(world, version)
    event = await world.quota_met(small)
    trainer = Trainer(
        world.bus, world.blobs, world.settings.model_copy(update={"models_kept": 1}), TrainerMetrics(MetricRegistry())
    )
    await train_model(trainer, Message(event, "labeler-api"))
    stored = {blob.key async for blob in world.blobs.list("models/m-")}
    (trained,) = (key for key in stored if "old" not in key and key.endswith("model.onnx"))
    card = ModelCard.model_validate_json((await world.blobs.get(trained.replace("model.onnx", "card.json"))).data)
    assert card.evaluation is not None
    assert stored == {
        trained,
        trained.replace("model.onnx", "card.json"),
        card.evaluation,
        model_key("m-old"),
        card_key("m-old"),
        card_key("m-older"),
    }


async def test_a_store_that_removes_nothing_ends_no_training(
    world: World, small: Dataset, quick_worker: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any, **__: Any) -> list[str]:
        raise StoreUnavailable("It is gone.")

    monkeypatch.setattr("services.trainer.handlers.remove_old_models", fails)
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    await world.bus.drain(LIMIT_S)
    assert await world.bus.dead_letters(QUEUE) == []


async def test_where_int8_is_served_fp32_is_kept_beside_it(
    world: World, small: Dataset, quick_worker: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = vars(run_module)["run_worker"]

    async def both(spec: RunSpec, on_epoch: Any) -> dict[str, Any]:
        await asyncio.to_thread(fp32_path(spec.run_dir).write_bytes, b"the same in FP32")
        result: dict[str, Any] = await quick(spec, on_epoch)
        return result

    monkeypatch.setattr(run_module, "run_worker", both)
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    (trained,) = world.events(ModelTrained)
    assert (await world.blobs.get(trained.key)).data == b"a model"
    assert (await world.blobs.get(fp32_key(trained.version))).data == b"the same in FP32"


async def test_a_tracker_that_fails_ends_no_training(
    world: World, small: Dataset, quick_worker: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def begin(self, run_id: str, parameters: dict[str, str]) -> None:
            asked.append((run_id, parameters["dataset_version"]))
            raise OSError("no such host")

    asked: list[tuple[str, str]] = []
    monkeypatch.setattr("services.trainer.handlers.trackers_of", lambda _: {"broken": Broken()})
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    assert asked == [(Run(world.blobs, world.settings, event).id, event.dataset_version)]


async def test_epochs_that_a_killed_trainer_left_untold_are_told_in_the_end(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    history: list[dict[str, Any]] = [
        {"epoch": n, "epochs": 2, "train_loss": 1 / n, "validation_loss": 1 / n, "metrics": {}} for n in (1, 2)
    ]
    quick_worker["history"] = history  # as of a run whose last checkpoint was written just before the kill
    event = await world.quota_met(small)
    for times in (1, 2):
        await world.bus.publish(Message(event, "labeler-api"))
        await world.until_done(event, times)
    assert [told.epoch for told in world.events(TrainingProgressed)] == [1, 2]
    assert [told.train_loss for told in world.events(TrainingProgressed)] == [1, 1 / 2]


async def test_a_second_delivery_does_not_undo_a_rollback(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    await other_live(world, "m-old")
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    await make_live(world.blobs, version="m-old", sha256="cd" * 32, reason="rollback")
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_told(2)
    await world.bus.drain(LIMIT_S)
    live = await read_live(world.blobs)
    assert live is not None
    assert live.version == "m-old"


async def test_a_trainer_killed_after_its_promotion_does_not_undo_a_rollback(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    await other_live(world, "m-old")
    event = await world.quota_met(small)
    run = Run(world.blobs, world.settings, event)
    card = await run.train(nothing)
    assert await run.promote(card) is not None
    # Here it is killed. The model that it was compared with goes live again, and its message comes again.
    await make_live(world.blobs, version="m-old", sha256="cd" * 32, reason="rollback")
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    live = await read_live(world.blobs)
    assert live is not None
    assert (live.version, live.generation) == ("m-old", 3)


async def test_a_model_goes_live_where_the_live_one_is_of_an_older_program(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    await other_live(world, "m-old")
    old = await read_live(world.blobs)
    assert old is not None
    await world.blobs.put(LIVE_KEY, old.model_dump_json(exclude={"generation"}).encode())
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    (promoted,) = world.events(ModelPromoted)
    assert promoted.generation == 1


async def test_a_model_that_the_gate_refuses_is_kept_and_not_promoted(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    await other_live(world, "m-old")
    quick_worker["promoted"] = False
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    (trained,) = world.events(ModelTrained)
    assert not trained.promoted
    assert not world.events(ModelPromoted)
    assert await world.blobs.head(card_key(trained.version))
    live = await read_live(world.blobs)
    assert live is not None
    assert live.version == "m-old"


async def test_a_model_that_went_live_meanwhile_is_compared_with(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    await other_live(world, "m-old")
    quick_worker["meanwhile"] = lambda: other_live(world, "m-newer")
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    assert [spec.live_version for spec in quick_worker["specs"]] == ["m-old", "m-newer"]
    live = await read_live(world.blobs)
    assert live is not None
    assert live.previous == "m-newer"


async def test_a_dataset_that_is_too_small_is_given_up_and_the_service_lives(
    world: World, small: Dataset, quick_worker: dict[str, Any]
) -> None:
    tiny = await world.quota_met(dataset_of(1, [Condition.ACNE]))
    await world.bus.publish(Message(tiny, "labeler-api", correlation_id="the-campaign"))
    failed = await world.until_failed()
    assert (failed.reason, failed.campaign_id) == (TrainingFailure.DATASET_TOO_SMALL, tiny.campaign_id)
    assert (failed.run_id, failed.dataset_version) == (
        Run(world.blobs, world.settings, tiny).id,
        tiny.dataset_version,
    )
    assert "fold has" in failed.detail
    assert "Import or generate more images" in failed.detail
    assert [message.correlation_id for message in world.heard] == ["the-campaign"]
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)


async def test_a_training_that_was_given_up_is_told_again_and_not_begun_again(
    world: World, small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    async def differ(spec: RunSpec, on_epoch: Any) -> dict[str, Any]:
        begun.append(spec.run_id)
        raise ParityFailed("ONNX Runtime and PyTorch differ.")

    monkeypatch.setattr(run_module, "run_worker", differ)
    event = await world.quota_met(small)
    for times in (1, 2):
        await world.bus.publish(Message(event, "labeler-api"))
        failed = await world.until_failed(times)
    assert failed.reason is TrainingFailure.PARITY_FAILED
    first, second = (message for message in world.heard if isinstance(message.event, TrainingFailed))
    assert (first.id, first.event) == (second.id, second.event)
    assert len(begun) == 1
    assert not any((world.settings.work / "runs").iterdir())
    again = await world.quota_met(small)  # the same dataset for another campaign
    await world.bus.publish(Message(again, "labeler-api"))
    assert (await world.until_failed(3)).campaign_id == again.campaign_id
    assert len(set(begun)) == 2


async def test_one_image_that_cannot_be_read_costs_that_image_and_not_the_run(world: World, small: Dataset) -> None:
    event = await world.quota_met(small)
    lost = small.images[2]
    await world.blobs.put(lost.key, b"damaged")
    await world.bus.publish(Message(event, "labeler-api"))
    await world.until_done(event)
    (trained,) = world.events(ModelTrained)
    card = ModelCard.model_validate_json((await world.blobs.get(card_key(trained.version))).data)
    (left_out,) = card.left_out
    assert (left_out.image_id, left_out.key) == (str(lost.image_id), lost.key)
    assert "not the one that the manifest names" in left_out.reason
    assert sum(card.metadata.providers.values()) <= len(small.images) - 1


async def test_images_that_cannot_be_read_end_the_run_where_they_are_many(world: World, small: Dataset) -> None:
    event = await world.quota_met(small)
    for image in small.images[:2]:
        await world.blobs.delete(image.key)
    await world.bus.publish(Message(event, "labeler-api"))
    failed = await world.until_failed()
    assert failed.reason is TrainingFailure.IMAGES_UNREADABLE
    assert any(str(image.image_id) in failed.detail for image in small.images[:2])


async def test_a_manifest_whose_test_fold_is_trained_on_ends_the_run(world: World, small: Dataset) -> None:
    trained, tested = (next(image for image in small.images if image.fold is fold) for fold in (Fold.TRAIN, Fold.TEST))
    leaking = Dataset([image for image in small.images if image is not tested], small.files)
    leaking.images.append(tested.model_copy(update={"root_id": trained.root_id}))
    event = await world.quota_met(leaking)
    await world.bus.publish(Message(event, "labeler-api"))
    (failed,) = await eventually(lambda: world.events(TrainingFailed))
    assert failed.reason is TrainingFailure.FOLDS_LEAK
    assert str(trained.root_id) in failed.detail


@pytest.mark.parametrize("manifest", [None, b"no manifest"])
async def test_a_manifest_that_is_missing_or_none_is_a_clear_error(world: World, manifest: bytes | None) -> None:
    if manifest is not None:
        await world.blobs.put("datasets/ds-0/manifest.jsonl", manifest)
    event = QuotaMet(
        campaign_id=uuid4(), dataset_version="ds-0", manifest_key="datasets/ds-0/manifest.jsonl", counts={},
        images=0, variants=0,
    )  # fmt: skip
    await world.bus.publish(Message(event, "labeler-api"))
    failed = await world.until_failed()
    assert failed.reason is TrainingFailure.DATASET_UNREADABLE
    assert "datasets/ds-0/manifest.jsonl" in failed.detail


async def test_a_run_goes_on_at_another_replica_from_the_store(world: World, small: Dataset, tmp_path: Path) -> None:
    event = await world.quota_met(small)
    epochs: list[int] = []

    async def die(epoch: dict[str, Any]) -> None:
        epochs.append(epoch["epoch"])
        raise ConnectionResetError

    elsewhere = world.settings.model_copy(update={"trainer_work_dir": tmp_path / "elsewhere"})
    for settings in (world.settings, elsewhere):
        with pytest.raises(ConnectionResetError):
            await Run(world.blobs, settings, event).train(die)
    assert epochs[0] == 1
    assert epochs[1] > 1


def script(path: Path, text: str) -> str:
    """An executable that stands for Python."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def nothing(epoch: dict[str, Any]) -> None:
    """Nobody listens."""


async def test_a_worker_that_crashes_is_told_by_its_last_line(
    world: World, small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", script(tmp_path / "python", "echo one >&2; echo 'no memory' >&2; exit 9"))
    with pytest.raises(WorkerCrashed, match=r"status 9: no memory"):
        await run_worker(small.spec(tmp_path), nothing)
    event = await world.quota_met(small)
    await world.bus.publish(Message(event, "labeler-api"))
    failed = await world.until_failed()
    assert failed.reason is TrainingFailure.CRASHED
    assert "Each of 2 tries" in failed.detail
    assert "no memory" in failed.detail


async def test_a_run_in_which_the_whole_trainer_dies_ends_too(world: World, small: Dataset) -> None:
    event = await world.quota_met(small)
    run = Run(world.blobs, world.settings, event)
    for _ in range(2):  # as if the machine had died in each
        await Tries(world.blobs, f"training/{run.id}/tries.json").begin()
    await world.bus.publish(Message(event, "labeler-api"))
    failed = await world.until_failed()
    assert failed.reason is TrainingFailure.CRASHED
    assert "died in each of 2 tries" in failed.detail


async def test_tries_that_get_on_are_not_used_up(world: World, small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    async def one_epoch_more(spec: RunSpec, on_epoch: Any) -> dict[str, Any]:
        checkpoint_path(spec.run_dir).write_bytes(b"a checkpoint")
        await on_epoch({"epoch": 1})
        raise WorkerCrashed("no memory")

    monkeypatch.setattr(run_module, "run_worker", one_epoch_more)
    run = Run(world.blobs, world.settings, await world.quota_met(small))
    for _ in range(4):
        with pytest.raises(WorkerCrashed):
            await run.train(nothing)


@pytest.mark.parametrize("ended", [StoreUnavailable("The store is down."), asyncio.CancelledError()])
async def test_tries_that_were_ended_from_outside_are_not_used_up(
    world: World, small: Dataset, monkeypatch: pytest.MonkeyPatch, ended: BaseException
) -> None:
    async def end(spec: RunSpec, on_epoch: Any) -> dict[str, Any]:
        raise ended

    monkeypatch.setattr(run_module, "run_worker", end)
    run = Run(world.blobs, world.settings, await world.quota_met(small))
    for _ in range(4):
        with pytest.raises(type(ended)):
            await run.train(nothing)


async def test_what_a_library_prints_is_no_message(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = '{"failed": "dataset_too_small", "message": "too small", "advice": ""}'
    monkeypatch.setattr(sys, "executable", script(tmp_path / "python", f"echo hello; echo 7; echo '{said}'; exit 3"))
    with pytest.raises(DatasetTooSmall, match="too small"):
        await run_worker(small.spec(tmp_path), nothing)


async def test_a_cancelled_run_ends_its_worker(small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "pid"
    monkeypatch.setattr(sys, "executable", script(tmp_path / "python", f"echo $$ > {pid_file}; exec sleep 600"))
    task = asyncio.create_task(run_worker(small.spec(tmp_path), nothing))
    await eventually(lambda: pid_file.exists() and bool(pid_file.read_text().strip()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_the_service_loads_no_torch() -> None:
    program = "import sys, services.trainer.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
