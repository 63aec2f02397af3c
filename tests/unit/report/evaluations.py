"""An evaluation of made-up answers, for tests of the report."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from services.trainer.data import CONDITIONS, FoldData
from services.trainer.datasheet import datasheet
from services.trainer.evaluation_file import evaluate
from services.trainer.scores import answers
from services.trainer.subgroups import measure_groups
from shared.evaluation import Compute, Evaluation
from shared.model_card import ModelMetadata
from tests.unit.model_server.tiny_model import metadata

IMAGES = 48


def evaluation(names: list[str] | None = None, *, seed: int = 1, images: int = IMAGES, **changes: Any) -> Evaluation:
    """Answers that are mostly right; half of the people are men, who are seen less well."""
    random = np.random.default_rng(seed)
    severity = random.choice([0, 0, 1, 2, 3], (images, len(CONDITIONS))).astype(np.int8)
    men = np.arange(images) % 2 == 1
    noise = random.random(severity.shape) * np.where(men, 1.6, 0.9)[:, None]
    score = np.clip(0.55 * (severity > 0) + 0.45 * noise, 0.01, 0.99)
    shares = np.stack([1 - score, score / 2, score / 3, score / 6], -1).astype(np.float32)
    ids = names or [f"image-{n}" for n in range(images)]
    data = FoldData(ids, list(ids), np.arange(images), severity, cast("Any", SimpleNamespace()))
    about: ModelMetadata = metadata("v1", **changes)
    named = [{"sex": "male" if is_man else "female", "origin": "imported"} for is_man in men]
    groups = measure_groups(severity, answers(shares, [0.5] * len(CONDITIONS)), data.root_ids, named)
    return Evaluation(
        version="v1",
        sha256="0" * 64,
        dataset_version="ds-1",
        metadata=about,
        **evaluate(data, shares, about, groups, named),
        datasheet=datasheet([]),
        compute=Compute(
            seconds={"train": 12.0}, processor_seconds=20, peak_memory_bytes=5 * 10**8, threads=2, device="cpu"
        ),
        history=tuple(
            {"epoch": n, "epochs": 3, "train_loss": 1 / n, "validation_loss": 1.1 / n, "metrics": {"accuracy": 0.5}}
            for n in (1, 2, 3)
        ),
        best_epoch=2,
        baseline={},
    )
