"""What a rebalance is asked for, read from the command line and checked before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from shared.errors import InvalidRequest, InvalidTarget
from shared.events import MAX_TARGET, RebalanceRequested
from shared.message import first_problem
from shared.taxonomy import parse_condition


@dataclass(frozen=True)
class Wanted:
    """A checked request."""

    request: RebalanceRequested

    def query(self) -> dict[str, Any]:
        """Arguments of `LabelerClient.plan`."""
        return {
            "target_per_condition": self.request.target_per_condition,
            "conditions": tuple(str(name) for name in self.request.conditions) if self.request.conditions else None,
            "targets": {str(name): number for name, number in (self.request.targets or {}).items()} or None,
            "max_attempts": self.request.max_attempts,
        }

    def body(self) -> dict[str, Any]:
        """The data of RebalanceRequested."""
        return self.request.model_dump(mode="json", exclude_none=True)


def wanted(
    *,
    target: int | None,
    conditions: Sequence[str] = (),
    targets: Sequence[str] = (),
    max_attempts: int | None = None,
    max_cost_usd: float | None = None,
    review: str | None = None,
) -> Wanted:
    """Read what the options say. Raises InvalidTarget, UnknownCondition or InvalidRequest."""
    if target is None and not targets:
        raise InvalidRequest(
            "No target is given.", advice="Say how many images each condition shall have, such as: evenskin plan 200."
        )
    if conditions and target is None:
        raise InvalidRequest("--condition needs a target.", advice="Or use --targets condition=number.")
    names = [name for option in conditions for name in option.split(",") if name.strip()]
    fields = {
        "target_per_condition": None if target is None else _checked(target, "The target"),
        "conditions": [parse_condition(name).value for name in names] or None,
        "targets": _parse_targets(targets) or None,
        "max_attempts": max_attempts,
        "max_cost_usd": max_cost_usd,
        "review": review,
    }
    try:
        return Wanted(RebalanceRequested.model_validate({k: v for k, v in fields.items() if v is not None}))
    except ValidationError as error:
        raise InvalidRequest(first_problem(error) + ".") from error


def _parse_targets(options: Sequence[str]) -> dict[str, int]:
    """`acne=200,redness=150`; a colon does as well, as in the HTTP API."""
    parsed: dict[str, int] = {}
    for part in (part.strip() for option in options for part in option.split(",") if part.strip()):
        name, separator, number = part.replace(":", "=").partition("=")
        try:
            value = int(number)
        except ValueError:
            raise InvalidRequest(f"'{part}' is not a target.", advice="Write it as condition=number.") from None
        condition = parse_condition(name).value
        if not separator or condition in parsed:
            raise InvalidRequest(f"'{part}': {condition} has two targets.")
        parsed[condition] = _checked(value, f"The target of {condition}")
    return parsed


def _checked(value: int, what: str) -> int:
    if not 0 <= value <= MAX_TARGET:
        raise InvalidTarget(
            f"{what} is {value:,}; it can be 0 to {MAX_TARGET:,}.", advice="0 asks for a training of what there is."
        )
    return value
