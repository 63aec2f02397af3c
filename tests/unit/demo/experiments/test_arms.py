"""Which pictures each arm trains on, and how they are split: the seed's numbers, nested sets, whole roots."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from uuid import UUID, uuid5

import numpy as np
import pytest

from services.demo.experiments.arms import (
    ARMS,
    Set,
    apportioned,
    chosen,
    condition_of,
    fitting_scale,
    in_order,
    kept_apart,
    needed,
    scaled,
    shapes,
)
from services.demo.experiments.splitting import split
from shared.errors import DatasetTooSmall
from shared.manifest import ManifestImage
from shared.taxonomy import Condition, Fold, Severity

SPACE = UUID(int=0)
SHARES = (0.7, 0.15, 0.15)


def image(number: int, *labels: tuple[Condition, Severity | None], root: int | None = None) -> ManifestImage:
    return ManifestImage(
        image_id=uuid5(SPACE, str(number)),
        root_id=uuid5(SPACE, str(number if root is None else root)),
        key=f"{number}.png",
        sha256=f"{number:064}",
        fold=Fold.TRAIN,
        labels=dict(labels),
    )


def images(each: int, *conditions: Condition, clear: int = 0) -> list[ManifestImage]:
    found = [
        image(c * 1000 + n, (condition, Severity(1 + n % 3)))
        for c, condition in enumerate(conditions)
        for n in range(each)
    ]
    return found + [image(99_000 + n) for n in range(clear)]


def test_the_sets_have_the_seeds_numbers() -> None:
    found = shapes(tuple(Condition))
    assert sum(found[Set.START].values()) == 654
    assert sum(found[Set.BALANCED].values()) == sum(found[Set.OLD_PROPORTIONS].values()) == 1174
    assert [found[Set.BALANCED][c] for c in Condition] == [122, 200, 200, 200, 200, 126, 126]
    for condition, count in found[Set.OLD_PROPORTIONS].items():
        assert abs(count - found[Set.START][condition] * 1174 / 654) < 1
    assert {arm.pictures for arm in ARMS} == set(Set)


def test_apportioned_gives_the_largest_remainders_more() -> None:
    acne, redness, aging = Condition.ACNE, Condition.REDNESS, Condition.AGING
    assert apportioned({acne: 1, redness: 1, aging: 1}, 4) in (
        {acne: 2, redness: 1, aging: 1},
        {acne: 1, redness: 2, aging: 1},
        {acne: 1, redness: 1, aging: 2},
    )
    assert apportioned({acne: 6, redness: 3, aging: 2}, 10) == {acne: 5, redness: 3, aging: 2}  # 5.45, 2.73, 1.82


def test_a_scale_fits_the_pictures_that_are_there() -> None:
    there = {Condition.ACNE: 100, Condition.REDNESS: 60, Condition.AGING: 300}
    scale = fitting_scale(there)
    most = needed(list(there), scale)
    assert all(most[condition] <= there[condition] for condition in there)
    assert any(most[condition] == there[condition] for condition in there)
    assert fitting_scale(needed(tuple(Condition), 1.0)) == 1.0


@pytest.mark.parametrize("there", [{Condition.ACNE: 100}, {Condition.ACNE: 100, Condition.REDNESS: 5}])
def test_too_few_pictures_are_told(there: dict[Condition, int]) -> None:
    with pytest.raises(DatasetTooSmall):
        fitting_scale(there)


def test_a_larger_set_is_a_smaller_one_with_pictures_added() -> None:
    pictures = images(60, Condition.ACNE, Condition.REDNESS, clear=5)
    order = in_order(pictures, 3)
    some, more = (
        set(chosen(order, {Condition.ACNE: acne, Condition.REDNESS: redness}).tolist())
        for acne, redness in ((30, 12), (30, 40))
    )
    assert some < more
    assert len(more) == 30 + 40 + 5  # all of clear skin
    shown = Counter(condition_of(pictures[number]) for number in more)
    assert shown == {Condition.ACNE: 30, Condition.REDNESS: 40, None: 5}
    assert set(chosen(in_order(pictures, 4), {Condition.ACNE: 30, Condition.REDNESS: 12}).tolist()) != some


def test_the_first_pictures_are_graded_as_all_of_them_are() -> None:
    pictures = [image(n, (Condition.ACNE, None if n % 4 == 0 else Severity.MILD)) for n in range(80)]
    order = in_order(pictures, 1)[Condition.ACNE]
    assert sorted(order) == list(range(80))
    for count in (8, 20, 41):
        ungraded = sum(pictures[number].labels[Condition.ACNE] is None for number in order[:count])
        assert abs(ungraded - count / 4) <= 1


def test_an_image_of_several_conditions_belongs_to_no_set() -> None:
    with pytest.raises(ValueError, match="several"):
        condition_of(image(1, (Condition.ACNE, None), (Condition.REDNESS, None)))


def test_the_test_fold_shares_no_root_and_does_not_depend_on_the_order() -> None:
    pictures = [image(n, (Condition(list(Condition)[n % 2]), Severity.MILD), root=n // 3) for n in range(120)]
    pool, test = kept_apart(pictures)
    assert len(pool) + len(test) == 120
    assert not {each.root_id for each in pool} & {each.root_id for each in test}
    assert 0.15 < len(test) / 120 < 0.25
    assert {condition_of(each) for each in test} == {condition_of(each) for each in pool}
    assert kept_apart(pictures[::-1]) == (pool, test)


@pytest.mark.parametrize("seed", range(5))
def test_a_split_keeps_roots_whole_and_shares_of_each_stratum(seed: int) -> None:
    random = np.random.default_rng(seed)
    roots = random.integers(0, 150, 400).tolist()
    strata = [root % 3 for root in roots]
    parts = split(roots, strata, SHARES, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(400))
    owners = [{roots[item] for item in part} for part in parts]
    assert all(not one & other for one in owners for other in owners if one is not other)
    for stratum in range(3):
        own = [len({root for root in part if root % 3 == stratum}) for part in owners]
        for count, share in zip(own, SHARES, strict=True):
            assert abs(count - share * sum(own)) <= 1
    assert all((np.diff(part) > 0).all() for part in parts)
    again = split(roots, strata, SHARES, seed)
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))


def test_a_root_of_two_strata_is_in_one_part() -> None:
    parts = split([1, 2, 1, 3, 2, 4], ["a", "a", "b", "b", "b", "b"], (0.5, 0.5), 0)
    assert all({0, 2} <= set(part) or not {0, 2} & set(part) for part in map(set, (part.tolist() for part in parts)))


def test_scales_keep_the_order_of_sizes() -> None:
    start = shapes(tuple(Condition))[Set.START]
    sizes = [sum(scaled(start, scale).values()) for scale in (0.01, 0.1, 0.5, 1.0)]
    assert all(one < other for one, other in pairwise(sizes))
    assert min(scaled(start, 0.01).values()) >= 5
