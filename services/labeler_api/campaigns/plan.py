"""What a rebalance would do: quotas, cost and duration. Pure; nothing is read or changed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.taxonomy import Condition, Severity, split_over_severities

MICRO = 1_000_000  # money is counted in millionths of a dollar, so that sums are exact


@dataclass(frozen=True)
class Quota:
    """How many images one condition and severity must still get."""

    condition: Condition
    severity: Severity
    count: int

    def document(self) -> dict[str, Any]:
        """As it stands in HTTP answers."""
        return {"condition": self.condition.value, "severity": self.severity.label, "count": self.count}


@dataclass(frozen=True)
class Plan:
    """Quotas of a campaign, and what they cost at a price per image (millionths of a dollar)."""

    targets: Mapping[Condition, int]
    quotas: tuple[Quota, ...]
    price_micro_usd: int
    max_attempts: int
    max_cost_micro_usd: int | None = None

    @property
    def total(self) -> int:
        """Slots: images still to be made."""
        return sum(quota.count for quota in self.quotas)

    @property
    def cost_micro_usd(self) -> int:
        """Cost if every first attempt is accepted."""
        return self.total * self.price_micro_usd

    @property
    def worst_cost_micro_usd(self) -> int:
        """Cost if every attempt is used up, or the budget, if that is less: it is never exceeded."""
        worst = self.cost_micro_usd * self.max_attempts
        return worst if self.max_cost_micro_usd is None else min(worst, self.max_cost_micro_usd)

    def document(self, *, provider: str, images_per_minute: float) -> dict[str, Any]:
        """As `GET /v1/plan` answers. Duration in seconds, at the provider's pace, without retries."""
        missing: dict[str, int] = {condition.value: 0 for condition in self.targets}
        for quota in self.quotas:
            missing[quota.condition.value] += quota.count
        return {
            "targets": {condition.value: target for condition, target in self.targets.items()},
            "missing": missing,
            "quotas": [quota.document() for quota in self.quotas],
            "total": self.total,
            "price_usd": self.price_micro_usd / MICRO,
            "cost_usd": self.cost_micro_usd / MICRO,
            "worst_cost_usd": self.worst_cost_micro_usd / MICRO,
            "max_attempts": self.max_attempts,
            "provider": provider,
            "images_per_minute": images_per_minute,
            "duration_s": round(self.total * 60 / images_per_minute, 1),
        }


def make_plan(
    targets: Mapping[Condition, int],
    have: Mapping[Condition, int],
    *,
    price_micro_usd: int,
    max_attempts: int,
    max_cost_micro_usd: int | None = None,
) -> Plan:
    """Split what each condition lacks (its target less what it has, or will get) over the severities."""
    quotas = []
    for condition, target in targets.items():
        missing = max(0, target - have.get(condition, 0))
        quotas += [Quota(condition, severity, n) for severity, n in split_over_severities(missing).items() if n]
    return Plan(dict(targets), tuple(quotas), price_micro_usd, max_attempts, max_cost_micro_usd)
