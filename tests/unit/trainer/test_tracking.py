"""TensorBoard and MLflow are told of a training, and none fails for them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from services.trainer import tracking
from services.trainer.settings import TrainerSettings
from services.trainer.tracking import MLflow, TensorBoard, Tracker, Tracking, trackers_of
from tests.fakes.model_cards import card

EPOCHS: list[dict[str, Any]] = [
    {
        "epoch": number,
        "epochs": 2,
        "train_loss": 1 / number,
        "validation_loss": 2 / number,
        "metrics": {"validation_accuracy": 0.5 + number / 10, "validation_recall": None},
    }
    for number in (1, 2)
]
RUN = "run-0123456789ab"


async def told(trackers: Mapping[str, Tracker], *, epochs: list[dict[str, Any]] = EPOCHS, ends: bool = True) -> None:
    """One try of a run, from its beginning on."""
    run = Tracking(trackers, RUN)
    await run.begin({"seed": 7, "model": {"width": 8}})
    for epoch in epochs:
        await run.epoch_ended(epoch)
    if ends:
        await run.ended(card())


async def test_tensorboard_has_every_epoch_and_the_test_figures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    await told({"tensorboard": TensorBoard(tmp_path)}, epochs=EPOCHS[:1], ends=False)  # a try that was killed
    await told({"tensorboard": TensorBoard(tmp_path)}, epochs=EPOCHS[1:])
    read = EventAccumulator(str(tmp_path / RUN))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("train_loss")] == [(1, 1.0), (2, 0.5)]
    assert read.Scalars("validation_accuracy")[1].value == pytest.approx(0.7)
    assert "validation_recall" not in read.Tags()["scalars"]
    found = card().metrics["test"]
    assert read.Scalars("test/balanced_accuracy")[0].value == pytest.approx(found["overall"]["balanced_accuracy"])
    assert read.Scalars("test/acne/recall")[0].value == pytest.approx(found["conditions"]["acne"]["recall"])
    assert {"parameters/text_summary", "end/text_summary"} <= set(read.Tags()["tensors"])
    assert b"No model was live." in read.Tensors("end/text_summary")[0].tensor_proto.string_val[0]


@pytest.fixture
def mlflow_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MLflow's store of files, which needs no server."""
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1")  # put back as it was afterwards
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlflow").as_uri()


async def test_mlflow_has_one_run_however_often_it_was_begun(mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    await told({"mlflow": MLflow(mlflow_uri, "skin")}, epochs=EPOCHS[:1], ends=False)  # a try that was killed
    await told({"mlflow": MLflow(mlflow_uri, "skin")}, epochs=EPOCHS[1:])
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("skin")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == (RUN, "FINISHED")
    assert run.data.params == {"seed": "7", "model": "{'width': 8}"}
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5)]
    assert run.data.metrics["test/f1"] == card().metrics["test"]["overall"]["f1"]
    assert run.data.tags["reason"] == "No model was live."
    assert run.data.tags["model_version"] == card().version


async def test_mlflow_is_told_of_a_run_that_failed(mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    run = Tracking({"mlflow": MLflow(mlflow_uri, "skin")}, RUN)
    await run.begin({})
    await run.failed("parity_failed: They differ.")
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("skin")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.status, found.data.tags["reason"]) == ("FAILED", "parity_failed: They differ.")


class Recorder:
    """A tracker that remembers what it was told, and fails or hangs where a test says so."""

    def __init__(self, fails_at: str = "", waits: threading.Event | None = None) -> None:
        self.calls: list[str] = []
        self._fails_at, self._waits = fails_at, waits

    def begin(self, run_id: str, parameters: Mapping[str, str]) -> None:
        self._called("begin")

    def measured(self, step: int, figures: Mapping[str, float]) -> None:
        self._called("measured")

    def end(self, tags: Mapping[str, str], *, succeeded: bool) -> None:
        self._called("end")

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self._fails_at:
            if self._waits is not None:
                self._waits.wait()
            raise OSError("no such host")


@pytest.mark.parametrize("fails_at", ["begin", "measured", "end"])
async def test_a_tracker_that_fails_is_told_nothing_more_and_the_others_are(fails_at: str) -> None:
    broken, whole = Recorder(fails_at), Recorder()
    with capture_logs() as logs:
        await told({"broken": broken, "whole": whole})
    assert broken.calls[-1] == fails_at
    assert broken.calls.count(fails_at) == 1
    assert whole.calls == ["begin", "measured", "measured", "measured", "end"]
    (entry,) = [entry for entry in logs if entry["event"] == "tracker_failed"]
    assert (entry["tracker"], entry["error"]) == ("broken", "no such host")


async def test_a_tracker_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "PATIENCE_S", 0.05)
    ended = threading.Event()
    hanging = Recorder("measured", ended)
    try:
        await told({"hanging": hanging})
        assert hanging.calls == ["begin", "measured"]
    finally:
        ended.set()


async def test_a_package_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlflow", "tensorboard.summary.writer.event_file_writer"):
        monkeypatch.setitem(sys.modules, name, None)
    settings = TrainerSettings(
        home=tmp_path, tensorboard_dir=tmp_path / "events", mlflow_tracking_uri=SecretStr("http://127.0.0.1:9")
    )
    with capture_logs() as logs:
        await told(trackers_of(settings))
    assert [entry["tracker"] for entry in logs] == ["tensorboard", "mlflow"]
    assert {entry["advice"] for entry in logs} == {"Install evenskin[tracking]."}


def test_nothing_is_tracked_or_imported_unless_the_settings_say_so(tmp_path: Path) -> None:
    assert trackers_of(TrainerSettings(home=tmp_path)) == {}
    code = (
        "import sys, services.trainer.app; "
        "sys.exit(bool({'mlflow', 'tensorboard', 'torch'} & {name.split('.')[0] for name in sys.modules}))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
