"""Several processes that learn together: the same as one, and on from the checkpoint where one is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from services.trainer import worker
from services.trainer.data import FoldData, decode, load_folds
from services.trainer.distributed import device_of
from services.trainer.features import Features
from services.trainer.spec import TrainingConfig
from services.trainer.train import Epoch, Trained, train
from shared.errors import LossNotFinite, TrainingFailed
from shared.taxonomy import Fold
from tests.unit.trainer.squares import TINY, Dataset, cache_of

EXACT = TINY.model_copy(update={"model": {**TINY.model, "dropout": 0.0}})
"""Processes drop different channels, each by its own numbers."""
TWO = EXACT.model_copy(update={"processes": 2})


@pytest.fixture(scope="module")
def folds(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[Fold, FoldData]:
    directory = tmp_path_factory.mktemp("folds")
    small.write_encoded(directory / "encoded")
    cache = cache_of(directory / "cache", 32)
    assert decode(small.images, directory / "encoded", cache, 1, None) == {}
    return load_folds(small.images, cache)


def fit(folds: dict[Fold, FoldData], directory: Path, config: TrainingConfig, **options: Any) -> Trained:
    directory.mkdir()
    return train(
        folds[Fold.TRAIN], folds[Fold.VALIDATION], config, Features(2, 8), directory / "checkpoint.pt", **options
    )


def test_two_processes_learn_what_one_learns(folds: dict[Fold, FoldData], tmp_path: Path) -> None:
    one = fit(folds, tmp_path / "one", EXACT)
    told: list[Epoch] = []
    two = fit(folds, tmp_path / "two", TWO, on_epoch=told.append)
    assert told == two.history
    assert [epoch.epoch for epoch in two.history] == [epoch.epoch for epoch in one.history]
    for a, b in zip(one.history, two.history, strict=True):
        assert (b.train_loss, b.validation_loss) == pytest.approx((a.train_loss, a.validation_loss), rel=1e-3)
        assert b.metrics == pytest.approx(a.metrics, abs=1e-6)
    assert np.allclose(two.validation, one.validation, atol=1e-3)
    for name, tensor in one.net.state_dict().items():
        assert torch.allclose(two.net.state_dict()[name].float(), tensor.float(), atol=1e-2), name


def test_a_loss_that_is_no_number_is_told_by_the_processes(folds: dict[Fold, FoldData], tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"step [2-9] of epoch 1 is not a finite number") as caught:
        fit(folds, tmp_path / "run", TWO.model_copy(update={"learning_rate": 1e30}))
    assert caught.value.code == LossNotFinite.code
    assert "learning rate" in caught.value.advice


def reports(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def learners(pid: int) -> list[psutil.Process]:
    """The processes below a worker that learn together."""
    below = psutil.Process(pid).children(recursive=True)
    return [process for process in below if process.cmdline()[-2:-1] == ["learn"]]


def test_killed_processes_are_survived_from_the_checkpoint_and_a_killed_worker_leaves_none(
    small: Dataset, tmp_path: Path
) -> None:
    longer = TWO.model_copy(update={"min_epochs": 8, "max_epochs": 8})
    spec = small.spec(tmp_path, longer)
    (spec.run_dir / "spec.json").write_text(spec.model_dump_json())
    command = [sys.executable, "-m", "services.trainer.worker", str(spec.run_dir / "spec.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        told = reports(process)
        assert next(told)["epoch"] == 1
        both = learners(process.pid)
        assert len(both) == 2
        both[1].kill()
        epochs = [next(told)["epoch"]]
        while len(epochs) < 3 or not learners(process.pid):
            epochs.append(next(told)["epoch"])
        below = psutil.Process(process.pid).children(recursive=True)
        assert not set(both) & set(below)  # both were begun anew
        process.kill()
        epochs += [message["epoch"] for message in told]
    _, alive = psutil.wait_procs(below, timeout=60)
    assert alive == []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        *rest, last = reports(process)
    assert (process.returncode, last) == (0, {"done": spec.version})
    assert sorted({*epochs, *(message["epoch"] for message in rest)}) == list(range(2, 9))
    assert len(epochs) == len(set(epochs))  # what was learnt before the first kill was kept

    undisturbed = worker.run(small.spec(tmp_path, longer, "undisturbed"))
    history = json.loads((spec.run_dir / "result.json").read_text())["metrics"]["history"]
    assert history == undisturbed["metrics"]["history"]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        TrainingConfig(batch_size=2, processes=3)
    with pytest.raises(ValueError, match="HOST:PORT"):
        TrainingConfig(machines=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells what happens without a GPU")
def test_a_gpu_is_used_where_there_is_one_and_missed_where_it_is_asked_for() -> None:
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(TrainingFailed, match="no GPU"):
        device_of("cuda")
