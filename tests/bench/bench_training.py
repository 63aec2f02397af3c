"""How long a default training takes, what memory it needs, and how much of an epoch is more than bare steps.

Three figures, each as a ratio or beside its bound:
- images a second of a training epoch, everything included (features read from disk, augmentation, averaged weights,
  validation, checkpoint), against bare steps of the same network on features that lie in memory; they take turns;
- the worker's seconds and peak memory for the default training on 1,174 drawn originals with their flips;
- memory of its own, and time a picture, at 2,000 and at 20,000 rows of features: neither is to grow.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import statistics as averages
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import torch

from services.trainer.data import CONDITIONS, FoldData
from services.trainer.features import Answers, Features, Sample
from services.trainer.losses import ordinal_loss, positive_weights
from services.trainer.model import SkinNet
from services.trainer.pixel_cache import PixelCache, View
from services.trainer.spec import RunSpec, TrainingConfig, result_path
from services.trainer.train import Epoch, learn, model_config
from shared.faces import FaceSearch
from shared.manifest import ManifestImage, ManifestVariant, dump_manifest
from shared.preprocessing import NEWEST
from shared.taxonomy import Fold, Severity, imported_image_id
from tests.bench.bench_backbone import faces, mirrored

SOURCES = 1_174  # of the balanced set
TRAINED = round(0.7 * SOURCES) * 2  # with flips
CHANNELS = Features(3, 16).filter_channels + 176  # filters, and the backbone's middle
CELLS = 14  # on a side, at 224 pixels
NEVER = 10_000  # epochs without which a run never ends by itself


def made_up(rows: int, directory: Path) -> Sample:
    """A fold of random features, in files as a run's are, and random labels: one in seven of each condition."""
    random = np.random.default_rng(rows)
    block = random.standard_normal((64, CELLS, CELLS, CHANNELS), dtype=np.float32).astype(np.float16)
    grid = np.memmap(directory / f"grid-{rows}", np.float16, "w+", shape=(rows, *block.shape[1:]))
    for start in range(0, rows, len(block)):
        grid[start : start + len(block)] = block[: rows - start]
    grid.flush()
    pooled = random.standard_normal((rows, 2 * CHANNELS), dtype=np.float32)
    severity = (random.random((rows, len(CONDITIONS))) < 1 / 7) * random.integers(1, 4, (rows, len(CONDITIONS)))
    ids = [str(number) for number in range(rows)]
    cache = PixelCache(directory, View(224, NEWEST, looks=False))
    data = FoldData(ids, ids, np.arange(rows), severity.astype(np.int8), cache)
    return Sample(data, Answers(np.memmap(directory / f"grid-{rows}", np.float16, "r", shape=grid.shape), pooled))


def bare_epoch(training: Sample, config: TrainingConfig) -> float:
    """Seconds of an epoch of bare steps: forward, loss, backward, optimiser, on one batch that lies in memory."""
    net = SkinNet(model_config(config), *training.answers.widths)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = net.convolutional.train()
    optimiser = torch.optim.AdamW(learner.parameters(), lr=1e-3, foreach=True)
    weights = positive_weights(training.data.severity)
    indices = np.arange(config.batch_size)
    grid, severity = training.answers.tensors(indices)[0], torch.from_numpy(training.data.severity[indices])
    begun = time.perf_counter()
    for _ in range(math.ceil(len(training.data) / config.batch_size)):
        loss = ordinal_loss(learner(grid)[0], severity, weights)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return time.perf_counter() - begun


def measure_epochs(epochs: int, rows: int, directory: Path) -> None:
    """Print images a second of epochs and of bare ones, which take turns."""
    training, validation = made_up(rows, directory), made_up(max(2, rows // 9), directory)
    config = TrainingConfig(min_epochs=epochs + 1, max_epochs=epochs + 1, patience=NEVER)
    whole: list[float] = []
    bare: list[float] = []
    resumed: float | None = None

    def ended(_: Epoch) -> None:
        nonlocal resumed
        if resumed is not None:  # not the first, which waits for the linear judge
            whole.append(time.perf_counter() - resumed)
        bare.append(bare_epoch(training, config))
        resumed = time.perf_counter()

    learn(training, validation, config, CHANNELS - 176, "bench", directory / "epochs.pt", ended)
    ratio = averages.median(b / w for b, w in zip(bare, whole, strict=False))
    print(
        f"epoch of {rows} pictures: {rows / averages.median(whole):.0f} images/s, everything included; "
        f"bare steps {rows / averages.median(bare):.0f}; ratio {ratio:.2f} (median of {len(whole)}; at least 0.9)",
        flush=True,
    )


def measure_rows(rows: int, seconds: float, directory: Path) -> tuple[float, float]:
    """Memory of its own, in MB, and ms a picture, of a process that learns from so many rows for some seconds."""
    made_up(rows, directory)
    made_up(200, directory)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_learn_for, args=(rows, seconds, directory, sender))
    process.start()
    found: tuple[float, float] = receiver.recv()
    process.join()
    (directory / f"grid-{rows}").unlink()
    return found


def _learn_for(rows: int, seconds: float, directory: Path, sender: multiprocessing.connection.Connection) -> None:
    training, validation = made_up(rows, directory), made_up(200, directory)
    config = TrainingConfig(min_epochs=NEVER, max_epochs=NEVER, patience=NEVER, time_limit_s=seconds)
    marks: list[tuple[float, int]] = []

    def ended(epoch: Epoch) -> None:
        state = torch.load(directory / f"rows-{rows}.pt", weights_only=True)
        marks.append((state["seconds"], state["step"]))

    learn(training, validation, config, CHANNELS - 176, "bench", directory / f"rows-{rows}.pt", ended)
    used, steps = marks[-1]
    own = psutil.Process().memory_full_info().uss - _mapped(directory)
    sender.send((own / 1e6, 1000 * used / (steps * config.batch_size)))


def _mapped(directory: Path) -> int:
    """Bytes of files in a directory that are mapped here: the system takes them back as it likes."""
    maps = psutil.Process().memory_maps(grouped=True)
    return sum(each.private_clean for each in maps if each.path.startswith(str(directory)))


def measure_default(each: int, directory: Path) -> None:
    """Print seconds and peak memory of the worker on so many drawn originals of each condition and of clear skin."""
    spec = dataset(each, directory)
    (spec.run_dir / "spec.json").write_text(spec.model_dump_json())
    begun = time.perf_counter()
    command = [sys.executable, "-m", "services.trainer.worker", str(spec.run_dir / "spec.json")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    laps = json.loads(result_path(spec.run_dir).read_text())["seconds"]
    print(
        f"default training on {8 * each} originals and flips: {laps['train']:.0f} s of training, features included "
        f"(below 90); {seconds:.0f} s with all else ({', '.join(f'{name} {lap:.0f}' for name, lap in laps.items())}); "
        f"{used.ru_utime + used.ru_stime:.0f} s of processor time; peak memory {used.ru_maxrss / 1e6:.2f} GB, mapped "
        "files included (below 1.5)",
        flush=True,
    )


def dataset(each: int, directory: Path) -> RunSpec:
    """A run's order on drawn faces, its files as a fetch leaves them."""
    pictures, severity = faces(each)
    encoded, run_dir = directory / "encoded", directory / "run"
    encoded.mkdir()
    run_dir.mkdir()
    folds: npt.NDArray[np.int64] = np.random.default_rng(7).permutation(len(pictures)) * 100 // len(pictures)
    images = []
    for data, levels, part in zip(pictures, severity, folds, strict=True):
        sums = [_kept(file, encoded) for file in (data, mirrored(data))]
        image_id = imported_image_id(sums[0])
        images.append(
            ManifestImage(
                image_id=image_id,
                root_id=image_id,
                key=f"images/{image_id}/original.jpg",
                sha256=sums[0],
                fold=Fold.TRAIN if part < 70 else Fold.VALIDATION if part < 85 else Fold.TEST,
                labels={c: Severity(int(level)) for c, level in zip(CONDITIONS, levels, strict=True) if level},
                variants=(ManifestVariant(operation="hflip", key=f"images/{image_id}/hflip.png", sha256=sums[1]),),
            )
        )
    manifest = run_dir / "manifest.jsonl"
    manifest.write_bytes(dump_manifest(images))
    return RunSpec(
        run_id="bench",
        version="m-bench",
        dataset_version="bench",
        manifest=manifest,
        encoded=encoded,
        cache=directory / "cache",
        run_dir=run_dir,
        backbone="efficientnet-lite0",
        faces=FaceSearch.ON,
    )


def _kept(data: bytes, directory: Path) -> str:

    digest = hashlib.sha256(data).hexdigest()
    (directory / digest).write_bytes(data)
    return digest


def main() -> None:
    """Print the three figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=round(SOURCES / 8), help="drawn faces of each condition; 0: none")
    parser.add_argument("--epochs", type=int, default=5, help="epochs that are compared with bare ones; 0: none")
    parser.add_argument("--rows", type=int, default=20_000, help="rows that memory is measured at; 0: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if options.epochs:
            measure_epochs(options.epochs, TRAINED, directory)
        if options.rows:
            few, many = (measure_rows(rows, 20, directory) for rows in (options.rows // 10, options.rows))
            print(
                f"{options.rows // 10} and {options.rows} rows of features: {few[0]:.0f} and {many[0]:.0f} MB of own "
                f"memory; {few[1]:.1f} and {many[1]:.1f} ms a picture",
                flush=True,
            )
        if options.each:
            measure_default(options.each, directory)


if __name__ == "__main__":
    main()
