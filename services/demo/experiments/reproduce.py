"""`evenskin reproduce`: what balancing does to a model, in the seed's own numbers of pictures, and three controls.

Every arm of every seed leaves a JSON file, written whole; a run that was interrupted goes on with those that are
missing, and with the training that was under way.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from rich.markup import escape

from services.console.output import print_json, progress
from services.console.text import duration, percent
from services.demo.experiments.arms import ARMS, Arm, chosen, in_order, scaled, shapes
from services.demo.experiments.errors import in_words
from services.demo.experiments.folder import read_labelled
from services.demo.experiments.judging import measure, train_judge
from services.demo.experiments.reproduce_report import markdown, summary
from services.demo.experiments.seeing import Seeing, part, with_mirror_images
from services.demo.experiments.sources import DrawnFaces, OwnFolder, Source
from services.demo.experiments.splitting import split
from services.trainer.features import Sample
from services.trainer.settings import TrainerSettings
from services.trainer.spec import NOT_IN_WEIGHTS
from shared.errors import Conflict, HomeInUse, InvalidRequest
from shared.manifest import ManifestImage
from shared.taxonomy import TRAIN_SHARE, VALIDATION_SHARE

MAX_SEEDS = 100
SHARES = (TRAIN_SHARE, VALIDATION_SHARE, 1 - TRAIN_SHARE - VALIDATION_SHARE)


@dataclass(frozen=True)
class _Pool:
    """A seed's pictures, seen."""

    images: list[ManifestImage]
    sample: Sample


def reproduce(
    out: Path, *, data: Path | None = None, groups: bool = False, seeds: int = 5, scale: float = 1.0, json_output: bool
) -> int:
    """Run the experiment in `out`, or go on with it, and write results.json and results.md there.

    `data`: a folder of labelled pictures; None: faces are drawn, at `scale`. `seeds`: how many. Returns the exit
    status. Raises InvalidRequest, Conflict where `out` holds another experiment, HomeInUse, and what training raises.
    """
    if not 1 <= seeds <= MAX_SEEDS:
        raise InvalidRequest(f"{seeds} seeds were asked for.", advice=f"Use 1 to {MAX_SEEDS}.")
    if data is not None and scale != 1:
        raise InvalidRequest(
            "A folder's scale follows from its pictures.", advice="Leave --scale out, or draw faces without --data."
        )
    work = out / "work"
    with in_words(out):
        work.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(work / "lock", blocking=False):
                document = _reproduce(out, work, data, groups, seeds, scale)
        except Timeout:
            raise HomeInUse(f"Another process runs this experiment in '{out}'.", advice="Wait for it.") from None
        text = markdown(document)
        write_whole(out / "results.json", json.dumps(document, indent=1))
        write_whole(out / "results.md", text)
    if json_output:
        print_json(document)
    else:
        print(text, end="")  # noqa: T201  # the results, as they stand in the file
    progress().print(f"Kept in {escape(str(out))}: results.json, results.md, and a file for each arm and seed.")
    return 0


def _reproduce(out: Path, work: Path, data: Path | None, groups: bool, seeds: int, scale: float) -> dict[str, Any]:
    settings = TrainerSettings.load()
    source, left_out = _source(work, data, groups, scale)
    experiment = {
        **source.identity(),
        "training": settings.training.model_dump(mode="json", exclude=set(NOT_IN_WEIGHTS)),
        "backbone": settings.backbone,
        "faces": settings.faces.value,
    }
    _note(out / "experiment.json", experiment)
    wanted = [(seed, arm) for seed in range(1, seeds + 1) for arm in ARMS]
    missing = [(seed, arm) for seed, arm in wanted if not _path(out, seed, arm).exists()]
    if missing:
        _run(out, work, source, settings, missing)
    results = [json.loads(_path(out, seed, arm).read_text()) for seed, arm in wanted]
    return {
        "experiment": experiment,
        "seeds": seeds,
        "conditions": list(source.conditions),
        "sets": {name.value: scaled(counts, source.scale) for name, counts in shapes(source.conditions).items()},
        "left_out": left_out,
        **summary(results),
        "results": results,
    }


def _source(work: Path, data: Path | None, groups: bool, scale: float) -> tuple[Source, dict[str, Any]]:
    """The pictures, and what of a folder is left out: the unreadable, by path, and the number that show several."""
    if data is None:
        return DrawnFaces(work / "pictures", scale), {}
    folder = read_labelled(data, groups=groups)
    source = OwnFolder(folder, work / "encoded")
    return source, {"unreadable": folder.unreadable, "several_conditions": source.left_out}


def _note(path: Path, experiment: dict[str, Any]) -> None:
    """Keep what the experiment is. Raises Conflict where the directory holds another one."""
    if path.exists():
        if json.loads(path.read_text()) != experiment:
            raise Conflict(
                f"'{path.parent}' holds an experiment with other pictures or settings.",
                advice="Name another directory with --out, or remove this one.",
            )
        return
    write_whole(path, json.dumps(experiment, indent=1))


def _path(out: Path, seed: int, arm: Arm) -> Path:
    return out / f"seed-{seed}-{arm.name}.json"


def _run(out: Path, work: Path, source: Source, settings: TrainerSettings, missing: list[tuple[int, Arm]]) -> None:
    seeing = Seeing(settings, work)
    test_images = source.test()
    seen = seeing.sample(test_images, source.encoded)
    testing = part(seen, np.arange(len(test_images)))
    held: tuple[list[ManifestImage], Sample] | None = None
    for seed in dict.fromkeys(seed for seed, _ in missing):
        images = source.pool(seed)
        if held is None or held[0] is not images:  # a folder's pool is every seed's
            held = images, seeing.sample(images, source.encoded)
        pool = _Pool(*held)
        for arm in (arm for number, arm in missing if number == seed):
            started, spent = time.perf_counter(), time.process_time()
            result = _train_arm(arm, seed, pool, testing, source, seeing, settings, work)
            result["seconds"] = round(time.perf_counter() - started, 1)
            result["cpu_seconds"] = round(time.process_time() - spent, 1)  # on a busy machine, what it would take
            write_whole(_path(out, seed, arm), json.dumps(result, indent=1))
            balanced = result["test"]["overall"]["balanced_accuracy"]
            progress().print(
                f"seed {seed}, {arm.title}: balanced accuracy {percent(balanced)}%, {duration(result['seconds'])}"
            )
        if isinstance(source, DrawnFaces):  # the next seed draws others
            shutil.rmtree(seeing.cache.directory)
            held = None


def _train_arm(
    arm: Arm,
    seed: int,
    pool: _Pool,
    testing: Sample,
    source: Source,
    seeing: Seeing,
    settings: TrainerSettings,
    work: Path,
) -> dict[str, Any]:
    """Train one arm, and measure it on the test fold and on the fold that it keeps of its own pictures."""
    count = len(pool.images)
    counts = scaled(shapes(source.conditions)[arm.pictures], source.scale)
    rows = chosen(in_order(pool.images, seed), counts)
    pictures = len(rows)
    labels = [tuple(pool.images[row].labels) for row in rows]
    if arm.leaks:  # as the seed did it: flipped first, then every picture is one of its own
        rows = with_mirror_images(rows, count)
        training, validation, own = (rows[items] for items in split(range(len(rows)), labels * 2, SHARES, seed))
    else:
        roots = [pool.images[row].root_id for row in rows]
        training, validation, own = (rows[items] for items in split(roots, labels, SHARES, seed))
        training = with_mirror_images(training, count)
    changes = {"class_weights": arm.class_weights, "sampling": arm.sampling, "seed": settings.training.seed + seed}
    config = settings.training.model_copy(update=changes)
    checkpoint = work / f"seed-{seed}-{arm.name}.pt"
    judge = train_judge(
        part(pool.sample, training),
        part(pool.sample, validation),
        config,
        seeing.filters,
        checkpoint,
    )
    checkpoint.unlink(missing_ok=True)
    measured = {
        name: measure(
            sample.data.severity,
            judge.probabilities(sample),
            judge.thresholds,
            judge.neutral,
            sample.data.root_ids,
        )
        for name, sample in (("test", testing), ("own", part(pool.sample, own)))
    }
    return {
        "arm": arm.name,
        "seed": seed,
        "pictures": pictures,
        "trained_on": len(training),
        "thresholds": judge.thresholds,
        "epochs": len(judge.trained.history),
        "best_epoch": judge.trained.best_epoch,
        "linear_share": judge.trained.net.share.item(),
        **measured,
    }


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    os.replace(partial, path)
