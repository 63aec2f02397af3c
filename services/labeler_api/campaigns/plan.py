"""What a rebalance would do: quotas, cost and duration. Pure; nothing is read or changed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.labeler_api.campaigns.prices import budget_micro_usd, first_cost, micro_usd, usd, worst_cost
from services.labeler_api.settings import LabelerSettings
from shared.documents.rebalances import PlanDocument, PlanWarning, QuotaDocument
from shared.errors import PlanTooLarge
from shared.events import RebalanceRequested
from shared.prices import PriceWarning
from shared.taxonomy import Condition, Severity, parse_severity, split_over_severities

PLANNED_ON = ("shows/accepted/", "reserved/")
"""Prefixes of the counters that a plan looks at. They are read at one moment: between two looks, an image could leave
the reserved without being seen among the accepted."""


@dataclass(frozen=True)
class Quota:
    """How many images one condition and severity must still get."""

    condition: Condition
    severity: Severity
    count: int

    def document(self) -> dict[str, Any]:
        """As it is kept with its campaign."""
        return {"condition": self.condition.value, "severity": self.severity.label, "count": self.count}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Quota:
        """The quota that is kept so."""
        return cls(Condition(document["condition"]), parse_severity(document["severity"]), document["count"])


def between(quotas: Sequence[Quota], first: int, end: int) -> tuple[Quota, ...]:
    """What the slots from position `first` up to, and without, `end` are for. Slots fill the quotas one by one."""
    shares = []
    begin = 0
    for quota in quotas:
        count = min(end, begin + quota.count) - max(first, begin)
        if count > 0:
            shares.append(replace(quota, count=count))
        begin += quota.count
    return tuple(shares)


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
        return first_cost(self.total, self.price_micro_usd)

    @property
    def worst_cost_micro_usd(self) -> int:
        """Cost if every attempt is used up, or the budget, if that is less: no attempt is asked for beyond it."""
        return worst_cost(self.total, self.price_micro_usd, self.max_attempts, self.max_cost_micro_usd)

    def document(
        self, *, provider: str, images_per_minute: float, warnings: Sequence[tuple[PriceWarning, str]] = ()
    ) -> PlanDocument:
        """As `GET /v1/plan` answers, at the provider's pace in images a minute. `warnings`: of the prices."""
        missing = dict.fromkeys(self.targets, 0)
        for quota in self.quotas:
            missing[quota.condition] += quota.count
        return PlanDocument(
            targets=dict(self.targets),
            missing=missing,
            quotas=tuple(QuotaDocument(**quota.document()) for quota in self.quotas),
            total=self.total,
            price_usd=usd(self.price_micro_usd),
            cost_usd=usd(self.cost_micro_usd),
            worst_cost_usd=usd(self.worst_cost_micro_usd),
            max_attempts=self.max_attempts,
            provider=provider,
            images_per_minute=images_per_minute,
            duration_s=round(self.total * 60 / images_per_minute, 1),
            warnings=tuple(PlanWarning(code=code, message=message) for code, message in warnings),
        )


def plan_for(totals: Mapping[str, int], request: RebalanceRequested, settings: LabelerSettings) -> Plan:
    """What a request would do now. `totals`: of the counters in PLANNED_ON.

    Images that running campaigns are still getting count as there. Raises UnknownCondition, InvalidTarget,
    InvalidRequest, ConfigurationError where no price is known, and PlanTooLarge where it would ask for more images than
    one campaign may.
    """
    have = {c: totals.get(f"shows/accepted/{c}", 0) + totals.get(f"reserved/{c}", 0) for c in Condition}
    plan = make_plan(
        request.target_of(),
        have,
        price_micro_usd=micro_usd(settings.price_usd),
        max_attempts=request.max_attempts,
        max_cost_micro_usd=budget_micro_usd(request.max_cost_usd),
    )
    if plan.total > settings.max_slots:
        raise PlanTooLarge(
            f"The rebalance would ask for {plan.total} images; one may ask for {settings.max_slots}.",
            advice="Lower the targets, or raise EVENSKIN_MAX_SLOTS of labeler-api.",
        )
    return plan


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
