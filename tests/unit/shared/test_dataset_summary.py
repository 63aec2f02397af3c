"""What a dataset version's images are, counted."""

from __future__ import annotations

from uuid import UUID

from shared.dataset_summary import summarise
from shared.manifest import ManifestImage, ManifestVariant
from shared.taxonomy import Condition, Fold, Severity

FLIP = ManifestVariant(operation="hflip", key="images/a/hflip.png", sha256="b" * 64)


def image(number: int, *, root: int | None = None, fold: Fold = Fold.TRAIN, **said: object) -> ManifestImage:
    fields = {"labels": {}, "variants": (FLIP,), **said}
    return ManifestImage.model_validate(
        {
            "image_id": UUID(int=number),
            "root_id": UUID(int=number if root is None else root),
            "key": "images/a/original.png",
            "sha256": "a" * 64,
            "fold": fold,
            **fields,
        }
    )


def test_images_are_counted_by_fold_condition_severity_origin_and_tone() -> None:
    found = summarise(
        [
            image(1, labels={Condition.ACNE: Severity.MILD}, skin_tone=3),
            image(2, root=1, labels={Condition.ACNE: None, Condition.AGING: Severity.SEVERE}, provider="procedural"),
            image(3, skin_tone=10, variants=()),
            image(4, complete=False),
            image(5, fold=Fold.TEST, labels={Condition.REDNESS: Severity.MODERATE}, provider="openai", variants=()),
        ]
    )
    assert (found.images, found.roots, found.generated) == (5, 4, 2)
    train, test = found.folds[Fold.TRAIN], found.folds[Fold.TEST]
    assert (train.images, train.variants, train.roots, train.clear, train.incomplete) == (4, 3, 3, 1, 1)
    assert train.conditions[Condition.ACNE] == {"mild": 1, "moderate": 0, "severe": 0, "unknown": 1}
    assert train.conditions[Condition.AGING] == {"mild": 0, "moderate": 0, "severe": 1, "unknown": 0}
    assert train.providers == {"imported": 3, "procedural": 1}
    assert train.skin_tones == {"03": 1, "10": 1, "unknown": 2}
    assert (test.images, test.providers) == (1, {"openai": 1})
    assert found.folds[Fold.VALIDATION].images == 0


def test_every_condition_and_fold_is_named_where_there_is_nothing() -> None:
    found = summarise([])
    assert set(found.folds) == set(Fold)
    assert all(set(fold.conditions) == set(Condition) for fold in found.folds.values())
