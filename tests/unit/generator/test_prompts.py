"""What the provider is told."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest

from services.generator.prompts import prompt_of
from services.generator.provider import Order
from shared.events import Subject
from shared.taxonomy import MONK_TONES, AgeBand, Condition, Light, Severity, Sex, View

SUBJECT = Subject(age_band=AgeBand.ADULT, skin_tone=4, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=View.FRONTAL)
ORDER = Order(UUID(int=1), Condition.ACNE, Severity.MILD, SUBJECT)


def asking(**subject: object) -> str:
    return prompt_of(replace(ORDER, subject=SUBJECT.model_copy(update=subject)))


@pytest.mark.parametrize("condition", Condition)
def test_each_severity_is_named_and_described_in_its_own_words(condition: Condition) -> None:
    prompts = {s: prompt_of(replace(ORDER, condition=condition, severity=s)) for s in Severity}
    for severity, prompt in prompts.items():
        assert f"{severity.label} {condition.value.replace('_', ' ')}:" in prompt
    described = {prompt.split(": ", 1)[1] for prompt in prompts.values()}
    assert len(described) == len(Severity)


def test_no_two_conditions_share_a_prompt() -> None:
    orders = [replace(ORDER, condition=c, severity=s) for c, s in product(Condition, Severity)]
    assert len({prompt_of(order) for order in orders}) == len(orders)


def test_every_trait_of_the_subject_changes_the_prompt() -> None:
    for name, values in {
        "age_band": AgeBand,
        "skin_tone": MONK_TONES,
        "sex": Sex,
        "light": Light,
        "view": View,
    }.items():
        assert len({asking(**{name: value}) for value in values}) == len(tuple(values)), name


def test_the_subject_is_told_in_words_a_model_understands() -> None:
    prompt = asking(age_band=AgeBand.SENIOR, skin_tone=9, sex=Sex.MALE, light=Light.INDOOR_WARM, view=View.LEFT)
    assert "one man, 60-75 years old, skin tone 9 of 10 on the Monk skin tone scale" in prompt
    assert "Head turned slightly left, indoor warm light" in prompt
    assert "_" not in prompt


def test_the_latest_reasons_of_rejection_are_told_and_no_more() -> None:
    reasons = ("blurred", "two faces", "text in the picture", "make-up")
    prompt = prompt_of(replace(ORDER, earlier_rejections=reasons))
    assert prompt.startswith(prompt_of(ORDER))
    assert "two faces; text in the picture; make-up" in prompt
    assert "blurred" not in prompt
    assert "reject" not in prompt_of(ORDER)


def test_what_was_not_the_picture_s_fault_is_not_told() -> None:
    reasons = ("timeout: No answer within 180 s.", "outcome_unknown: Nobody knows.", "provider_error: 500")
    assert prompt_of(replace(ORDER, earlier_rejections=reasons)) == prompt_of(ORDER)
    blocked = "moderation_blocked: 400 unsafe"
    assert blocked in prompt_of(replace(ORDER, earlier_rejections=(blocked, *reasons)))
