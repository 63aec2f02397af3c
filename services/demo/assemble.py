"""Puts the demo's report together from what the services answered; no number is made here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.console.import_folder import Labels, read_folder
from services.demo.report.document import Report
from services.demo.report.faces import Face
from shared.documents.balance import Balance
from shared.documents.rebalances import Campaign, PlanDocument, TrainedModel
from shared.taxonomy import Condition, Severity

FOLD = "test"  # what both models are compared on


class TrainedCampaign(Campaign):
    """A campaign that has its model."""

    model: TrainedModel


def assemble(
    *,
    plan: PlanDocument,
    balance_before: Balance,
    balance_after: Balance,
    before: TrainedCampaign,
    after: TrainedCampaign,
    prediction: Mapping[str, Any],
    seconds: Mapping[str, float],
    peak_memory_mb: float,
    swap: Mapping[str, int],
    versions: Mapping[str, str],
    seed: int,
    scale: float,
) -> Report:
    """The report. `before` and `after` are the two campaigns, `swap` the requests sent while models changed."""
    model = after.model
    comparison = model.comparison or {}
    return Report.model_validate(
        {
            "plan": plan.json_object(),
            "dataset": {
                "before": _originals(balance_before),
                "after": _originals(balance_after),
                "originals": balance_after.images.accepted,
                "variants": balance_after.variants,
            },
            "models": {
                "before": _evaluation(comparison.get("live"), before),
                "after": _evaluation(comparison.get("candidate") or model.metrics[FOLD], after),
                "baseline": model.metrics["baseline"].get(FOLD),
            },
            "promotion": {
                "promoted": model.promoted,
                "version": model.version,
                "reason": _reason(model, before.model.version),
            },
            "prediction": prediction,
            "seconds": seconds,
            "peak_memory_mb": peak_memory_mb,
            "swap": swap,
            "versions": versions,
            "seed": seed,
            "date": datetime.now(UTC),
            "scale": scale,
        }
    )


def _originals(balance: Balance) -> dict[str, int]:
    return {condition.value: balance.conditions[condition].accepted for condition in Condition}


def _evaluation(metrics: Mapping[str, Any] | None, campaign: TrainedCampaign) -> dict[str, Any] | None:
    if metrics is None:
        return None
    history = campaign.training.history if campaign.training else None
    epochs = [epoch.json_object() for epoch in history or ()]
    return {**metrics, "version": campaign.model.version, "training": epochs}


def _reason(model: TrainedModel, earlier: str) -> str:
    fate = "went live in place of" if model.promoted else "was not shown to be as good, on the same test pictures, as"
    return f"{model.version} {fate} {earlier}."


def sample_faces(dataset: Path) -> list[Face]:
    """One picture of every condition and severity, for people to look at."""
    wanted: dict[tuple[Condition, Severity], Path] = {}
    for path, labels in read_folder(dataset):
        key = _single(labels)
        if key is not None:
            wanted.setdefault(key, path)
    return [
        (condition.value, severity.label, path.read_bytes()) for (condition, severity), path in sorted(wanted.items())
    ]


def _single(labels: Labels) -> tuple[Condition, Severity] | None:
    if len(labels) != 1:
        return None
    ((condition, severity),) = labels.items()
    return None if severity is None else (condition, severity)
