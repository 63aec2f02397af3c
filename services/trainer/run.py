"""One training run, from QuotaMet to a model in the store. Each step is safe to repeat.

Objects in the store mark the progress, so that any replica can go on: `training/<run>/checkpoint.pt` after
each epoch, `models/<version>/card.json` once the model is proved, `model.onnx` beside it, `training/<run>/done.json`
once its events are published; or `training/<run>/failed.json`, once it is known that there will be no model.
`training/<run>/tries.json` counts the tries since the last epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from services.trainer.contradictions import check_labels
from services.trainer.data import check_folds, fetch, read_manifest
from services.trainer.exhaustion import exhaustion
from services.trainer.leakage import check_files
from services.trainer.pixel_cache import PixelCache, View
from services.trainer.settings import TrainerSettings
from services.trainer.spec import (
    RunSpec,
    checkpoint_path,
    evaluation_path,
    fp32_path,
    model_path,
    preprocessing_for,
)
from services.trainer.tries import Tries
from services.trainer.worker_process import run_worker
from shared.blobs import Blobs
from shared.dataset_summary import DatasetSummary, summarise
from shared.errors import (
    BlobNotFound,
    DatasetUnreadable,
    EvenskinError,
    InvalidRequest,
    ModelInvalid,
    PreconditionFailed,
    StoreUnavailable,
    TriesUsedUp,
    first_error,
)
from shared.evaluation import evaluation_key
from shared.events import QuotaMet, TrainingFailed, TrainingFailure
from shared.faces import FaceSearch
from shared.live_model import make_live, read_live, read_pointer
from shared.manifest import ManifestImage
from shared.model_card import LeftOut, LiveModel, ModelCard, ModelMetadata, card_key, fp32_key, model_key
from shared.preprocessing import preprocessing_of
from shared.taxonomy import derived_id

log = structlog.get_logger(__name__)

INTENDED_USE = (
    "Sorting pictures of facial skin for a dataset. Not a medical device: it neither diagnoses nor advises treatment."
)
COMPARISONS = 3  # times a finished model is measured again because another one went live meanwhile


class Run:
    """The run that one QuotaMet asks for. Its id follows from campaign and dataset version alone."""

    def __init__(self, blobs: Blobs, settings: TrainerSettings, event: QuotaMet) -> None:
        digits = derived_id("training", event.campaign_id, event.dataset_version).hex[:12]
        self.id = f"run-{digits}"
        self.version = f"m-{digits}"
        self._blobs = blobs
        self._settings = settings
        self._event = event
        self._dir = settings.work / "runs" / self.id
        self._cache = settings.work / "decoded"
        self._tries = Tries(blobs, self._key("tries.json"))

    async def card(self) -> ModelCard | None:
        """The card of this run's model, or None where no earlier try came that far."""
        card = await self._stored_card()
        if card is not None and await self._blobs.head(card.key) is None and not await self.is_finished():
            await self._put_model(card)  # an earlier try died between its card and its model
        return card

    async def _stored_card(self) -> ModelCard | None:
        try:
            return ModelCard.model_validate_json((await self._blobs.get(card_key(self.version))).data)
        except BlobNotFound:
            return None

    async def failure(self) -> TrainingFailed | None:
        """How this run was given up, or None where it was not."""
        try:
            return TrainingFailed.model_validate_json((await self._blobs.get(self._key("failed.json"))).data)
        except BlobNotFound:
            return None

    async def give_up(self, reason: TrainingFailure, detail: str) -> TrainingFailed:
        """Note that there will be no model, and remove the checkpoint and the working files. The first reason stays."""
        failed = TrainingFailed(
            run_id=self.id,
            campaign_id=self._event.campaign_id,
            dataset_version=self._event.dataset_version,
            reason=reason,
            detail=detail,
        )
        data = failed.model_dump_json(indent=1).encode()
        try:
            await self._blobs.put(self._key("failed.json"), data, content_type="application/json", if_absent=True)
        except PreconditionFailed:
            failed = await self.failure() or failed
        await self._clean_up()
        return failed

    async def train(self, on_epoch: Any) -> ModelCard:
        """Fetch, train, prove, and store model and card: one try of the `max_tries` that may end without an epoch.

        Raises the errors of `TrainingFailure` where trying again is no use: DatasetTooSmall, DatasetUnreadable,
        FoldsLeak, ImagesUnreadable, LabelsContradict, LossNotFinite, ParityFailed, TriesUsedUp, WeightsUnusable.
        Raises StoreUnavailable, DiskFull, OutOfMemory, and whatever else ended the try, where another one may succeed.
        """
        most = self._settings.max_tries
        if await self._tries.begin() > most:
            raise TriesUsedUp(f"The trainer died in each of {most} tries.", advice="See its log, and train again.")
        try:
            return await self._train(on_epoch)
        except (StoreUnavailable, asyncio.CancelledError):
            await self._tries.take_back()
            raise
        except Exception as caught:
            named: EvenskinError | None = exhaustion(caught)
            if named is None and isinstance(caught, EvenskinError) and caught.code in set(TrainingFailure):
                named = caught
            if self._tries.number >= most and (named is None or named.retryable):
                raise TriesUsedUp(
                    f"Each of {most} tries ended without a model, the last one with: {named or caught}",
                    advice=named.advice if named else "See the trainer's log, and train again.",
                    because=named.code if named else TrainingFailure.CRASHED,
                ) from caught
            if named is None or named is caught:
                raise
            raise named from caught

    async def _train(self, on_epoch: Any) -> ModelCard:
        manifest, images = await self._manifest()
        check_folds(images)  # before anything is fetched
        check_labels(images)
        check_files(images)
        await asyncio.to_thread(self._dir.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread((self._dir / "manifest.jsonl").write_bytes, manifest)
        await self._restore_checkpoint()

        async def epoch_ended(epoch: dict[str, Any]) -> None:
            await self._upload_checkpoint()
            await self._tries.got_on()
            await on_epoch(epoch)

        for _ in range(COMPARISONS):
            live = await read_live(self._blobs)
            spec = await self._spec(images, live)
            result = await run_worker(spec, epoch_ended)
            now_live = await read_live(self._blobs)
            if _named(now_live) == _named(live):
                break
        return await self._store(result, spec, summarise(images))

    async def promote(self, card: ModelCard) -> LiveModel | None:
        """Make the model live if its gate agreed and the model it was compared with is still the live one.

        One that went live again meanwhile, by a rollback of this very model perhaps, is not the one compared with.
        Raises PreconditionFailed where another model goes live at the same moment.
        """
        gate = card.config["gate"]
        if not gate["promoted"]:
            return None
        pointer = await read_pointer(self._blobs)
        live = pointer.live
        if live is not None and live.version != card.version:
            compared = (gate["compared_with"], gate.get("compared_generation", live.generation))
            if _named(live) != compared:
                log.warning("promotion_dropped", version=card.version, live=live.version, generation=live.generation)
                return None
        return await make_live(
            self._blobs, version=card.version, sha256=card.sha256, reason=gate["reason"], replacing=pointer
        )

    async def is_finished(self) -> bool:
        """Whether the events of this run's end were published before."""
        return await self._blobs.head(self._key("done.json")) is not None

    async def finish(self) -> None:
        """Remove the checkpoint and the working files, and note that the events of the run's end are published."""
        await self._clean_up()
        await self._blobs.put(
            self._key("done.json"), json.dumps({"version": self.version}).encode(), content_type="application/json"
        )

    async def _clean_up(self) -> None:
        for name in ("checkpoint.pt", "tries.json"):
            await self._blobs.delete(self._key(name))
        async for staged in self._blobs.list(self._key("model-")):
            await self._blobs.delete(staged.key)
        await asyncio.to_thread(shutil.rmtree, self._dir, ignore_errors=True)

    async def _manifest(self) -> tuple[bytes, list[ManifestImage]]:
        key, advice = self._event.manifest_key, "Start a new rebalance: it writes a new manifest."
        try:
            manifest = (await self._blobs.get(key)).data
            return manifest, await asyncio.to_thread(read_manifest, manifest)
        except BlobNotFound as error:
            raise DatasetUnreadable(f"The manifest '{key}' is not in the store.", advice=advice) from error
        except InvalidRequest as error:
            raise DatasetUnreadable(f"The manifest '{key}' is none: {error.message}", advice=advice) from error

    async def _spec(self, images: list[ManifestImage], live: LiveModel | None) -> RunSpec:
        config, faces = self._settings.training, self._settings.faces
        views = [View(config.input_size, preprocessing_for(faces), faces is FaceSearch.ON)]
        live_path: Path | None = None
        if live is not None:
            with contextlib.suppress(BlobNotFound):  # a live model whose files are gone is not compared with
                card = ModelCard.model_validate_json((await self._blobs.get(card_key(live.version))).data)
                data = (await self._blobs.get(live.key)).data
                live_path = self._dir / "live.onnx"
                await asyncio.to_thread(live_path.write_bytes, data)
                with contextlib.suppress(ModelInvalid):  # nor is one that wants what this program does not know
                    wanted = preprocessing_of(card.metadata.preprocessing)
                    views.append(View(card.metadata.input_size, wanted, faces is FaceSearch.ON))
        encoded = self._dir / "encoded"
        try:
            unreadable = await fetch(self._blobs, images, encoded, [PixelCache(self._cache, view) for view in views])
        except* EvenskinError as errors:
            raise first_error(errors) from errors
        return RunSpec(
            run_id=self.id,
            version=self.version,
            dataset_version=self._event.dataset_version,
            manifest=self._dir / "manifest.jsonl",
            encoded=encoded,
            cache=self._cache,
            unreadable=unreadable,
            run_dir=self._dir,
            live=live_path,
            live_version=live.version if live else None,
            live_generation=live.generation if live else 0,
            backbone=self._settings.backbone,
            int8=self._settings.int8,
            faces=faces,
            config=config,
        )

    async def _store(self, result: dict[str, Any], spec: RunSpec, dataset: DatasetSummary) -> ModelCard:
        data = await asyncio.to_thread(model_path(self._dir).read_bytes)
        evaluation = await asyncio.to_thread(evaluation_path(self._dir).read_bytes)
        card = ModelCard(
            version=self.version,
            key=model_key(self.version),
            sha256=result["sha256"],
            run_id=self.id,
            campaign_id=str(self._event.campaign_id),
            dataset_version=self._event.dataset_version,
            created_at=datetime.now(UTC),
            metadata=ModelMetadata.model_validate(result["metadata"]),
            metrics=result["metrics"],
            comparison=result["comparison"],
            parity=result["parity"],
            config={
                **result["config"],
                "seconds": result["seconds"],
                "gate": {
                    "promoted": result["promoted"],
                    "verdict": result["verdict"],
                    "reason": result["reason"],
                    "compared_with": spec.live_version,
                    "compared_generation": spec.live_generation,
                },
            },
            intended_use=INTENDED_USE,
            left_out=tuple(LeftOut.model_validate(entry) for entry in result["left_out"]),
            dataset=dataset,
            evaluation=evaluation_key(self.version, evaluation),
        )
        assert card.evaluation is not None
        await self._put_once(card.evaluation, evaluation)
        if fp32_path(self._dir).exists():
            await self._put_once(fp32_key(self.version), await asyncio.to_thread(fp32_path(self._dir).read_bytes))
        await self._put_once(self._staged(card.sha256), data)
        try:
            await self._blobs.put(
                card_key(self.version),
                card.model_dump_json(indent=1).encode(),
                content_type="application/json",
                if_absent=True,
            )
        except PreconditionFailed:  # another replica was quicker: its card stands, and so does the model it describes
            card = await self._stored_card() or card
        await self._put_model(card)
        gate = card.config["gate"]
        log.info(
            "model_stored",
            run_id=self.id,
            version=self.version,
            promoted=gate["promoted"],
            verdict=gate["verdict"],
            reason=gate["reason"],
        )
        return card

    async def _put_model(self, card: ModelCard) -> None:
        """Put the model that the stored card describes beside it.

        Two replicas at one run make models that may differ in a bit, or in what was live when they were measured.
        Each lays its model aside under its hash; the card that is stored first decides which one it is.
        """
        data = (await self._blobs.get(self._staged(card.sha256))).data
        try:
            await self._blobs.put(card.key, data, if_absent=True)
        except PreconditionFailed:
            there = await self._blobs.get(card.key)
            if hashlib.sha256(there.data).hexdigest() != card.sha256:  # left by a try that described nothing
                with contextlib.suppress(PreconditionFailed):  # another replica mends it
                    await self._blobs.put(card.key, data, if_match=there.etag)

    async def _put_once(self, key: str, data: bytes) -> None:
        with contextlib.suppress(PreconditionFailed):  # the key is the content's: the same bytes are there
            await self._blobs.put(key, data, if_absent=True)

    def _staged(self, sha256: str) -> str:
        """Where a model waits for the card that decides; removed once the run is finished."""
        return self._key(f"model-{sha256}.onnx")

    async def _restore_checkpoint(self) -> None:
        path = checkpoint_path(self._dir)
        if path.exists():
            return
        try:
            data = (await self._blobs.get(self._key("checkpoint.pt"))).data
        except BlobNotFound:
            return
        partial = path.with_suffix(".fetched")
        await asyncio.to_thread(partial.write_bytes, data)
        os.replace(partial, path)
        log.info("training_resumed", run_id=self.id)

    async def _upload_checkpoint(self) -> None:
        data = await asyncio.to_thread(checkpoint_path(self._dir).read_bytes)
        try:
            await self._blobs.put(self._key("checkpoint.pt"), data)
        except StoreUnavailable as error:  # the local one is there; training need not wait for the store
            log.warning("checkpoint_not_stored", run_id=self.id, error=str(error))

    def _key(self, name: str) -> str:
        return f"training/{self.id}/{name}"


def _named(live: LiveModel | None) -> tuple[str | None, int]:
    """Which model is live, and since which change."""
    return (live.version, live.generation) if live else (None, 0)
