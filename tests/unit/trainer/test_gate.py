"""The gate and the fold it compares on."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from services.trainer.evaluate import balanced_fold
from services.trainer.gate import decide
from shared.taxonomy import Condition, Fold, Severity
from tests.unit.trainer.squares import Dataset


def scored(value: float | None) -> dict[str, Any]:
    return {"overall": {"balanced_accuracy": value}}


def test_without_a_live_model_the_candidate_is_promoted() -> None:
    assert decide(scored(0.1), None).promoted


def test_a_better_and_an_equal_model_are_promoted_and_a_worse_is_not() -> None:
    assert decide(scored(0.81), scored(0.80)).promoted
    assert decide(scored(0.80), scored(0.80)).promoted
    worse = decide(scored(0.79), scored(0.80))
    assert not worse.promoted
    assert "0.79" in worse.reason


def test_what_cannot_be_measured_does_not_replace_what_can() -> None:
    assert not decide(scored(None), scored(0.5)).promoted
    assert decide(scored(0.5), scored(None)).promoted


def unequal() -> Dataset:
    dataset = Dataset([], {})
    for number, condition in enumerate(Condition):
        for index in range(3 + number):
            dataset.add({condition: Severity.MILD}, 100 * number + index, fold=Fold.TEST)
        dataset.add({condition: Severity.MILD}, 100 * number + 99, fold=Fold.TRAIN)
    return dataset


def test_the_balanced_fold_has_as_many_of_each_condition_and_only_test_images() -> None:
    dataset = unequal()
    chosen = set(balanced_fold(dataset.images))
    images = [image for image in dataset.images if str(image.image_id) in chosen]
    assert {image.fold for image in images} == {Fold.TEST}
    assert Counter(condition for image in images for condition in image.labels) == dict.fromkeys(Condition, 3)


def test_the_balanced_fold_does_not_depend_on_order_or_time() -> None:
    dataset = unequal()
    shuffled = list(dataset.images)
    random.Random(1).shuffle(shuffled)
    assert balanced_fold(shuffled) == balanced_fold(dataset.images)


def test_images_with_several_conditions_never_overfill_one() -> None:
    dataset = unequal()
    for seed in range(4):
        dataset.add({Condition.ACNE: Severity.MILD, Condition.AGING: None}, 900 + seed, fold=Fold.TEST)
    for seed in range(9):
        dataset.add({}, 950 + seed, fold=Fold.TEST)
    chosen = set(balanced_fold(dataset.images))
    images = [image for image in dataset.images if str(image.image_id) in chosen]
    room = min(Counter(c for image in dataset.images if image.fold is Fold.TEST for c in image.labels).values())
    assert max(Counter(condition for image in images for condition in image.labels).values()) <= room
    assert sum(not image.labels for image in images) == room


def test_a_fold_of_clear_skin_is_taken_whole() -> None:
    dataset = Dataset([], {})
    for seed in range(3):
        dataset.add({}, seed, fold=Fold.TEST)
    assert len(balanced_fold(dataset.images)) == 3
