"""What verdicts come to: a panel that agrees decides, and for one that does not another reviewer does."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import pytest

from services.labeler_api.campaigns.deciding import Open, Said, decision
from shared.events import Verdict


def good(reviewer: str, **labels: int | None) -> Said:
    """An acceptance."""
    return Said(reviewer, Verdict.ACCEPTED, labels)


def bad(reviewer: str, reason: str | None = None, labels: Mapping[str, int | None] | None = None) -> Said:
    """A rejection."""
    return Said(reviewer, Verdict.REJECTED, labels or {}, reason)


def test_of_one_reviewer_the_last_verdict_decides() -> None:
    verdicts = [good("A", acne=1), bad("B"), good("A", acne=2)]
    for count in (1, 2, 3):
        assert decision(verdicts[:count], 1) is verdicts[count - 1]


@pytest.mark.parametrize("required", [2, 3])
def test_nothing_is_decided_before_every_verdict_is_there(required: int) -> None:
    verdicts = [good(name, acne=1) for name in "ABC"]
    for count in range(required):
        assert decision(verdicts[:count], required) is Open.AWAITED
    assert decision(verdicts[:required], required) is verdicts[required - 1]


def test_one_reviewer_is_never_two() -> None:
    assert decision([good("A", acne=1)] * 5, 2) is Open.AWAITED


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (good("A", acne=1), bad("B")),
        (good("A", acne=1), good("B", acne=2)),
        (good("A", acne=1), good("B", acne=None)),
        (good("A", acne=1), good("B", acne=1, redness=1)),
        (good("A"), good("B", redness=1)),
    ],
)
def test_different_verdicts_are_disputed_until_another_reviewer_decides(one: Said, other: Said) -> None:
    assert decision([one, other], 2) is Open.DISPUTED
    assert decision([other, one], 2) is Open.DISPUTED
    for third in (good("C", acne=3), bad("C")):
        assert decision([one, other, third], 2) is third
        assert decision([one, other, third, good("A", aging=3)], 2) is third  # the panel cannot overrule it
    assert decision([one, other, bad("C"), good("D", acne=2)], 2) == good("D", acne=2)


def test_rejections_agree_whatever_their_reasons_and_labels() -> None:
    assert decision([bad("A", "hands", {"acne": 1}), bad("B", "blurred", {"acne": 2})], 2).__class__ is Said


def test_labels_are_the_same_in_any_order() -> None:
    assert decision([good("A", acne=1, aging=2), good("B", aging=2, acne=1)], 2) == good("B", acne=1, aging=2)


def test_a_reviewer_who_comes_to_think_otherwise_ends_a_dispute() -> None:
    second = good("B", acne=1)
    assert decision([good("A", acne=2), second, good("A", acne=1)], 2) == good("A", acne=1)


def test_of_three_any_one_that_differs_makes_a_dispute() -> None:
    for verdicts in permutations([good("A", acne=1), good("B", acne=1), good("C", acne=2)]):
        assert decision(verdicts, 3) is Open.DISPUTED


def test_without_verdicts_there_is_nothing_to_decide() -> None:
    assert decision([], 1) is Open.AWAITED
    assert decision([], 2) is Open.AWAITED
