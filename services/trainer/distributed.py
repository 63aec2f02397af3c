"""Several processes that learn together: each takes its share of every batch, and all take the same step.

They are started by `torch.distributed.run`, which begins them anew from the last checkpoint where one dies. What they
share lies in files: the features, which each maps, and the order. Process 0 alone writes checkpoints and reports.
With the same global batch and without dropout they learn what one process learns, but for rounding.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from services.trainer.data import FoldData
from services.trainer.features import Answers, Sample
from services.trainer.pixel_cache import PixelCache, View
from services.trainer.spec import TrainingConfig
from shared.cores import usable_cores
from shared.errors import TrainingFailed
from shared.preprocessing import Preprocessing

MAX_RESTARTS = 3  # of all processes, where one dies; then the run's own tries begin
_TOGETHER_S = 60.0  # seconds until processes that were started together have found each other
_MEETING_S = 120  # in which all processes must have started

T = TypeVar("T")


class Peers:
    """The processes that learn together: this one alone."""

    rank, size = 0, 1

    def part(self) -> slice:
        """Which pictures of a batch are this process's."""
        return slice(self.rank, None, self.size)

    def together(self, module: nn.Module) -> nn.Module:
        """A module that learns from all processes' pictures."""
        return module

    def total(self, *values: float) -> list[float]:
        """Values, each summed over the processes."""
        return list(values)

    def told(self, ask: Callable[[], T]) -> T:
        """What process 0 is told when it asks."""
        return ask()


ALONE = Peers()


class Gang(Peers):
    """Processes that `torch.distributed.run` has started, of which this is one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # Gloo was seen to wait for good where processes met: one that ends is begun anew, with the others.
        too_late = threading.Timer(_TOGETHER_S, os._exit, [1])
        too_late.daemon = True
        too_late.start()
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30)
        )  # the longest that the others wait for process 0 to validate
        too_late.cancel()
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def together(self, module: nn.Module) -> nn.Module:
        """A module whose gradients are the mean over the processes, and whose normalisation knows all their pictures.

        Changes `module`: its normalisation layers are exchanged.
        """
        _share_normalisation(module)
        return DistributedDataParallel(module, broadcast_buffers=False)

    def total(self, *values: float) -> list[float]:
        """Values, each summed over the processes."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(tensor)
        found: list[float] = tensor.tolist()
        return found

    def told(self, ask: Callable[[], T]) -> T:
        """What process 0 is told when it asks."""
        answer = [ask() if self.rank == 0 else None]
        dist.broadcast_object_list(answer, src=0, device=self._device)
        return answer[0]  # type: ignore[return-value]

    def close(self) -> None:
        """Leave the others."""
        dist.destroy_process_group()


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by mean and variance over all processes' pictures; PyTorch's own knows GPUs alone."""

    def forward(self, input: Tensor) -> Tensor:
        """(n, C, h, w) → (n, C, h, w)."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = all_reduce(torch.cat([values.sum((0, 2, 3)), count]))  # type: ignore[no-untyped-call]
        mean = sums[:-1] / sums[-1]
        centred = values - mean[:, None, None]
        variance = all_reduce(centred.square().sum((0, 2, 3))) / sums[-1]  # type: ignore[no-untyped-call]
        with torch.no_grad():
            momentum, total = self.momentum or 0.1, sums[-1]
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * total / (total - 1), momentum)
            self.num_batches_tracked += 1
        scale = torch.rsqrt(variance + self.eps) * self.weight
        answer: Tensor = centred * scale[:, None, None] + self.bias[:, None, None]
        return answer.to(input.dtype)


def _share_normalisation(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum).to(child.weight.device)
            shared.weight, shared.bias = child.weight, child.bias  # the same tensors: the optimiser knows them
            shared.running_mean, shared.running_var = child.running_mean, child.running_var
            shared.num_batches_tracked = child.num_batches_tracked
            setattr(module, name, shared)
        else:
            _share_normalisation(child)


def device_of(name: str) -> torch.device:
    """Where to learn: `cpu`, `cuda`, or `auto`, a GPU where there is one; this process's own of several."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise TrainingFailed("PyTorch finds no GPU.", advice="Set device to auto or cpu in EVENSKIN_TRAINING.")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def threads_of(config: TrainingConfig) -> int:
    """Threads of this process: those of the machine, shared with the others on it."""
    return max(1, (config.threads or usable_cores()) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def learn_together(
    training: Sample,
    validation: Sample,
    config: TrainingConfig,
    filters: int,
    run: str,
    checkpoint: Path,
    on_epoch: Callable[[dict[str, Any]], None],
) -> None:
    """Have several processes learn to the end; what they learnt is in `checkpoint` then.

    Parameters are those of `train.learn`. Calls `on_epoch` with each epoch's fields once its checkpoint is on disk.
    Raises TrainingFailed, with the code of what process 0 could name, or where the processes died too often.
    """
    directory = checkpoint.parent / "together"
    directory.mkdir(exist_ok=True)
    for name, sample in (("training", training), ("validation", validation)):
        _write_sample(directory / name, sample)
    order = directory / "order.json"
    fields = {"config": config.model_dump(), "filters": filters, "run": run, "checkpoint": str(checkpoint)}
    order.write_text(json.dumps(fields))
    with subprocess.Popen(
        [sys.executable, "-m", "services.trainer.together", "start", str(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={"OMP_NUM_THREADS": "1", **os.environ},  # each sets its own; without, the starter talks of it
    ) as process:
        assert process.stdout is not None
        failure: dict[str, str] | None = None
        for line in process.stdout:
            message = _message(line)
            if "epoch" in message:
                on_epoch(message)
            elif "done" in message:
                failure = None  # of processes that were begun anew since
            elif "failed" in message:
                failure = message
    if failure is not None:
        raise _as_told(failure)
    if process.returncode:
        raise TrainingFailed(
            f"The processes that train together ended with status {process.returncode}, "
            f"{MAX_RESTARTS} restarts included.",
            advice="See the trainer's log.",
        )


def arguments_of(order: Path, config: TrainingConfig) -> list[str]:
    """Arguments of `torch.distributed.run` on each machine."""
    meeting = (
        ["--standalone"]
        if config.machines == 1
        else [
            f"--nnodes={config.machines}",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={config.rendezvous}",
            f"--rdzv-conf=timeout={_MEETING_S}",
        ]
    )
    return [
        *meeting,
        f"--nproc-per-node={config.processes}",
        f"--max-restarts={MAX_RESTARTS}",
        "-m",
        "services.trainer.together",
        "learn",
        str(order),
    ]


def _as_told(failure: dict[str, str]) -> TrainingFailed:
    error = TrainingFailed(failure["message"], advice=failure["advice"])
    error.code = failure["failed"]
    return error


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _write_sample(path: Path, sample: Sample) -> None:
    data, view = sample.data, asdict(sample.data.cache.view)
    for name, array in _arrays(sample).items():
        with path.with_suffix(f".{name}.npy").open("wb") as file:
            if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
                os.posix_fallocate(file.fileno(), 0, array.nbytes)  # numpy's error for a full disk does not say so
            np.save(file, array)
    named = {"image_ids": data.image_ids, "root_ids": data.root_ids}
    path.with_suffix(".json").write_text(json.dumps(named | {"cache": str(data.cache.directory), "view": view}))


def _arrays(sample: Sample) -> dict[str, npt.NDArray[Any]]:
    return {
        "grid": sample.answers.grid,
        "statistics": sample.answers.statistics,
        "rows": sample.data.rows,
        "severity": sample.data.severity,
    }


def read_sample(path: Path) -> Sample:
    """A sample as `learn_together` wrote it, its features mapped."""
    grid, statistics, rows, severity = (
        np.load(path.with_suffix(f".{name}.npy"), mmap_mode="r") for name in ("grid", "statistics", "rows", "severity")
    )
    named = json.loads(path.with_suffix(".json").read_text())
    view = named["view"] | {"preprocessing": Preprocessing(named["view"]["preprocessing"])}
    cache = PixelCache(Path(named["cache"]), View(**view))
    data = FoldData(named["image_ids"], named["root_ids"], np.array(rows), np.array(severity), cache)
    return Sample(data, Answers(grid, statistics))
