"""Counts what a dataset version's images are, for its datasheet and for the card of the model trained on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from shared.manifest import ManifestImage
from shared.taxonomy import Condition, Fold, Severity

IMPORTED = "imported"  # where an image came from that no provider made
UNKNOWN = "unknown"


class FoldSummary(BaseModel):
    """The originals of one fold, counted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    images: int = Field(description="Originals.")
    variants: int = Field(description="Flips and other copies of them; used in training alone.")
    roots: int = Field(description="Faces, each in one session: images of one root are no independent evidence.")
    clear: int = Field(description="Originals that show no condition, as far as their labels are complete.")
    incomplete: int = Field(description="Originals on which a condition that is not named may show as well.")
    conditions: dict[Condition, dict[str, int]] = Field(
        description='Originals that show each condition, by severity; "unknown": present and not graded.'
    )
    providers: dict[str, int] = Field(description='Originals by where they came from; "imported": from outside.')
    skin_tones: dict[str, int] = Field(description='Originals by step of the Monk scale, or "unknown".')


class DatasetSummary(BaseModel):
    """One dataset version, counted by fold."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    images: int = Field(description="Originals of all folds.")
    roots: int
    generated: int = Field(description="Originals that a provider made, drawn ones included.")
    folds: dict[Fold, FoldSummary]


def summarise(images: Sequence[ManifestImage]) -> DatasetSummary:
    """Count a manifest's images."""
    return DatasetSummary(
        images=len(images),
        roots=len({image.root_id for image in images}),
        generated=sum(image.provider is not None for image in images),
        folds={fold: _fold([image for image in images if image.fold is fold]) for fold in Fold},
    )


def _fold(images: Sequence[ManifestImage]) -> FoldSummary:
    return FoldSummary(
        images=len(images),
        variants=sum(len(image.variants) for image in images),
        roots=len({image.root_id for image in images}),
        clear=sum(image.complete and not image.labels for image in images),
        incomplete=sum(not image.complete for image in images),
        conditions={condition: _by_severity(images, condition) for condition in Condition},
        providers=_counted(image.provider or IMPORTED for image in images),
        skin_tones=_counted(UNKNOWN if image.skin_tone is None else f"{image.skin_tone:02d}" for image in images),
    )


def _by_severity(images: Sequence[ManifestImage], condition: Condition) -> dict[str, int]:
    shown = [image.labels[condition] for image in images if condition in image.labels]
    found = Counter(UNKNOWN if severity is None else severity.label for severity in shown)
    return {level: found[level] for level in (*(severity.label for severity in Severity), UNKNOWN)}


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
