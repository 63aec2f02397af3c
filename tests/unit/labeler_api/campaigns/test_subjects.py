"""Subjects: of the planned tone, spread evenly over the rest, the same for the same slot, others for other attempts."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from itertools import islice, pairwise, product
from uuid import UUID, uuid4

import pytest

from services.labeler_api.campaigns.plan import Plan, make_plan
from services.labeler_api.campaigns.subjects import another, subjects_between
from shared.events import Subject
from shared.taxonomy import KINDS, MONK_TONES, AgeBand, Condition, Kind, Light, Severity, Sex, View, parse_kind

CAMPAIGN = UUID("0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10")
OLDER = (Condition.FINE_LINES, Condition.AGING)


def plan_of(**targets: int) -> Plan:
    """A plan on an empty dataset."""
    asked = {parse_kind(name): target for name, target in targets.items()}
    return make_plan(asked, {}, price_micro_usd=1, max_attempts=1)


def asked_of(condition: Kind, count: int) -> list[tuple[Severity | None, Subject]]:
    """What the slots of a campaign for one empty condition ask for."""
    plan = plan_of(**{condition: count})
    return [(severity, subject) for _, severity, subject in subjects_between(CAMPAIGN, plan.quotas, 0, plan.total)]


def unevenness(values: Sequence[object], choices: int) -> int:
    """By how many the most frequent choice is ahead of the least frequent one."""
    counts = Counter(values)
    return max(counts.values()) - (min(counts.values()) if len(counts) == choices else 0)


@pytest.mark.parametrize("count", [1, 4, 17, 134, 520])
@pytest.mark.parametrize("condition", KINDS)
def test_every_tone_and_age_comes_equally_often(condition: Kind, count: int) -> None:
    asked = asked_of(condition, count)
    ages = 3 if condition in OLDER else 4
    subjects = [subject for _, subject in asked]
    assert unevenness([subject.skin_tone for subject in subjects], 10) <= 1
    assert unevenness([subject.age_band for subject in subjects], ages) <= 1
    for severity in (*Severity, None):
        share = [subject for graded, subject in asked if graded is severity]
        if share:
            assert unevenness([subject.skin_tone for subject in share], 10) <= 1
    for tone in MONK_TONES:
        own = [subject.age_band for subject in subjects if subject.skin_tone == tone]
        if own:
            assert unevenness(own, ages) <= 1


@pytest.mark.parametrize("condition", list(Condition))
def test_the_rest_is_balanced_and_nothing_goes_with_anything(condition: Condition) -> None:
    subjects = [subject for _, subject in asked_of(condition, 480)]
    choices = {"skin_tone": MONK_TONES, "age_band": tuple(AgeBand)[condition in OLDER :], "sex": tuple(Sex)}
    choices |= {"light": tuple(Light), "view": tuple(View)}
    for name, values in choices.items():
        assert unevenness([getattr(subject, name) for subject in subjects], len(values)) <= 3, name
    for one, other in product(choices, choices):
        if one < other:
            pairs = Counter((getattr(subject, one), getattr(subject, other)) for subject in subjects)
            even = len(subjects) / len(choices[one]) / len(choices[other])
            assert len(pairs) == len(choices[one]) * len(choices[other]), (one, other)
            assert max(pairs.values()) <= 1.5 * even, (one, other)


def test_wherever_a_severity_stops_its_tones_are_level() -> None:
    asked = asked_of(Condition.REDNESS, 134)
    for stop in range(1, 45):
        assert unevenness([subject.skin_tone for _, subject in asked[:stop]], 10) <= 1


def test_lines_and_sagging_are_not_asked_for_on_the_youngest() -> None:
    for condition in Condition:
        ages = {subject.age_band for _, subject in asked_of(condition, 60)}
        assert (AgeBand.YOUNG_ADULT in ages) == (condition not in OLDER)


def test_a_slot_s_subject_is_the_same_whatever_it_is_asked_for_with() -> None:
    plan = plan_of(acne=23, redness=1, aging=40)
    whole = list(subjects_between(CAMPAIGN, plan.quotas, 0, plan.total))
    assert [(c, s) for c, s, _ in whole] == [(q.condition, q.severity) for q in plan.quotas for _ in range(q.count)]
    for size in (1, 7, 30):
        portions = [
            list(subjects_between(CAMPAIGN, plan.quotas, first, min(first + size, plan.total)))
            for first in range(0, plan.total, size)
        ]
        assert [each for portion in portions for each in portion] == whole


def test_another_attempt_asks_for_another_subject_of_the_same_tone_and_age() -> None:
    for _, first in asked_of(Condition.AGING, 12):
        seen = [first]
        for _ in range(11):
            seen.append(another(seen[-1]))
        assert {(each.skin_tone, each.age_band) for each in seen} == {(first.skin_tone, first.age_band)}
        assert len({each.model_dump_json() for each in seen}) == 12
        for before, after in pairwise(seen):
            assert before.sex != after.sex
            assert before.light != after.light
            assert before.view != after.view


def test_campaigns_do_not_all_begin_with_the_same_subject() -> None:
    quotas = plan_of(acne=1).quotas
    begun = {next(subjects_between(uuid4(), quotas, 0, 1))[2].model_dump_json() for _ in range(60)}
    assert len(begun) > 20


def test_a_large_campaign_s_slots_are_had_from_any_place_without_the_others() -> None:
    plan = plan_of(**dict.fromkeys(Condition, 14_000))
    tracemalloc.start()
    last = list(subjects_between(CAMPAIGN, plan.quotas, plan.total - 200, plan.total))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(last) == 200
    assert peak < 2_000_000  # bytes; all 98,000 subjects are 80 MB
    assert list(islice(subjects_between(CAMPAIGN, plan.quotas, plan.total - 1, plan.total), 1)) == last[-1:]
