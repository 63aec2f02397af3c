"""Cards of models as the trainer writes them, with figures of their own."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from shared.dataset_summary import summarise
from shared.manifest import ManifestImage, ManifestVariant
from shared.model_card import BackboneUsed, Calibration, DetectorUsed, LeftOut, ModelCard, ModelMetadata, model_key
from shared.preprocessing import NEWEST
from shared.taxonomy import Condition, Fold, Severity

MODEL = b"the bytes of a model"
SCORES = ("accuracy", "balanced_accuracy", "recall", "specificity", "precision", "f1")


def fold_metrics(seed: int) -> dict[str, Any]:
    """What is measured on a fold, at random."""
    return {
        "overall": {"n": 187, "exact_match": 0.7766, **_figures(random.Random(seed))},
        "conditions": {
            condition.value: {"n": 187, "positives": 20 + number, **_figures(random.Random(f"{seed} {condition}"))}
            for number, condition in enumerate(Condition)
        },
    }


def _figures(chance: random.Random) -> dict[str, Any]:
    values = {name: chance.uniform(0.6, 0.9) for name in SCORES}
    return {
        **values,
        "auc": chance.uniform(0.8, 0.95),
        "severity_mae": None,
        "intervals": {name: [value - 0.0517, value + 0.0419] for name, value in values.items()},
    }


def comparison(live_version: str) -> dict[str, Any]:
    """A model and the live one on the same pictures."""
    return {
        "fold": "test",
        "candidate": fold_metrics(1),
        "live": fold_metrics(2),
        "live_version": live_version,
        "difference": {"difference": 0.0371, "lower": 0.0024, "upper": 0.0713},
        "verdict": "not_worse",
        "reason": "It is not worse.",
    }


def manifest() -> list[ManifestImage]:
    """Three images of every condition and fold, some of them generated."""
    images = []
    for number in range(3 * len(Condition) * len(Fold)):
        fold = list(Fold)[number % 3]
        variant = ManifestVariant(operation="hflip", key=f"images/{number}/hflip.png", sha256="a" * 64)
        images.append(
            ManifestImage(
                image_id=UUID(int=number),
                root_id=UUID(int=number),
                key=f"images/{number}/original.png",
                sha256="b" * 64,
                fold=fold,
                labels={list(Condition)[number % 7]: [*Severity, None][number % 4]},
                skin_tone=1 + number % 10,
                provider="procedural" if number % 5 == 0 else None,
                variants=(variant,) if fold is Fold.TRAIN else (),
            )
        )
    return images


def card(version: str = "m-0123456789ab", **changes: Any) -> ModelCard:
    """A whole card."""
    metadata = ModelMetadata(
        version=version,
        input_size=224,
        conditions=tuple(Condition),
        severities=("absent", "mild", "moderate", "severe"),
        thresholds={condition: 0.1234 + number / 100 for number, condition in enumerate(Condition)},
        calibration=dict.fromkeys(Condition, Calibration(slope=1.1, shifts=(0.1, 0.2, 0.3))),
        backbone=BackboneUsed(
            name="efficientnet-lite0", licence="Apache-2.0", source="a package", trained_on="ImageNet", sha256="c" * 64
        ),
        detector=DetectorUsed(name="yunet", licence="MIT", source="another package", sha256="d" * 64),
        preprocessing=NEWEST.described(224),
        dataset_version="ds-1",
        manifest_sha256="e" * 64,
        providers={"imported": 16, "procedural": 5},
        warnings=("It was trained on drawn faces.",),
    )
    fields: dict[str, Any] = {
        "version": version,
        "key": model_key(version),
        "sha256": hashlib.sha256(MODEL).hexdigest(),
        "run_id": "run-0123456789ab",
        "campaign_id": "c",
        "dataset_version": "ds-1",
        "created_at": datetime(2026, 11, 27, 20, 16, tzinfo=UTC),
        "metadata": metadata,
        "metrics": {"test": fold_metrics(3), "baseline": {"test": fold_metrics(4)}, "history": [], "best_epoch": 1},
        "comparison": None,
        "parity": {"max_abs_difference": 3.1e-07, "tolerance": 1e-4, "images": 8.0},
        "config": {"gate": {"promoted": True, "verdict": "first", "reason": "No model was live."}},
        "intended_use": "Sorting pictures. Not a medical device.",
        "left_out": (LeftOut(image_id="1", key="images/1/original.png", reason="It is damaged."),),
        "dataset": summarise(manifest()),
    }
    return ModelCard(**{**fields, **changes})
