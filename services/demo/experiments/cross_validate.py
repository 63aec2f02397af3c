"""`evenskin cross-validate`: measures every picture of a small dataset by a model that was not trained on it.

The roots are split into K parts. For each, a model is trained on the others, as the service trains: with mirror images,
calibrated and with thresholds from a validation fold of its own, 15/85 of the others' roots. It is measured on the
part's originals.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from services.console.file_names import shown
from services.console.output import print_json, progress
from services.console.text import condition_text, count, interval, percent
from services.demo.experiments.dataset import read_dataset
from services.demo.experiments.errors import in_words
from services.demo.experiments.figures import markdown_table, points, spread, spreads
from services.demo.experiments.folder import read_labelled
from services.demo.experiments.judging import SCORES, measure, train_judge
from services.demo.experiments.seeing import Rows, Seeing, part, with_mirror_images
from services.demo.experiments.splitting import split
from services.trainer.data import CONDITIONS
from services.trainer.scores import Probabilities, fold_metrics
from services.trainer.settings import TrainerSettings
from shared.errors import DatasetTooSmall, InvalidRequest
from shared.manifest import ManifestImage
from shared.taxonomy import TRAIN_SHARE, VALIDATION_SHARE

MAX_FOLDS = 20
TOLD = ("balanced_accuracy", "recall", "specificity", "f1", "auc", "first_choice")
_HEAD = ("balanced accuracy", "recall", "specificity", "F1", "AUC", "first choice")
_CELL = "{spread} ({pooled})"


def cross_validate(source: str, *, folds: int, groups: bool, home: Path | None, json_output: bool) -> int:
    """Cross-validate a folder of labelled pictures, or a dataset version of `home`. Returns the exit status.

    `groups`: of a folder, the deepest one below the severity's says whose picture it is. Raises InvalidRequest,
    NotFound, DatasetTooSmall, ImagesUnreadable, StoreUnavailable, WeightsUnusable, LossNotFinite.
    """
    if not 2 <= folds <= MAX_FOLDS:
        raise InvalidRequest(f"{folds} folds were asked for.", advice=f"Use 2 to {MAX_FOLDS}.")
    settings = TrainerSettings.load(**({} if home is None else {"home": home}))
    with in_words(settings.work):
        document = _cross_validate(source, folds, groups, settings)
    if json_output:
        print_json(document)
    else:
        print(table(document), end="")  # noqa: T201  # the results
    return 0


def _cross_validate(source: str, folds: int, groups: bool, settings: TrainerSettings) -> dict[str, Any]:
    settings.work.mkdir(parents=True, exist_ok=True)
    seeing = Seeing(settings, settings.work)
    with tempfile.TemporaryDirectory(dir=settings.work, prefix="cross-validation-") as name:
        directory = Path(name)
        images, left_out = _images(source, groups, settings, seeing, directory / "encoded")
        parts = _parts(images, folds, settings.training.seed)
        return {
            "images": len(images),
            "roots": len({image.root_id for image in images}),
            "left_out": left_out,
            **_measure(images, parts, settings, seeing, directory),
        }


def _images(
    source: str, groups: bool, settings: TrainerSettings, seeing: Seeing, encoded: Path
) -> tuple[list[ManifestImage], dict[str, str]]:
    """The images, and why others are left out: by the path in a folder, by SHA-256 in a dataset."""
    if not Path(source).is_dir():
        return read_dataset(settings, source, encoded, seeing.cache)
    folder = read_labelled(Path(source), groups=groups)
    folder.link(encoded)
    for path, why in folder.unreadable.items():
        progress().print(f"Left out: {escape(shown(path))}: {escape(why)}")
    return folder.images, folder.unreadable


def _parts(images: Sequence[ManifestImage], folds: int, seed: int) -> list[Rows]:
    """The rows of each part: whole roots, and of each condition about as many."""
    roots = [image.root_id for image in images]
    if len(set(roots)) < 3 * folds:
        raise DatasetTooSmall(
            f"{count(len(set(roots)), 'root')} cannot be split into {folds} folds to train, validate and test on.",
            advice="Use fewer folds, or more pictures.",
        )
    return split(roots, strata_of(images), [1 / folds] * folds, seed)


def strata_of(images: Sequence[ManifestImage]) -> list[Hashable]:
    """Of each image, the condition that the fewest images show of those it shows; None for clear skin."""
    frequency = Counter(condition for image in images for condition in image.labels)
    return [min(image.labels, key=lambda condition: frequency[condition], default=None) for image in images]


def _measure(
    images: Sequence[ManifestImage],
    parts: Sequence[Rows],
    settings: TrainerSettings,
    seeing: Seeing,
    directory: Path,
) -> dict[str, Any]:
    """`folds`: each one's scores; `over_folds`: their means and deviations; `pooled`: of all pictures' answers.

    Pooled, each picture is decided by the thresholds of the model that answered it, and scores have 95% intervals; an
    AUC then also compares probabilities of different models.
    """
    sample = seeing.sample(images, directory / "encoded")
    strata = strata_of(images)
    probabilities: Probabilities = np.zeros((len(images), len(CONDITIONS), 4), np.float32)
    thresholds, neutral = (np.zeros((len(images), len(CONDITIONS))) for _ in range(2))
    measured = []
    for number, tested in enumerate(parts):
        others = np.setdiff1d(np.arange(len(images)), tested)
        roots = [images[row].root_id for row in others]
        shares = [each / (TRAIN_SHARE + VALIDATION_SHARE) for each in (TRAIN_SHARE, VALIDATION_SHARE)]
        learnt, kept = split(roots, [strata[row] for row in others], shares, settings.training.seed)
        judge = train_judge(
            part(sample, with_mirror_images(others[learnt], len(images))),
            part(sample, others[kept]),
            settings.training,
            seeing.filters,
            directory / f"{number}.pt",
        )
        testing = part(sample, tested)
        answered = judge.probabilities(testing)
        probabilities[tested], thresholds[tested], neutral[tested] = answered, judge.thresholds, judge.neutral
        scores = measure(testing.data.severity, answered, judge.thresholds, judge.neutral, testing.data.root_ids)
        measured.append({**scores, "thresholds": judge.thresholds})
        balanced = measured[-1]["overall"]["balanced_accuracy"]
        progress().print(f"fold {number + 1} of {len(parts)}: balanced accuracy {percent(balanced)}%")
    severity, roots = sample.data.severity[: len(images)], sample.data.root_ids[: len(images)]
    pooled = measure(severity, probabilities, thresholds, neutral, roots)
    figures = fold_metrics(severity, probabilities, thresholds, roots)
    pooled["overall"]["intervals"] = figures["overall"]["intervals"]
    for condition, scores in pooled["conditions"].items():
        scores["intervals"] = figures["conditions"][condition]["intervals"]
    over = spreads(measured, SCORES)
    over["overall"]["clear_recall"] = spread(each["overall"]["clear_recall"] for each in measured)
    return {"folds": measured, "over_folds": over, "pooled": pooled}


def table(document: Mapping[str, Any]) -> str:
    """The table for people: of each score mean ± standard deviation over the folds, and pooled."""
    over, pooled = document["over_folds"], document["pooled"]
    rows = []
    for condition, scores in pooled["conditions"].items():
        if scores["positives"]:
            rows.append(
                [condition_text(condition), f"{scores['positives']:,}", *_cells(over["conditions"][condition], scores)]
            )
    rows.append(["mean", f"{document['images']:,}", *_cells(over["overall"], pooled["overall"])])
    pictures, roots = count(document["images"], "picture"), count(document["roots"], "root")
    head = (
        f"{pictures} of {roots}, {len(document['folds'])} folds.\n"
        "In percent: mean ± standard deviation over the folds (all pictures together).\n\n"
    )
    bounds = interval(pooled["overall"]["intervals"]["balanced_accuracy"])
    foot = f"\nBalanced accuracy, all pictures together: 95% interval {bounds}.\n"
    if pooled["overall"]["clear_recall"] is not None:
        clear = _CELL.format(
            spread=points(over["overall"]["clear_recall"]), pooled=percent(pooled["overall"]["clear_recall"])
        )
        foot += f"Clear skin that is called so: {clear}.\n"
    return head + markdown_table(["condition", "shown", *_HEAD], rows) + foot


def _cells(over: Mapping[str, Any], pooled: Mapping[str, Any]) -> list[str]:
    return [_CELL.format(spread=points(over[score]), pooled=percent(pooled[score])) for score in TOLD]
