"""Agreement: kappa is what its definition and scikit-learn say, over the right pairs of answers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from uuid import UUID

import pytest
from sklearn.metrics import cohen_kappa_score

from services.labeler_api.campaigns.agreement import Agreed, Opinion, overall, pairs_of, weighted_kappa
from shared.taxonomy import Condition

ACNE, REDNESS = Condition.ACNE, Condition.REDNESS


def opinion(image: int, reviewer: str, grades: Mapping[Condition, int] | None) -> Opinion:
    """An acceptance with its grades; None: a rejection."""
    return Opinion(UUID(int=image), reviewer, grades is not None, grades or {})


@pytest.mark.parametrize("seed", range(50))
def test_kappa_is_what_scikit_learn_says(seed: int) -> None:
    chance = random.Random(seed)
    levels = chance.choice((2, 4))
    answers = [(chance.randrange(levels), chance.randrange(levels)) for _ in range(chance.randint(2, 40))]
    answers.append((0, levels - 1))  # so that it is defined
    one, other = zip(*answers, strict=True)
    weights = "quadratic" if levels > 2 else None
    expected = cohen_kappa_score(one, other, labels=range(levels), weights=weights)
    assert weighted_kappa(answers) == pytest.approx(expected)


def test_kappa_of_little_is_defined_or_not() -> None:
    assert weighted_kappa([]) is None
    assert weighted_kappa([(2, 2), (2, 2)]) is None  # both always say the same: so would chance
    assert weighted_kappa([(0, 0), (3, 3)]) == 1
    assert weighted_kappa([(0, 3), (3, 0)]) == -1
    # A near miss weighs a ninth of the widest one.
    assert weighted_kappa([(0, 1), (3, 3), (0, 0)]) > weighted_kappa([(0, 3), (3, 3), (0, 0)])  # type: ignore[operator]


def test_each_two_reviewers_are_compared_on_the_images_of_both() -> None:
    opinions = [
        opinion(1, "A", {ACNE: 3}),  # replaced by the next
        opinion(1, "A", {ACNE: 0}),
        opinion(1, "B", {ACNE: 0}),
        opinion(2, "B", {ACNE: 2, REDNESS: 1}),
        opinion(2, "A", {ACNE: 2}),
        opinion(3, "A", None),
        opinion(3, "B", {ACNE: 1}),
        opinion(3, "C", {ACNE: 1}),
        opinion(4, "C", {ACNE: 1}),
    ]
    pairs = {pair.reviewers: pair for pair in pairs_of(opinions)}
    assert set(pairs) == {("A", "B"), ("A", "C"), ("B", "C")}
    assert pairs["A", "B"].conditions[ACNE] == Agreed(2, 1.0)  # the rejected one says nothing of acne
    assert pairs["A", "B"].conditions[REDNESS] == Agreed(0, None)  # one alone named it
    assert pairs["A", "B"].verdicts == Agreed(3, 0.0)
    assert pairs["A", "C"].verdicts.images == pairs["B", "C"].verdicts.images == 1


def test_the_whole_is_the_mean_of_the_pairs_for_which_it_is_defined() -> None:
    assert overall([Agreed(3, 0.5), Agreed(5, None), Agreed(40, 1.0)]) == Agreed(48, 0.75)
    assert overall([]) == Agreed(0, None)
