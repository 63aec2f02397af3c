"""The arms of the seed's experiment: which pictures each one trains on. Pure rules.

The seed's start has 654 pictures, its remedy brings four conditions to 200: 1,174. Whatever pictures there are, the
sets have these two shapes, at one scale. A condition's pictures stand in one order, and each set takes the first of
them, so that a larger set is a smaller one with pictures added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.demo.starting_set import REBALANCED, TARGET, UNBALANCED
from shared.errors import DatasetTooSmall
from shared.manifest import ManifestImage
from shared.taxonomy import Condition

Counts = Mapping[Condition, int]
Rows = npt.NDArray[np.int64]

MIN_EACH = 6  # pictures of a condition, so that none of an arm's folds lacks it
TEST_SHARE = 0.2  # of a folder's roots that are kept apart for the test fold


class Set(StrEnum):
    """Which pictures an arm has."""

    START = "start"
    BALANCED = "balanced"
    OLD_PROPORTIONS = "old_proportions"


@dataclass(frozen=True)
class Arm:
    """One way to train. `leaks`: it is flipped before it is split.

    `class_weights`: what is rare weighs more. `sampling`: as the setting of training; balanced shows it more often.
    """

    name: str
    title: str
    pictures: Set
    class_weights: bool = True
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    leaks: bool = False


ARMS = (
    Arm("start_plain", "start, no class weights", Set.START, class_weights=False),
    Arm("balanced_plain", "balanced, no class weights", Set.BALANCED, class_weights=False),
    Arm("start_sampled", "start, balanced sampling", Set.START, class_weights=False, sampling="balanced"),
    Arm("start", "start", Set.START),
    Arm("balanced", "balanced", Set.BALANCED),
    Arm("old_proportions", "as many, in the old proportions", Set.OLD_PROPORTIONS),
    Arm("start_leaking", "start, flipped before the split", Set.START, leaks=True),
    Arm("balanced_leaking", "balanced, flipped before the split", Set.BALANCED, leaks=True),
)
"""The seed's start and remedy without and with class weights, and the controls."""


def shapes(conditions: Sequence[Condition]) -> dict[Set, dict[Condition, int]]:
    """The numbers of pictures of each set at scale 1, of some of the conditions."""
    start = {condition: UNBALANCED[condition] for condition in conditions}
    balanced = {condition: TARGET if condition in REBALANCED else count for condition, count in start.items()}
    return {
        Set.START: start,
        Set.BALANCED: balanced,
        Set.OLD_PROPORTIONS: apportioned(start, sum(balanced.values())),
    }


def scaled(counts: Counts, scale: float) -> dict[Condition, int]:
    """The numbers at another scale, MIN_EACH at least."""
    return {condition: max(MIN_EACH, round(count * scale)) for condition, count in counts.items()}


def needed(conditions: Sequence[Condition], scale: float) -> dict[Condition, int]:
    """How many pictures of each condition the largest set has of it."""
    each = [scaled(counts, scale) for counts in shapes(conditions).values()]
    return {condition: max(counts[condition] for counts in each) for condition in conditions}


def fitting_scale(there: Counts) -> float:
    """The largest scale at which the pictures that are there are enough for every set.

    Raises DatasetTooSmall where a condition has fewer than MIN_EACH, or where there are not two conditions.
    """
    for condition, count in there.items():
        if count < MIN_EACH:
            raise DatasetTooSmall(
                f"'{condition}' has {count} pictures beside the test fold; {MIN_EACH} are needed.",
                advice="Add pictures of it, or take its folder away.",
            )
    if len(there) < 2:
        raise DatasetTooSmall("Balance takes two conditions.", advice="Name a folder that holds more of them.")
    most = needed(list(there), 1.0)
    return min(there[condition] / most[condition] for condition in there)


def apportioned(shares: Counts, total: int) -> dict[Condition, int]:
    """Split a total in proportion to shares, by largest remainders (Hamilton's method)."""
    exact = {condition: total * share / sum(shares.values()) for condition, share in shares.items()}
    found = {condition: int(value) for condition, value in exact.items()}
    by_remainder = sorted(exact, key=lambda condition: found[condition] - exact[condition])
    for condition in by_remainder[: total - sum(found.values())]:
        found[condition] += 1
    return found


def condition_of(image: ManifestImage) -> Condition | None:
    """The one condition that an image shows; None for clear skin.

    Raises ValueError for an image of several: it cannot be taken from one of them alone.
    """
    if len(image.labels) > 1:
        raise ValueError("The image shows several conditions.")
    return next(iter(image.labels), None)


def in_order(images: Sequence[ManifestImage], seed: int) -> dict[Condition | None, list[int]]:
    """The numbers of images by condition, in random order by seed, the first n as evenly graded as all of them are.

    The key None is clear skin.
    """
    random = np.random.default_rng(seed)
    graded: dict[Condition | None, dict[int | None, list[int]]] = {}
    for number in random.permutation(len(images)).tolist():
        condition = condition_of(images[number])
        severity = None if condition is None else images[number].labels[condition]
        graded.setdefault(condition, {}).setdefault(severity, []).append(number)
    found: dict[Condition | None, list[int]] = {}
    for condition, by_severity in graded.items():
        places = [
            ((rank + 0.5) / len(numbers), severity or 0, number)
            for severity, numbers in by_severity.items()
            for rank, number in enumerate(numbers)
        ]
        found[condition] = [number for _, _, number in sorted(places)]
    return found


def chosen(order: Mapping[Condition | None, Sequence[int]], counts: Counts) -> Rows:
    """The first images of each condition, so many as counts say, and all of clear skin."""
    found = [number for condition, count in counts.items() for number in order[condition][:count]]
    return np.array([*found, *order.get(None, ())], np.int64)


def kept_apart(images: Sequence[ManifestImage]) -> tuple[list[ManifestImage], list[ManifestImage]]:
    """Split a folder's images into those that arms are made of, and the test fold: TEST_SHARE of each one's roots.

    Which ones follows from the images alone, so that every seed and every arm is measured on the same.
    """
    ordered = sorted(images, key=lambda image: image.sha256)
    by_condition: dict[Condition | None, dict[str, None]] = {}
    for image in ordered:
        by_condition.setdefault(condition_of(image), {})[str(image.root_id)] = None
    tested: set[str] = set()
    placed: set[str] = set()
    for own in by_condition.values():
        free = [root for root in own if root not in placed]
        tested.update(free[: round(len(free) * TEST_SHARE)])
        placed.update(free)
    return (
        [image for image in ordered if str(image.root_id) not in tested],
        [image for image in ordered if str(image.root_id) in tested],
    )
