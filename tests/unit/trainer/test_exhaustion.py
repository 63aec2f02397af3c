"""A full disk, want of memory and a killed worker, told from outside of the worker process; and how they are named."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.trainer import run as run_module
from services.trainer.data import decode
from services.trainer.exhaustion import exhaustion
from services.trainer.run import Run
from services.trainer.settings import TrainerSettings
from services.trainer.spec import FAILED_STATUS, RunSpec, checkpoint_path, model_path, result_path
from services.trainer.worker_process import run_worker
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import DatasetTooSmall, DiskFull, OutOfMemory, TriesUsedUp
from shared.events import QuotaMet, TrainingFailure
from shared.faces import FaceSearch
from shared.live_model import make_live, read_live
from shared.manifest import dump_manifest
from tests.unit.trainer.squares import TINY, Dataset, cache_of

QUICK = TINY.model_copy(update={"images_seen": 100, "min_epochs": 1, "max_epochs": 1})


def worked(spec: RunSpec, limits: str = "true") -> tuple[int, list[dict[str, Any]], str]:
    """Run a worker under a shell's limits. Returns its exit status, what it reported, and its standard error."""
    path = spec.run_dir / "spec.json"
    path.write_text(spec.model_dump_json())
    done = subprocess.run(
        ["bash", "-c", f'{limits}; exec "$@"', "bash", sys.executable, "-m", "services.trainer.worker", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def full_checkpoint(spec: RunSpec) -> str:
    checkpoint_path(spec.run_dir).with_suffix(".partial").symlink_to("/dev/full")
    return "true"


def full_model(spec: RunSpec) -> str:
    model_path(spec.run_dir).with_suffix(".partial").symlink_to("/dev/full")
    return "true"


def full_cache(spec: RunSpec) -> str:
    return "ulimit -f 64"  # KB that a file may have: the decoded pictures are 300


def full_features(spec: RunSpec) -> str:
    return "ulimit -f 4"


@pytest.mark.parametrize("what", [full_cache, full_features, full_checkpoint, full_model])
def test_a_full_disk_is_told_and_leaves_neither_model_nor_result(
    small: Dataset, tmp_path: Path, what: Callable[[RunSpec], str]
) -> None:
    spec = small.spec(tmp_path, QUICK)
    if what is full_features:
        assert decode(small.images, spec.encoded, cache_of(spec.cache, QUICK.input_size), 1, None) == {}
    status, reported, complaints = worked(spec, what(spec))
    assert status == FAILED_STATUS, complaints
    assert reported[-1]["failed"] == "disk_full"
    assert "There is no room" in reported[-1]["message"]
    assert "EVENSKIN_TRAINER_WORK_DIR" in reported[-1]["advice"]
    assert complaints == ""
    assert not model_path(spec.run_dir).exists()
    assert not result_path(spec.run_dir).exists()


def test_a_run_goes_on_where_the_disk_was_full(small: Dataset, tmp_path: Path) -> None:
    spec = small.spec(tmp_path, QUICK)
    full_model(spec)
    assert worked(spec)[1][0]["epoch"] == 1
    model_path(spec.run_dir).with_suffix(".partial").unlink()
    status, reported, _ = worked(spec)
    assert (status, reported) == (0, [{"done": spec.version}])  # and trains nothing anew


def test_want_of_memory_is_told(small: Dataset, tmp_path: Path) -> None:
    wide = QUICK.model_copy(update={"model": {"scales": 2, "cell": 8, "width": 30_000, "depth": 1}})  # 32 GB
    status, reported, complaints = worked(small.spec(tmp_path, wide), "ulimit -v 8000000")  # KB
    assert status == FAILED_STATUS, complaints
    assert reported[-1]["failed"] == "out_of_memory"
    assert "batch_size" in reported[-1]["advice"]


async def test_a_killed_worker_is_told_as_want_of_memory(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    with pytest.raises(OutOfMemory, match="signal 9") as caught:
        await run_worker(small.spec(tmp_path), nothing)
    assert (caught.value.code, caught.value.retryable) == ("out_of_memory", True)
    assert "more memory" in caught.value.advice


async def nothing(epoch: dict[str, Any]) -> None:
    """Nobody listens."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DiskFull("There is no room.", advice="Free some."), "disk_full"),
        (ExceptionGroup("", [OSError(errno.ENOSPC, "No space left on device", "/x")]), "disk_full"),
        (OutOfMemory("There is no memory.", advice="Give it more."), "out_of_memory"),
        (ConnectionResetError("gone"), "crashed"),
    ],
)
async def test_tries_that_are_used_up_say_by_what_and_leave_the_live_model_alone(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    async def fail(*_: object) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(run_module, "run_worker", fail)
    blobs = DirectoryBlobs(tmp_path / "store")
    live = await make_live(blobs, version="m-old", sha256="cd" * 32, reason="test")
    for key, data in small.files.items():
        await blobs.put(key, data)
    await blobs.put("datasets/ds/manifest.jsonl", dump_manifest(small.images))
    settings = TrainerSettings(
        home=tmp_path / "home", training=QUICK, backbone="none", faces=FaceSearch.OFF, max_tries=2
    )
    event = QuotaMet(
        campaign_id=uuid4(),
        dataset_version="ds",
        manifest_key="datasets/ds/manifest.jsonl",
        counts={},
        images=64,
        variants=64,
    )
    run = Run(blobs, settings, event)
    with pytest.raises(ConnectionResetError if code == "crashed" else (DiskFull, OutOfMemory)):
        await run.train(nothing)
    with pytest.raises(TriesUsedUp, match="Each of 2 tries") as caught:
        await run.train(nothing)
    assert caught.value.code == code
    assert TrainingFailure(caught.value.code)
    assert caught.value.advice
    assert await read_live(blobs) == live
    assert [info.key async for info in blobs.list("models/")] == ["models/live.json"]


def test_errors_are_named_by_what_caused_them() -> None:
    assert isinstance(exhaustion(MemoryError()), OutOfMemory)
    assert isinstance(exhaustion(OSError(errno.ENOMEM, "Cannot allocate memory")), OutOfMemory)
    assert isinstance(exhaustion(RuntimeError("std::bad_alloc")), OutOfMemory)
    wrapped = RuntimeError("The exporter failed.")
    wrapped.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded", "/somewhere/model.partial")
    named = exhaustion(wrapped)
    assert isinstance(named, DiskFull)
    assert "/somewhere/model.partial" in named.message
    assert exhaustion(OSError(errno.EACCES, "Permission denied")) is None
    assert exhaustion(RuntimeError("shapes differ")) is None
    assert exhaustion(DatasetTooSmall("It is.")) is None
