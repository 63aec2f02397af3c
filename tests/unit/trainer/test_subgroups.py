"""Groups of people: their figures by hand, the gap that alarms, and what the worst group has to say at the gate."""

from __future__ import annotations

import numpy as np
import pytest

from services.trainer.comparison import compare
from services.trainer.data import CONDITIONS, UNKNOWN
from services.trainer.datasheet import datasheet
from services.trainer.gate import MARGIN, Decision, Verdict, decide
from services.trainer.subgroups import COARSE, gaps_of, groups_of, measure_groups
from services.trainer.worst_group import with_worst_group, worst_of
from shared.evaluation import ENOUGH_ROOTS, GAP_ALARM, Group
from shared.taxonomy import AgeBand, Condition, Fold, Severity, Sex
from tests.unit.trainer.squares import Dataset

PROMOTED = Decision(Verdict.NOT_WORSE, "It is not worse.")


def group(name: str, accuracy: float | None, *, kind: str = "tone_band", enough: bool = True) -> Group:
    return Group(
        kind=kind,
        name=name,
        images=30,
        roots=30,
        enough=enough,
        values={"balanced_accuracy": accuracy},
        intervals={"balanced_accuracy": None},
    )


def test_an_image_is_in_the_groups_that_are_known_of_it() -> None:
    image = Dataset([], {}).add({Condition.ACNE: Severity.MILD}, 1)
    assert groups_of(image) == {"origin": "imported"}
    told = image.model_copy(
        update={"skin_tone": 7, "age_band": AgeBand.SENIOR, "sex": Sex.MALE, "provider": "procedural"}
    )
    assert groups_of(told) == {
        "origin": "generated",
        "tone": "7",
        "tone_band": "7-10",
        "age_band": "60-75",
        "sex": "male",
    }


@pytest.mark.parametrize(("tone", "band"), [(1, "1-3"), (3, "1-3"), (4, "4-6"), (6, "4-6"), (7, "7-10"), (10, "7-10")])
def test_ten_tones_are_three_bands(tone: int, band: str) -> None:
    image = Dataset([], {}).add({}, 1).model_copy(update={"skin_tone": tone})
    assert groups_of(image)["tone_band"] == band


def test_a_groups_figures_are_of_all_its_answers() -> None:
    severity = np.zeros((6, len(CONDITIONS)), np.int8)
    answers = np.zeros(severity.shape, np.bool_)
    severity[:4, 0] = 1
    answers[:3, 0] = True  # three of four that show acne
    severity[4:, 1] = 2
    answers[4, 1] = True  # one of two that show redness, in the other group
    answers[0, 5] = True  # and one that is not there, of 4 × 6
    severity[1, 6] = UNKNOWN  # which counts nowhere
    named = [{"sex": "female", "tone": "10"}] * 4 + [{"sex": "male", "tone": "2"}] * 2
    found = measure_groups(severity, answers, ["a", "a", "b", "c", "d", "d"], named)
    assert [(each.kind, each.name) for each in found] == [
        ("tone", "2"),
        ("tone", "10"),
        ("sex", "female"),
        ("sex", "male"),
    ]
    women, men = found[2:]
    assert (women.images, women.roots, women.enough) == (4, 3, False)
    assert women.values == pytest.approx(
        {"recall": 3 / 4, "false_positive_rate": 1 / 23, "balanced_accuracy": (3 / 4 + 22 / 23) / 2}
    )
    assert men.values["recall"] == 0.5
    for each in found:
        for name, value in each.values.items():
            bounds = each.intervals[name]
            assert bounds is not None
            assert value is not None
            assert bounds[0] <= value <= bounds[1]


def test_enough_is_said_by_roots_not_by_images() -> None:
    severity = np.zeros((4 * ENOUGH_ROOTS, len(CONDITIONS)), np.int8)
    severity[::2, 0] = 1
    named = [{"sex": "male"}] * len(severity)
    for roots, enough in ((ENOUGH_ROOTS, True), (ENOUGH_ROOTS - 1, False)):
        (men,) = measure_groups(severity, severity > 0, [str(n % roots) for n in range(len(severity))], named)
        assert men.enough is enough
    (clear,) = measure_groups(severity * 0, severity > 0, [str(n) for n in range(len(severity))], named)
    assert not clear.enough  # nobody in it shows anything


def test_the_gap_is_between_the_best_and_the_worst_that_have_enough() -> None:
    groups = [
        group("1-3", 0.9),
        group("4-6", 0.85),
        group("7-10", 0.9 - GAP_ALARM - 0.01),
        group("x", 0.1, enough=False),
    ]
    (gap,) = gaps_of(groups)
    assert (gap.kind, gap.best, gap.worst, gap.alarm) == ("tone_band", "1-3", "7-10", True)
    assert gap.gap == pytest.approx(GAP_ALARM + 0.01)
    (near,) = gaps_of(groups[:2])
    assert not near.alarm
    assert gaps_of(groups[:1]) == []
    assert gaps_of([group("1", 0.9, kind="tone"), group("9", 0.1, kind="tone")]) == []


@pytest.mark.parametrize(
    ("candidate", "live", "verdict"),
    [
        ([0.9, 0.8], [0.7, 0.8], Verdict.NOT_WORSE),
        ([0.9, 0.7 - MARGIN + 0.001], [0.7, 0.8], Verdict.NOT_WORSE),
        ([0.9, 0.7 - MARGIN - 0.001], [0.7, 0.8], Verdict.WORST_GROUP),
    ],
)
def test_the_worst_group_decides(candidate: list[float], live: list[float], verdict: Verdict) -> None:
    groups = [
        [group(name, value) for name, value in zip(("1-3", "7-10"), some, strict=True)] for some in (candidate, live)
    ]
    decision = with_worst_group(PROMOTED, *groups)
    assert decision.verdict is verdict
    assert decision.promoted == (verdict is Verdict.NOT_WORSE)
    assert f"tone band {'7-10' if min(candidate) == candidate[1] else '1-3'}" in decision.reason
    assert f"{100 * min(candidate):.1f}%" in decision.reason
    assert decision.reason.startswith(PROMOTED.reason)


def test_groups_without_evidence_decide_nothing() -> None:
    fine, small, step = [group("1-3", 0.9)], [group("1-3", 0.1, enough=False)], [group("3", 0.1, kind="tone")]
    for some in (small, step, []):
        assert worst_of(some) is None
        assert with_worst_group(PROMOTED, some, fine) == PROMOTED
        assert with_worst_group(PROMOTED, fine, some) == PROMOTED


@pytest.mark.parametrize("verdict", [Verdict.WORSE, Verdict.UNDECIDED])
def test_what_is_not_promoted_stays_so(verdict: Verdict) -> None:
    decision = Decision(verdict, "It is not to be.")
    assert with_worst_group(decision, [group("1-3", 0.9)], [group("1-3", 0.1)]) == decision


def simulated(harm: float, seed: int) -> Verdict:
    """The gate's verdict on a model as good as the live one, but for a share of its answers in dark tones.

    180 pictures, half of the luck shared, 85% right.
    """
    random = np.random.default_rng(seed)
    severity = np.zeros((180, len(CONDITIONS)), np.int8)
    severity[np.arange(180), np.arange(180) % len(CONDITIONS)] = 1
    tones = random.permutation(np.arange(180) % 3)
    named = [{"tone_band": str(tone), "sex": str(random.integers(2))} for tone in tones]
    shared, own = random.random((2, *severity.shape))
    luck = np.where(random.random(severity.shape) < 0.5, shared, own)
    quality = np.where(tones == 2, 0.85 - harm, 0.85)[:, None]
    live, candidate = ((chance < right) == (severity > 0) for chance, right in ((shared, 0.85), (luck, quality)))
    roots = [str(n) for n in range(180)]
    groups = [measure_groups(severity, some, roots, named) for some in (candidate, live)]
    difference = compare(severity, roots, candidate, live, resamples=100)
    before = decide(difference)
    passed = before if before.promoted else PROMOTED  # only what the groups add
    return with_worst_group(passed, *groups).verdict


def test_a_model_that_fails_one_group_is_kept_back_and_an_equal_one_mostly_is_not() -> None:
    equal = [simulated(0.0, seed) for seed in range(30)]
    unfair = [simulated(0.25, seed) for seed in range(30)]
    assert equal.count(Verdict.WORST_GROUP) <= 6
    assert unfair.count(Verdict.WORST_GROUP) >= 27


def test_the_datasheet_counts_every_original() -> None:
    dataset = Dataset([], {})
    dataset.add({Condition.ACNE: Severity.MILD, Condition.AGING: None}, 1, fold=Fold.TRAIN)
    dataset.add({Condition.ACNE: Severity.SEVERE}, 2, fold=Fold.TRAIN, provider="procedural")
    dataset.add({}, 3, fold=Fold.TEST, complete=False)
    images = [
        image.model_copy(update={"skin_tone": tone}) for image, tone in zip(dataset.images, (10, 2, None), strict=True)
    ]
    sheet = datasheet(images)
    train, test = sheet["train"], sheet["test"]
    assert (train.images, train.roots, train.variants, sheet["validation"].images) == (2, 2, 2, 0)
    assert train.groups["origin"] == {"imported": 1, "generated": 1}
    assert list(train.groups["tone"].items()) == [("2", 1), ("10", 1)]
    assert train.groups["sex"] == {"unknown": 2}
    assert train.conditions[Condition.ACNE] == {"mild": 1, "moderate": 0, "severe": 1}
    assert train.conditions[Condition.AGING]["ungraded"] == 1
    assert test.conditions[Condition.REDNESS] == {"mild": 0, "moderate": 0, "severe": 0, "unknown": 1}
    assert test.groups["tone_band"] == {"unknown": 1}
    assert set(COARSE) < set(test.groups)
