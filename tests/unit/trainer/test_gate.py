"""The gate: simulated models whose true quality is known, on folds of the sizes that datasets have."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from services.trainer.comparison import MIN_ROOTS, Difference, compare
from services.trainer.data import CONDITIONS, UNKNOWN, Severities
from services.trainer.gate import MARGIN, Verdict, decide

CASES = 120  # simulated comparisons: 5% of them are 6
RESAMPLES = 300  # enough for a share of cases; the trainer takes more for one
LIVE = 0.85  # recall and specificity of the simulated live model

RARE = [2, 20, 20, 20, 20, 20, 20]  # test images that show each condition; as the fold of which 14 used to decide
DEMO = [21] * 7  # the fold of the demo's second model
SMALL = [6] * 7


def labels(images: list[int], clear: int) -> Severities:
    """Images that show one condition each, and some of clear skin."""
    shown = np.repeat(np.arange(len(images) + 1), [*images, clear])
    severity: Severities = (shown[:, None] == np.arange(len(images))).astype(np.int8)
    return severity


def verdicts(images: list[int], quality: float, *, copies: int = 1, seed: int = 1) -> Counter[Verdict]:
    """How the gate decides on a model of this recall and specificity, where the live one's are LIVE.

    Half of the answers depend on the image alone, for both models; `copies`: images of one root, which both models
    answer alike.
    """
    random = np.random.default_rng(seed)
    severity = labels(images, clear=30)
    roots = [str(n) for n in range(len(severity))] * copies
    found: Counter[Verdict] = Counter()
    for _ in range(CASES):
        hardness = random.random(severity.shape)
        own = np.where(random.random(severity.shape) < 0.5, hardness, random.random(severity.shape))
        live, candidate = ((luck < right) == (severity > 0) for luck, right in ((hardness, LIVE), (own, quality)))
        difference = compare(
            *(np.tile(severity, (copies, 1)), roots),
            *(np.tile(candidate, (copies, 1)), np.tile(live, (copies, 1))),
            resamples=RESAMPLES,
        )
        found[decide(difference).verdict] += 1
    return found


@pytest.mark.parametrize("images", [RARE, DEMO, SMALL], ids=["one rare condition", "the demo's", "small"])
def test_a_clearly_worse_model_goes_live_in_under_five_of_a_hundred_cases(images: list[int]) -> None:
    assert verdicts(images, LIVE - 0.1)[Verdict.NOT_WORSE] < 0.05 * CASES
    assert verdicts(images, LIVE - MARGIN)[Verdict.NOT_WORSE] <= 0.05 * CASES + 3  # on the border: the rate itself


@pytest.mark.parametrize("images", [RARE, DEMO, SMALL], ids=["one rare condition", "the demo's", "small"])
@pytest.mark.parametrize("better", [0.0, 0.05])
def test_an_equal_or_better_model_is_called_worse_in_at_most_five_of_a_hundred_cases(
    images: list[int], better: float
) -> None:
    assert verdicts(images, LIVE + better)[Verdict.WORSE] <= 0.05 * CASES


def test_on_a_fold_of_twenty_images_a_condition_an_equal_model_mostly_goes_live_and_a_better_one_does() -> None:
    assert verdicts(DEMO, LIVE)[Verdict.NOT_WORSE] > 0.8 * CASES
    assert verdicts(DEMO, LIVE + 0.05)[Verdict.NOT_WORSE] > 0.95 * CASES
    assert verdicts(DEMO, LIVE - 0.1)[Verdict.WORSE] > 0.9 * CASES


def test_copies_of_a_picture_are_no_evidence() -> None:
    once, eightfold = (verdicts(SMALL, LIVE - MARGIN, copies=copies) for copies in (1, 8))
    assert once == eightfold


def agreeing(images: list[int], clear: int = 30) -> Difference:
    """Two models that answer every image alike and right."""
    severity = labels(images, clear)
    right = severity > 0
    return compare(severity, [str(n) for n in range(len(severity))], right, right)


def test_two_models_that_agree_on_a_few_images_are_not_known_to_be_alike() -> None:
    few, many = agreeing([MIN_ROOTS] * 7), agreeing([60] * 7)
    assert few.difference == 0
    assert few.lower is not None
    assert many.lower is not None
    assert few.lower < -0.03
    assert few.lower < many.lower < 0
    assert decide(many).verdict is Verdict.NOT_WORSE


def test_the_difference_is_that_of_mean_balanced_accuracies() -> None:
    severity = labels([10] * 7, 10)
    right = severity > 0
    wrong = right.copy()
    wrong[0, 0] = False  # one of ten that show the first condition is missed
    difference = compare(severity, [str(n) for n in range(len(severity))], wrong, right)
    assert difference.difference == pytest.approx(-0.1 / 2 / 7)
    assert difference.difference is not None
    assert difference.lower is not None
    assert difference.upper is not None
    assert difference.lower < difference.difference < difference.upper
    assert difference.conditions == CONDITIONS
    assert (difference.images, difference.roots) == (80, 80)


def test_a_condition_with_too_few_images_is_left_out_and_named() -> None:
    difference = agreeing([MIN_ROOTS - 1, *[MIN_ROOTS] * 6])
    assert difference.left_out == (CONDITIONS[0].value,)
    assert difference.conditions == CONDITIONS[1:]
    assert CONDITIONS[0].value in decide(difference).reason
    severity = labels([MIN_ROOTS] * 7, 0)
    one_root = ["the same"] * MIN_ROOTS + [str(n) for n in range(len(severity) - MIN_ROOTS)]
    right = severity > 0
    assert compare(severity, one_root, right, right).left_out == (CONDITIONS[0].value,)


def test_what_is_not_known_of_an_image_is_not_compared() -> None:
    severity = labels([10] * 7, 10)
    right = severity > 0
    severity[10:, 0] = UNKNOWN
    difference = compare(severity, [str(n) for n in range(len(severity))], right, right)
    assert difference.left_out == (CONDITIONS[0].value,)


def test_the_same_answers_give_the_same_decision() -> None:
    assert agreeing(DEMO) == agreeing(DEMO)


def test_without_a_live_model_the_candidate_is_promoted() -> None:
    decision = decide(None)
    assert (decision.verdict, decision.promoted) == (Verdict.FIRST, True)


MEASURED = Difference(0.01, -0.02, 0.04, tuple(c.value for c in CONDITIONS), (), 176, 170)


@pytest.mark.parametrize(
    ("lower", "upper", "verdict", "promoted"),
    [
        (-0.02, 0.04, Verdict.NOT_WORSE, True),
        (-0.0499, 0.2, Verdict.NOT_WORSE, True),
        (0.01, 0.2, Verdict.NOT_WORSE, True),
        (-0.05, 0.2, Verdict.UNDECIDED, False),
        (-0.2, 0.0, Verdict.UNDECIDED, False),
        (-0.2, -0.001, Verdict.WORSE, False),
        (-0.04, -0.001, Verdict.WORSE, False),
    ],
)
def test_the_bounds_decide(lower: float, upper: float, verdict: Verdict, promoted: bool) -> None:
    decision = decide(replace(MEASURED, lower=lower, upper=upper))
    assert (decision.verdict, decision.promoted) == (verdict, promoted)
    assert f"{100 * lower:+.1f} and {100 * upper:+.1f}" in decision.reason
    assert "176 test images" in decision.reason
    assert ("too thin" in decision.reason) == (verdict is Verdict.UNDECIDED)


def test_a_fold_on_which_nothing_can_be_compared_decides_nothing() -> None:
    decision = decide(agreeing([2] * 7))
    assert (decision.verdict, decision.promoted) == (Verdict.UNDECIDED, False)
    assert "too thin" in decision.reason
    assert "live model stays" in decision.reason
