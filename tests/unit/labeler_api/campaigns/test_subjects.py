"""Subjects: spread evenly, the same for the same slot, another one for another attempt."""

from __future__ import annotations

from collections import Counter
from uuid import UUID, uuid4

import pytest

from services.labeler_api.campaigns.subjects import subject_of
from shared.taxonomy import MONK_TONES, AgeBand, Condition, Light, Sex, View

CAMPAIGN = UUID("0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10")


@pytest.mark.parametrize("condition", list(Condition))
def test_every_trait_comes_about_equally_often(condition: Condition) -> None:
    subjects = [subject_of(CAMPAIGN, condition, position, 1) for position in range(120)]
    tones = Counter(subject.skin_tone for subject in subjects)
    assert set(tones) == set(MONK_TONES)
    assert set(tones.values()) == {12}
    for name, choices in (("sex", Sex), ("light", Light), ("view", View)):
        counts = Counter(getattr(subject, name) for subject in subjects)
        assert set(counts) == set(choices)
        assert max(counts.values()) <= 1.5 * min(counts.values()), name
    ages = Counter(subject.age_band for subject in subjects)
    assert max(ages.values()) <= 1.5 * min(ages.values())


@pytest.mark.parametrize("trait", ["age_band", "sex", "light", "view"])
def test_no_trait_goes_with_a_skin_tone(trait: str) -> None:
    subjects = [subject_of(CAMPAIGN, Condition.ACNE, position, 1) for position in range(240)]
    for tone in MONK_TONES:
        assert len({getattr(subject, trait) for subject in subjects if subject.skin_tone == tone}) > 1


def test_a_run_of_ten_slots_meets_every_tone() -> None:
    for start in (0, 3, 45, 90):  # wherever a severity's slots begin
        tones = {subject_of(CAMPAIGN, Condition.REDNESS, start + n, 1).skin_tone for n in range(10)}
        assert tones == set(MONK_TONES)


def test_lines_and_sagging_are_not_asked_for_on_the_youngest() -> None:
    for condition in Condition:
        ages = {subject_of(CAMPAIGN, condition, position, 1).age_band for position in range(60)}
        assert (next(iter(AgeBand)) in ages) == (condition not in (Condition.FINE_LINES, Condition.AGING))


def test_a_slot_s_subject_is_always_the_same_and_another_attempt_s_is_not() -> None:
    for position in range(50):
        subjects = [subject_of(CAMPAIGN, Condition.AGING, position, attempt) for attempt in range(1, 6)]
        assert subjects == [subject_of(CAMPAIGN, Condition.AGING, position, attempt) for attempt in range(1, 6)]
        assert len({subject.skin_tone for subject in subjects}) == 5


def test_campaigns_do_not_all_begin_with_the_same_subject() -> None:
    assert len({subject_of(uuid4(), Condition.ACNE, 0, 1).skin_tone for _ in range(60)}) > 4
