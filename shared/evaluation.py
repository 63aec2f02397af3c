"""What was measured of a model on its test fold: `models/<version>/evaluation-<hash>.json`, which its card names.

It holds every answer, so that a report can be drawn without asking the model again. Shares and probabilities are from
0 to 1; an interval is a 95% one; null: not defined, such as the recall of a condition that no test picture shows.
"""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.model_card import ModelMetadata, model_key
from shared.taxonomy import Condition

ENOUGH_ROOTS = 20  # of a group's test pictures: below, its figures are told, and nobody is alarmed by them
GAP_ALARM = 0.1  # of balanced accuracy between a kind's best and its worst group


class Part(BaseModel):
    """Base of an evaluation and its parts."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Figures(Part):
    """Measures by name, as `services/trainer/measures.py` defines them, each with its interval."""

    values: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]


class ReliabilityBin(Part):
    """The pictures whose probability is in one tenth: how many, their mean probability, and the share that show it."""

    images: int
    probability: float
    share: float


class ConditionEvaluation(Figures):
    """One condition: its measures, and what they were made from."""

    images: int = Field(description="Test pictures of which it is known whether they show it.")
    positives: int = Field(description="Those that do.")
    threshold: float
    presence: tuple[tuple[int, int], tuple[int, int]] = Field(
        description="Pictures by what they show (not, shown) and what was answered (no, yes)."
    )
    severity: tuple[tuple[int, ...], ...] = Field(
        description="Graded pictures by their severity, absent first, and the one that was answered."
    )
    reliability: tuple[ReliabilityBin, ...]
    ece_before: float | None = Field(description="Expected calibration error of the probabilities before calibration.")
    reliability_before: tuple[ReliabilityBin, ...]


class Group(Figures):
    """Test pictures of one kind of people or origin, all conditions' answers together.

    `balanced_accuracy` is the mean of `recall`, of all labels that are present, and 1 - `false_positive_rate`.
    """

    kind: str = Field(description="tone_band, tone, age_band, sex or origin.")
    name: str
    images: int
    roots: int
    enough: bool = Field(description="Whether its roots, and those that show something, are enough to alarm anybody.")


class Gap(Part):
    """Between the best and the worst group of a kind that have enough roots, in balanced accuracy."""

    kind: str
    best: str
    worst: str
    gap: float
    alarm: bool


class Judged(Part):
    """One test picture: its labels and the model's probabilities, by the order of the conditions.

    `labels`: 0 absent, 1 to 3 the severity, -1 present and not graded, -2 not known. `probabilities`: of absent, mild,
    moderate and severe. `groups`: the name of its group of each kind that is known of it.
    """

    image_id: str
    root_id: str
    labels: tuple[int, ...]
    probabilities: tuple[tuple[float, float, float, float], ...]
    groups: dict[str, str]


class FoldSheet(Part):
    """One fold in numbers: originals, of them how many of which origin, tone and so on, and how severe."""

    images: int
    roots: int
    variants: int
    groups: dict[str, dict[str, int]] = Field(description="Originals by kind and name; `unknown` where nobody said.")
    conditions: dict[Condition, dict[str, int]] = Field(
        description="Originals that show it, by severity; `ungraded`; `unknown` where nobody said."
    )


class Compute(Part):
    """What the training took. `seconds`: wall time by stage."""

    seconds: dict[str, float]
    processor_seconds: float
    peak_memory_bytes: int
    threads: int
    device: str


class Evaluation(Part):
    """The whole of the file."""

    version: str
    sha256: str = Field(description="SHA-256 of the model's ONNX file, in hexadecimal.")
    dataset_version: str
    fold: str
    images: int
    roots: int
    metadata: ModelMetadata
    overall: Figures = Field(description="Means over the conditions, and two shares of images.")
    conditions: dict[Condition, ConditionEvaluation]
    groups: tuple[Group, ...]
    gaps: tuple[Gap, ...]
    pictures: tuple[Judged, ...]
    datasheet: dict[str, FoldSheet] = Field(description="By fold.")
    compute: Compute
    history: tuple[dict[str, Any], ...] = Field(description="What each epoch measured.")
    best_epoch: int
    baseline: dict[str, Any] = Field(description="Scores of the baseline on the same pictures.")


def evaluation_key(version: str, data: bytes) -> str:
    """Key of a version's evaluation. It names the content: two replicas at one run never write the same key twice."""
    digest = hashlib.sha256(data).hexdigest()[:16]
    return f"{model_key(version).removesuffix('model.onnx')}evaluation-{digest}.json"
