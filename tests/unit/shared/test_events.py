"""Events: what a rebalance asks for, and how wrong ones are told apart."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import EvenskinError, InvalidRequest, InvalidTarget, UnknownCondition, UnknownSeverity
from shared.events import MAX_TARGET, ImageLabeled, RebalanceRequested
from shared.taxonomy import Condition, Severity


def targets(**request: Any) -> dict[str, int]:
    """What a request asks for."""
    found = RebalanceRequested.model_validate(request).target_of()
    assert list(found) == [c for c in Condition if c in found]
    return {condition.value: target for condition, target in found.items()}


def test_targets() -> None:
    assert targets(target_per_condition=5) == dict.fromkeys(Condition, 5)
    assert targets(target_per_condition=0) == dict.fromkeys(Condition, 0)
    assert targets(target_per_condition=5, conditions=["pores", "acne"]) == {"acne": 5, "pore_size": 5}
    assert targets(targets={"aging": 3, "Dark Spots": 2}) == {"hyperpigmentation": 2, "aging": 3}
    assert targets(target_per_condition=5, conditions=["acne"], targets={"acne": 1, "redness": 2}) == {
        "acne": 1,
        "redness": 2,
    }
    assert targets(targets={"acne": MAX_TARGET}) == {"acne": MAX_TARGET}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({}, InvalidRequest),
        ({"target_per_condition": 5, "conditions": []}, InvalidRequest),
        ({"conditions": ["acne"]}, InvalidRequest),
        ({"target_per_condition": -1}, InvalidTarget),
        ({"target_per_condition": MAX_TARGET + 1}, InvalidTarget),
        ({"targets": {"acne": 10**40}}, InvalidTarget),
        ({"targets": {"freckles": 1}}, UnknownCondition),
        ({"target_per_condition": 1, "conditions": [""]}, UnknownCondition),
    ],
)
def test_wrong_targets_are_answered_not_buried(request_: dict[str, Any], error: type[EvenskinError]) -> None:
    asked = RebalanceRequested.model_validate(request_)
    with pytest.raises(error) as raised:
        asked.target_of()
    assert type(raised.value) is error


@pytest.mark.parametrize(
    "request_",
    [
        {"target_per_condition": "5"},
        {"target_per_condition": 5.0},
        {"target_per_condition": True},
        {"target_per_condition": 1, "max_attempts": 0},
        {"target_per_condition": 1, "max_cost_usd": -0.1},
        {"target_per_condition": 1, "max_cost_usd": float("nan")},
        {"target_per_condition": 1, "review": "perhaps"},
        {"target_per_conditon": 1},
    ],
)
def test_a_wrong_shape_is_no_event(request_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RebalanceRequested.model_validate(request_)


def test_labels_understand_people() -> None:
    base = {"image_id": "0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10", "key": "k", "verdict": "accepted", "reviewer": "me"}
    event = ImageLabeled.model_validate({**base, "labels": {"pores": "slight", "acne": 3, "aging": None}})
    assert event.labels == {
        Condition.PORE_SIZE: Severity.MILD,
        Condition.ACNE: Severity.SEVERE,
        Condition.AGING: None,
    }
    with pytest.raises(UnknownCondition):
        ImageLabeled.model_validate({**base, "labels": {"freckles": 1}})
    with pytest.raises(UnknownSeverity):
        ImageLabeled.model_validate({**base, "labels": {"acne": 0}})
