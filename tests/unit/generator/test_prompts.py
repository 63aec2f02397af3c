"""What the provider is told."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.generator import prompts
from services.generator.prompts import our_prompts, prompt_of, read_prompts
from services.generator.provider import Order
from shared.errors import ConfigurationError
from shared.events import Subject
from shared.prices import PROMPT_TOKENS
from shared.taxonomy import CLEAR, MONK_TONES, AgeBand, Condition, Light, Severity, Sex, View

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


def test_clear_skin_is_asked_for_without_a_condition_and_more_calmly_once_it_is_refused() -> None:
    clear = replace(ORDER, condition=CLEAR, severity=None)
    plain, calm = (prompt_of(replace(clear, refusals=refusals)) for refusals in (0, 1))
    for prompt in (plain, calm):
        assert "clear and healthy" in prompt
        assert "30-44 years old" in prompt
        assert "{" not in prompt
    assert plain != calm
    assert prompt_of(replace(clear, refusals=9)) == calm
    assert "Avoid that" in prompt_of(replace(clear, earlier_rejections=("a pimple on the chin",)))


def test_an_operator_s_file_may_word_clear_skin_and_names_no_condition_there(tmp_path: Path) -> None:
    ours = Path(prompts.__file__).with_name("prompts.toml").read_text()
    begin, end = ours.index("clear_wordings = ["), ours.index("[signs.acne]")
    clear = replace(ORDER, condition=CLEAR, severity=None)
    file = tmp_path / "prompts.toml"
    file.write_text(ours[:begin] + ours[end:])
    assert read_prompts(file).prompt_of(clear) == prompt_of(clear)
    file.write_text(f'{ours[:begin]}clear_wordings = ["A {{sex}} of {{age}}"]\n{ours[end:]}')
    assert read_prompts(file).prompt_of(clear) == "A woman of 30-44"
    for wording, problem in (("A {sex} of {age} with {signs}", "{signs} is none of"), ("A {sex}", "{age}")):
        file.write_text(f'{ours[:begin]}clear_wordings = ["{wording}"]\n{ours[end:]}')
        with pytest.raises(ConfigurationError, match=re.escape(problem)):
            read_prompts(file)


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
    reasons = (
        "timeout: No answer within 180 s.",
        "outcome_unknown: Nobody knows.",
        "provider_error: 500",
        "unanswered: asked for 8 times, and no answer came",
    )
    assert prompt_of(replace(ORDER, earlier_rejections=reasons)) == prompt_of(ORDER)


def test_a_refused_prompt_is_worded_more_calmly_in_this_attempt_and_the_next_and_the_refusal_is_not_told() -> None:
    blocked = "moderation_blocked: 400 unsafe"
    calmer = [prompt_of(replace(ORDER, refusals=refusals)) for refusals in range(6)]
    assert len(set(calmer)) == len(our_prompts().wordings) == 3
    assert calmer[2:] == [calmer[2]] * 4
    assert prompt_of(replace(ORDER, earlier_rejections=(blocked,))) == calmer[1]
    assert prompt_of(replace(ORDER, earlier_rejections=(blocked,), refusals=1)) == calmer[2]
    for prompt in calmer[1:]:
        for word in ("adult woman", "30-44 years old", "clothed", "head and shoulders", "mild acne"):
            assert word in prompt


def test_a_reason_is_told_to_a_length() -> None:
    prompt = prompt_of(replace(ORDER, earlier_rejections=("x" * 10_000,)))
    assert len(prompt) < len(prompt_of(ORDER)) + 300


def test_prompts_fit_what_plans_reckon_for_them() -> None:
    """A token has four letters of English on average, by OpenAI's rule of thumb; a rejection may be told as well."""
    for condition, severity, refusals in product(Condition, Severity, range(3)):
        order = replace(ORDER, condition=condition, severity=severity, refusals=refusals)
        assert len(prompt_of(order)) / 4 < PROMPT_TOKENS / 2


SIGNS = {condition.value: {s.label: f"{s.label} {condition}" for s in Severity} for condition in Condition}
GOOD = {"wordings": ["A face of {age}: {signs}", "Skin of {age} with {severity} {condition}"], "signs": SIGNS}


def written(tmp_path: Path, document: dict[str, Any]) -> Path:
    """A file of prompts; JSON's strings and lists are TOML's as well."""
    lines = [f"wordings = {json.dumps(document['wordings'])}"] if "wordings" in document else []
    lines += [f"{name} = {json.dumps(value)}" for name, value in document.items() if name not in ("wordings", "signs")]
    for condition, signs in document.get("signs", {}).items():
        lines += [f"[signs.{condition}]", *(f"{name} = {json.dumps(text)}" for name, text in signs.items())]
    path = tmp_path / "prompts.toml"
    path.write_text("\n".join(lines))
    return path


def test_an_operator_s_file_replaces_ours(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    prompts = read_prompts(path)
    assert prompts.prompt_of(ORDER) == "A face of 30-44: mild acne"
    assert prompts.prompt_of(replace(ORDER, refusals=9)) == "Skin of 30-44 with mild acne"
    assert prompts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != our_prompts().sha256


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"wordings": []}, "wordings"),
        ({"wordings": [""]}, "wordings"),
        ({"wordings": ["{age} {signs} " + "x" * 4000]}, "wordings"),
        ({"wordings": ["A child: {signs}"]}, "{age}"),
        ({"wordings": ["A face of {age}"]}, "{signs}"),
        ({"wordings": ["A face of {age} with {condition}"]}, "{signs}"),
        ({"wordings": ["{age} {signs} {name}"]}, "{name}"),
        ({"wordings": ["{age} {signs} {age.__class__}"]}, "{age.__class__}"),
        ({"wordings": ["{age} {signs} {"]}, "wordings"),
        ({"signs": {**SIGNS, "freckles": {"mild": "a", "moderate": "b", "severe": "c"}}}, "freckles"),
        ({"signs": {"acne": {"mild": "a", "moderate": "b", "severe": "c"}}}, "no signs of"),
        ({"signs": {**SIGNS, "acne": {"mild": "a", "moderate": "b"}}}, "severe"),
        ({"sings": "x"}, "sings"),
    ],
)
def test_a_file_that_would_make_no_prompts_is_refused_with_what_is_wrong(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_prompts(written(tmp_path, {**GOOD, **changes}))
    assert "prompts.toml" in caught.value.message
    assert told in caught.value.message
    assert "EVENSKIN_PROMPT_FILE" in caught.value.advice


def test_a_file_that_is_not_there_or_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_prompts(tmp_path / "missing.toml")
    for content in (b"wordings = [", b"\xff\xfe"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(ConfigurationError, match="no TOML"):
            read_prompts(tmp_path / "bad.toml")
