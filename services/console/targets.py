"""Reads a rebalance's options from the command line, and checks them before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from shared.errors import InvalidRequest, InvalidTarget
from shared.events import MAX_TARGET, RebalanceRequested
from shared.message import first_problem
from shared.taxonomy import parse_kind


def plan_query(request: RebalanceRequested) -> dict[str, Any]:
    """The arguments of `LabelerClient.plan` for a rebalance."""
    return {
        "target_per_condition": request.target_per_condition,
        "conditions": tuple(str(name) for name in request.conditions) if request.conditions else None,
        "targets": {str(name): number for name, number in (request.targets or {}).items()} or None,
        "max_attempts": request.max_attempts,
    }


def rebalance_request(
    *,
    target: int | None,
    conditions: Sequence[str] = (),
    targets: Sequence[str] = (),
    max_attempts: int | None = None,
    max_cost_usd: float | None = None,
    review: str | None = None,
) -> RebalanceRequested:
    """Read the options of a rebalance. Raises InvalidTarget, UnknownCondition or InvalidRequest."""
    if target is None and not targets:
        raise InvalidRequest(
            "No target is given.", advice="Say how many images each condition shall have, such as: evenskin plan 200."
        )
    if conditions and target is None:
        raise InvalidRequest("--condition needs a target.", advice="Or use --targets condition=number.")
    names = [name for option in conditions for name in option.split(",") if name.strip()]
    fields = {
        "target_per_condition": None if target is None else _checked_target(target, "The target"),
        "conditions": [parse_kind(name).value for name in names] or None,
        "targets": _parse_targets(targets) or None,
        "max_attempts": max_attempts,
        "max_cost_usd": max_cost_usd,
        "review": review,
    }
    try:
        return RebalanceRequested.model_validate({k: v for k, v in fields.items() if v is not None})
    except ValidationError as error:
        raise InvalidRequest(first_problem(error) + ".") from error


def _parse_targets(options: Sequence[str]) -> dict[str, int]:
    """Parse `acne=200,redness=150`, or with colons as in the HTTP API."""
    parsed: dict[str, int] = {}
    for part in (part.strip() for option in options for part in option.split(",") if part.strip()):
        name, separator, number = part.replace(":", "=").partition("=")
        try:
            value = int(number)
        except ValueError:
            raise InvalidRequest(f"'{part}' is not a target.", advice="Write it as condition=number.") from None
        condition = parse_kind(name).value
        if not separator or condition in parsed:
            raise InvalidRequest(f"'{part}': {condition} has two targets.")
        parsed[condition] = _checked_target(value, f"The target of {condition}")
    return parsed


def _checked_target(value: int, what: str) -> int:
    if not 0 <= value <= MAX_TARGET:
        raise InvalidTarget(
            f"{what} is {value:,}; it can be 0 to {MAX_TARGET:,}.", advice="0 asks for a training of what there is."
        )
    return value
