"""Tells TensorBoard and MLflow of a training, where the settings name them. None waits long or fails for them."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from services.trainer.settings import TrainerSettings
from shared.model_card import ModelCard

log = structlog.get_logger(__name__)

PATIENCE_S = 20.0  # for one call: a tracker that takes longer is told nothing more of the run
RUN_TAG = "evenskin.run_id"
MAX_PARAMETER = 500  # characters of a value that MLflow keeps, also in its older versions
EXTRA = "Install evenskin[tracking]."
_OF_CONDITIONS = ("balanced_accuracy", "recall", "specificity", "f1", "auc")


class Tracker(Protocol):
    """Where a run is written down. Calls block, and raise whatever goes wrong."""

    def begin(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Open a run; one that is there already, of an earlier try, goes on."""
        ...

    def measured(self, step: int, figures: Mapping[str, float]) -> None:
        """Note figures by name, at an epoch."""
        ...

    def end(self, tags: Mapping[str, str], *, succeeded: bool) -> None:
        """Note what came of the run, and close it."""
        ...


class TensorBoard:
    """Event files in a directory of the run's name. Written without PyTorch, which the service does not load."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer: Any = None

    def begin(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Open another event file of the run: TensorBoard shows all of them as one."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(self._directory / run_id))
        self._text("parameters", "\n".join(f"    {name}: {value}" for name, value in parameters.items()))

    def measured(self, step: int, figures: Mapping[str, float]) -> None:
        """Write scalars."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write([Summary.Value(tag=name, simple_value=value) for name, value in figures.items()], step)

    def end(self, tags: Mapping[str, str], *, succeeded: bool) -> None:
        """Write the tags as text, and close the file."""
        self._text("end", "\n".join(f"    {name}: {value}" for name, value in tags.items()))
        self._writer.close()

    def _text(self, tag: str, text: str) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        self._write([Summary.Value(tag=f"{tag}/text_summary", metadata=plugin, tensor=tensor)], 0)

    def _write(self, values: list[Any], step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()


class MLflow:
    """A run of an MLflow server, found again by its tag."""

    def __init__(self, uri: str, experiment: str) -> None:
        self._uri, self._experiment = uri, experiment
        self._client: Any = None
        self._run: str | None = None

    def begin(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Open the run of this id in the experiment, which is made if need be."""
        # Its own patience is minutes; and it tells its makers of each use, unless it is told not to.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient(tracking_uri=self._uri)
        known = self._client.get_experiment_by_name(self._experiment)
        experiment = known.experiment_id if known else self._client.create_experiment(self._experiment)
        found = self._client.search_runs([experiment], filter_string=f"tags.`{RUN_TAG}` = '{run_id}'", max_results=1)
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        self._run = self._client.create_run(experiment, run_name=run_id, tags={RUN_TAG: run_id}).info.run_id
        told = [Param(name, value[:MAX_PARAMETER]) for name, value in parameters.items()]
        self._client.log_batch(self._run, params=told)

    def measured(self, step: int, figures: Mapping[str, float]) -> None:
        """Log metrics."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run, metrics=[Metric(name, value, now, step) for name, value in figures.items()])

    def end(self, tags: Mapping[str, str], *, succeeded: bool) -> None:
        """Set tags, and end the run."""
        for name, value in tags.items():
            self._client.set_tag(self._run, name, value)
        self._client.set_terminated(self._run, status="FINISHED" if succeeded else "FAILED")


class Tracking:
    """All trackers of one run. None of its calls raises: a tracker that fails is told nothing more, and logged once."""

    def __init__(self, trackers: Mapping[str, Tracker], run_id: str) -> None:
        self._trackers, self._run_id = dict(trackers), run_id

    async def begin(self, parameters: Mapping[str, Any]) -> None:
        """A try of the run begins."""
        told = {name: str(value) for name, value in parameters.items()}
        await self._tell(lambda tracker: tracker.begin(self._run_id, told))

    async def epoch_ended(self, epoch: Mapping[str, Any]) -> None:
        """`epoch`: as the worker reports it."""
        figures = dict(_numbers({key: epoch[key] for key in ("train_loss", "validation_loss")}))
        figures |= dict(_numbers(epoch.get("metrics", {})))
        await self._tell(lambda tracker: tracker.measured(epoch["epoch"], figures))

    async def ended(self, card: ModelCard) -> None:
        """The run made a model."""
        gate, figures = card.config["gate"], dict(_test_figures(card))
        step = int(card.metrics.get("best_epoch") or 0)
        tags = {
            "model_version": card.version,
            "dataset_version": card.dataset_version,
            "promoted": str(gate["promoted"]).lower(),
            "verdict": str(gate["verdict"]),
            "reason": str(gate["reason"]),
        }
        if figures:
            await self._tell(lambda tracker: tracker.measured(step, figures))
        await self._tell(lambda tracker: tracker.end(tags, succeeded=True))

    async def failed(self, reason: str) -> None:
        """There will be no model."""
        await self._tell(lambda tracker: tracker.end({"reason": reason}, succeeded=False))

    async def _tell(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                await asyncio.wait_for(asyncio.to_thread(call, tracker), PATIENCE_S)
            except Exception as error:  # each library has its own, and none of them is worth a training
                del self._trackers[name]
                advice = EXTRA if isinstance(error, ImportError) else ""
                reason = str(error) or type(error).__name__
                log.warning("tracker_failed", run_id=self._run_id, tracker=name, error=reason[:300], advice=advice)


def trackers_of(settings: TrainerSettings) -> dict[str, Tracker]:
    """The trackers that the settings name, for one run. Nothing is opened or imported yet."""
    found: dict[str, Tracker] = {}
    if settings.tensorboard_dir is not None:
        found["tensorboard"] = TensorBoard(settings.tensorboard_dir)
    if settings.mlflow_tracking_uri is not None:
        found["mlflow"] = MLflow(settings.mlflow_tracking_uri.get_secret_value(), settings.mlflow_experiment)
    return found


def _test_figures(card: ModelCard) -> Iterator[tuple[str, float]]:
    test = card.metrics.get("test", {})
    for name, value in _numbers(test.get("overall", {})):
        yield f"test/{name}", value
    for condition, figures in test.get("conditions", {}).items():
        for name, value in _numbers({name: figures.get(name) for name in _OF_CONDITIONS}):
            yield f"test/{condition}/{name}", value


def _numbers(figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)
