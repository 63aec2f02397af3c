"""Runs one training in a worker process: starts it, reads what it reports, ends it with the task that waits for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from services.trainer.exhaustion import out_of_memory
from services.trainer.spec import FAILED_STATUS, RunSpec, result_path
from shared.errors import (
    DatasetTooSmall,
    DiskFull,
    FoldsLeak,
    ImagesUnreadable,
    LabelsContradict,
    LossNotFinite,
    OutOfMemory,
    ParityFailed,
    TrainingFailed,
    WeightsUnusable,
)

log = structlog.get_logger(__name__)

ROOT = Path(__file__).resolve().parents[2]  # where `services` and `shared` lie, installed or not
KEPT_LINES = 20  # of standard error that are logged; the last one goes into the error
_ERRORS = {
    error.code: error
    for error in (
        DatasetTooSmall,
        DiskFull,
        FoldsLeak,
        ImagesUnreadable,
        LabelsContradict,
        LossNotFinite,
        OutOfMemory,
        ParityFailed,
        TrainingFailed,
        WeightsUnusable,
    )
}


class WorkerCrashed(TrainingFailed):
    """The worker ended without saying why: trying again may help."""

    code, status, retryable = "training_crashed", 500, True


async def run_worker(spec: RunSpec, on_epoch: Callable[[dict[str, Any]], Awaitable[None]]) -> dict[str, Any]:
    """Run one spec in a process of its own and return its result. Cancelling this call kills the process.

    Raises the error that the worker reported (one of `_ERRORS`), OutOfMemory where it was killed by signal 9, as a
    system short of memory does, or WorkerCrashed with the last line of its standard error.
    """
    path = spec.run_dir / "spec.json"
    await asyncio.to_thread(path.write_text, spec.model_dump_json(indent=1))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.trainer.worker",
        str(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    last_lines = asyncio.create_task(_last_lines(process.stderr), name="worker's standard error")
    failure: TrainingFailed | ParityFailed | None = None
    try:
        async for line in process.stdout:
            message = _report(line)
            if "epoch" in message:
                await on_epoch(message)
            elif "failed" in message:
                kind = _ERRORS.get(message["failed"], TrainingFailed)
                failure = kind(message["message"], advice=message["advice"])
        status = await process.wait()
        lines = await last_lines
    finally:
        if process.returncode is None:
            process.kill()  # the checkpoint is whole at any moment: nothing is lost but the epoch under way
        last_lines.cancel()
        await asyncio.shield(process.wait())
    if lines:
        log.warning("worker_complained", run_id=spec.run_id, status=status, lines=lines)
    if failure is not None and status == FAILED_STATUS:
        raise failure
    if status == -signal.SIGKILL:
        raise out_of_memory("Training was killed by signal 9, most likely for want of memory.")
    if status != 0:
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        raise WorkerCrashed(f"Training ended with {ended}: {lines[-1] if lines else 'it said nothing'}")
    result: dict[str, Any] = json.loads(await asyncio.to_thread(result_path(spec.run_dir).read_text))
    return result


def _environment() -> dict[str, str]:
    """This process's environment, with the repository on the path and threads that sleep while they wait.

    OpenMP's threads spin at every barrier by default, which burns the cores that the other services need: with
    two busy cores, training took twice the processor time.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    # cuBLAS gives the same result each time with a workspace of its own alone.
    fixed = {"OMP_WAIT_POLICY": "PASSIVE", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    return {**fixed, **os.environ, "PYTHONPATH": path}


def _report(line: bytes) -> dict[str, Any]:
    """Parse one line of the worker's reports; empty for what a library printed between them."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


async def _last_lines(stream: asyncio.StreamReader) -> list[str]:
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    pending = b""
    while block := await stream.read(65536):
        *whole, pending = (pending + block).split(b"\n")
        kept.extend(line.decode(errors="replace") for line in whole if line.strip())
        pending = pending[-4096:]
    if pending.strip():
        kept.append(pending.decode(errors="replace"))
    return list(kept)
