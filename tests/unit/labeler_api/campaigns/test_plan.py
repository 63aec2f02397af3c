"""Plans: what is missing, how it is split, what it costs."""

from __future__ import annotations

import pytest

from services.labeler_api.campaigns.plan import PLANNED_ON, Quota, between, make_plan, plan_for
from services.labeler_api.settings import LabelerSettings
from shared.errors import PlanTooLarge
from shared.events import RebalanceRequested
from shared.taxonomy import CLEAR, Condition, Kind, Severity

STARTING: dict[Kind, int] = {
    Condition.REDNESS: 66,
    Condition.PORE_SIZE: 66,
    Condition.TEXTURED_SKIN: 70,
    Condition.HYPERPIGMENTATION: 78,
}


def test_the_design_s_own_example() -> None:
    plan = make_plan(dict.fromkeys(STARTING, 200), STARTING, price_micro_usd=30_000, max_attempts=3)
    assert [(q.condition, q.count) for q in plan.quotas] == [
        *[(Condition.REDNESS, n) for n in (45, 45, 44)],
        *[(Condition.PORE_SIZE, n) for n in (45, 45, 44)],
        *[(Condition.TEXTURED_SKIN, n) for n in (44, 43, 43)],
        *[(Condition.HYPERPIGMENTATION, n) for n in (41, 41, 40)],
    ]
    document = plan.document(provider="procedural", images_per_minute=50)
    assert (document.total, document.cost_usd, document.worst_cost_usd) == (520, 15.6, 46.8)
    assert document.duration_s == 624.0
    assert document.missing == {"redness": 134, "pore_size": 134, "textured_skin": 130, "hyperpigmentation": 122}
    assert document.quotas[0].json_object() == {"condition": "redness", "severity": "mild", "count": 45}


@pytest.mark.parametrize(
    ("target", "have", "counts"),
    [(0, 0, []), (0, 5, []), (5, 5, []), (4, 9, []), (1, 0, [1]), (2, 0, [1, 1]), (4, 0, [2, 1, 1]), (5, 2, [1, 1, 1])],
)
def test_only_what_is_missing_is_planned(target: int, have: int, counts: list[int]) -> None:
    plan = make_plan({Condition.ACNE: target}, {Condition.ACNE: have}, price_micro_usd=1, max_attempts=1)
    assert [quota.count for quota in plan.quotas] == counts
    assert plan.total == sum(counts)
    assert plan.document(provider="p", images_per_minute=1).missing == {"acne": sum(counts)}


def test_the_worst_cost_is_never_above_the_budget() -> None:
    asked: dict[Kind, int] = {Condition.ACNE: 10}
    assert make_plan(asked, {}, price_micro_usd=100, max_attempts=4).worst_cost_micro_usd == 4000
    assert (
        make_plan(asked, {}, price_micro_usd=100, max_attempts=4, max_cost_micro_usd=1500).worst_cost_micro_usd == 1500
    )
    assert make_plan(asked, {}, price_micro_usd=0, max_attempts=4).worst_cost_micro_usd == 0


def test_a_plan_s_document_by_hand() -> None:
    asked: dict[Kind, int] = {Condition.ACNE: 5, Condition.REDNESS: 2}
    have: dict[Kind, int] = {Condition.ACNE: 1}
    plan = make_plan(asked, have, price_micro_usd=1_250_000, max_attempts=4, max_cost_micro_usd=9_000_000)
    # 6 images: at 7 a minute, 51.428… s; at 1.25 $ each, 7.50 $; four attempts at each, 30 $, but for the budget
    assert plan.document(provider="openai", images_per_minute=7).json_object() == {
        "targets": {"acne": 5, "redness": 2},
        "missing": {"acne": 4, "redness": 2},
        "quotas": [
            {"condition": "acne", "severity": "mild", "count": 2},
            {"condition": "acne", "severity": "moderate", "count": 1},
            {"condition": "acne", "severity": "severe", "count": 1},
            {"condition": "redness", "severity": "mild", "count": 1},
            {"condition": "redness", "severity": "moderate", "count": 1},
        ],
        "tones": [
            {
                "condition": "acne",
                "there": [0] * 10,
                "missing": {
                    "mild": [1, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                    "moderate": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                    "severe": [0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
                },
            },
            {
                "condition": "redness",
                "there": [0] * 10,
                "missing": {"mild": [0, 1, 0, 0, 0, 0, 0, 0, 0, 0], "moderate": [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]},
            },
        ],
        "total": 6,
        "price_usd": 1.25,
        "cost_usd": 7.5,
        "worst_cost_usd": 9.0,
        "max_attempts": 4,
        "provider": "openai",
        "images_per_minute": 7,
        "duration_s": 51.4,
        "warnings": [],
    }


def test_a_request_is_planned_on_what_is_there_and_what_is_on_its_way() -> None:
    totals = {"shows/accepted/acne": 4, "reserved/acne": 3, "shows/accepted/redness": 1, "shows/rejected/redness": 9}
    request = RebalanceRequested(targets={"acne": 10, "redness": 5, "aging": 2}, max_attempts=4, max_cost_usd=0.5)
    totals = {name: total for name, total in totals.items() if name.startswith(PLANNED_ON)}  # all that is read
    plan = plan_for(totals, request, LabelerSettings(image_price_usd=0.02))
    assert plan.targets == {Condition.ACNE: 10, Condition.REDNESS: 5, Condition.AGING: 2}
    missing = {condition: 0 for condition in plan.targets}
    for quota in plan.quotas:
        missing[quota.condition] += quota.count
    assert missing == {Condition.ACNE: 3, Condition.REDNESS: 4, Condition.AGING: 2}
    assert (plan.price_micro_usd, plan.max_attempts, plan.max_cost_micro_usd) == (20_000, 4, 500_000)


@pytest.mark.parametrize(("target", "is_taken"), [(9, True), (10, False)])
def test_a_plan_asks_for_no_more_images_than_a_campaign_may(target: int, is_taken: bool) -> None:
    totals = {"shows/accepted/acne": 1, "reserved/acne": 1}
    request = RebalanceRequested(targets={"acne": target, "redness": 2})
    settings = LabelerSettings(max_slots=9)
    if is_taken:
        assert plan_for(totals, request, settings).total == 9
        return
    with pytest.raises(PlanTooLarge) as caught:
        plan_for(totals, request, settings)
    assert caught.value.code == "plan_too_large"
    assert caught.value.message == "The rebalance would ask for 10 images; one may ask for 9."
    assert "EVENSKIN_MAX_SLOTS" in caught.value.advice


QUOTAS = (
    Quota(Condition.ACNE, Severity.MILD, (2, 0, 1, 0, 0, 0, 0, 0, 0, 0)),
    Quota(Condition.ACNE, Severity.SEVERE, (0, 0, 0, 0, 1, 0, 0, 0, 0, 0)),
    Quota(Condition.AGING, Severity.MILD, (0, 1, 0, 3, 0, 0, 0, 0, 0, 0)),
)


@pytest.mark.parametrize(
    ("first", "end", "counts"),
    [
        (0, 0, []),
        (0, 1, [("acne", 1, 1)]),
        (0, 3, [("acne", 1, 3)]),
        (1, 3, [("acne", 1, 2)]),
        (2, 4, [("acne", 1, 1), ("acne", 3, 1)]),
        (3, 4, [("acne", 3, 1)]),
        (2, 6, [("acne", 1, 1), ("acne", 3, 1), ("aging", 1, 2)]),
        (7, 8, [("aging", 1, 1)]),
        (0, 8, [("acne", 1, 3), ("acne", 3, 1), ("aging", 1, 4)]),
        (8, 8, []),
        (5, 4, []),
    ],
)
def test_slots_between_two_positions_fill_the_quotas_one_by_one(
    first: int, end: int, counts: list[tuple[str, int, int]]
) -> None:
    assert [(q.condition, q.severity, q.count) for q in between(QUOTAS, first, end)] == counts


@pytest.mark.parametrize("size", range(1, 10))
def test_portions_of_any_size_are_the_whole(size: int) -> None:
    whole = [quota for quota in QUOTAS for _ in range(quota.count)]
    portions = [between(QUOTAS, first, min(first + size, 8)) for first in range(0, 8, size)]
    assert [
        (quota.condition, quota.severity) for portion in portions for quota in portion for _ in range(quota.count)
    ] == [(quota.condition, quota.severity) for quota in whole]


def test_a_quota_is_what_its_document_says() -> None:
    assert [Quota.of_document(quota.document()) for quota in QUOTAS] == list(QUOTAS)
    before_tones = {"condition": "acne", "severity": "severe", "count": 23}
    old = Quota.of_document(before_tones)
    assert (old.condition, old.severity, old.count) == (Condition.ACNE, Severity.SEVERE, 23)
    assert set(old.tones) == {2, 3}


@pytest.mark.parametrize("size", range(1, 10))
def test_portions_of_any_size_have_the_tones_of_the_whole(size: int) -> None:
    portions = [quota for first in range(0, 8, size) for quota in between(QUOTAS, first, min(first + size, 8))]
    for whole in QUOTAS:
        parts = [
            part.tones for part in portions if (part.condition, part.severity) == (whole.condition, whole.severity)
        ]
        assert tuple(map(sum, zip(*parts, strict=True))) == whole.tones


def test_clear_skin_is_planned_without_severities_and_only_where_it_is_asked_for() -> None:
    totals = {"shows/accepted/clear": 3, "reserved/clear": 1, "shows/pending/clear": 7}
    totals |= {"tones/clear/0/1": 2, "tones/clear/0/2": 1, "reserved_tones/clear/0/3": 1}
    plan = plan_for(totals, RebalanceRequested(targets={"clear": 14}), LabelerSettings())
    (quota,) = plan.quotas
    assert (quota.condition, quota.severity, quota.count) == (CLEAR, None, 10)
    there = [2, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    full = [have + new for have, new in zip(there, quota.tones, strict=True)]
    assert max(full) - min(full) <= 1
    assert Quota.of_document(quota.document()) == quota
    (tones,) = plan.document(provider="p", images_per_minute=1).tones
    assert (list(tones.there), list(tones.missing)) == (there, ["clear"])
    everything = plan_for(totals, RebalanceRequested(target_per_condition=5), LabelerSettings())
    assert CLEAR not in everything.targets
    named = RebalanceRequested(target_per_condition=5, conditions=("clear skin", "acne"))
    assert plan_for(totals, named, LabelerSettings()).targets == {Condition.ACNE: 5, CLEAR: 5}


def test_a_plan_says_what_is_there_and_what_is_missing_of_each_tone() -> None:
    totals = {"shows/accepted/acne": 3, "tones/acne/0/2": 1, "tones/acne/3/1": 1, "reserved/acne": 1}
    totals |= {"reserved_tones/acne/1/10": 1, "reserved_tones/acne/2/9": -1}  # as an older version leaves it
    plan = plan_for(totals, RebalanceRequested(targets={"acne": 11, "aging": 0}), LabelerSettings())
    (tones,) = plan.document(provider="p", images_per_minute=1).tones
    assert (tones.condition, tones.there) == ("acne", (1, 1, 0, 0, 0, 0, 0, 0, 0, 1))
    assert [sum(row) for row in zip(*tones.missing.values(), strict=True)] == [0, 0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert {severity: sum(row) for severity, row in tones.missing.items()} == {"mild": 3, "moderate": 2, "severe": 2}
