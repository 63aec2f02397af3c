"""What a rebalance would do: quotas by severity and skin tone, cost and duration. Pure; nothing is read or changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import sub
from typing import Any

from services.labeler_api.campaigns.prices import budget_micro_usd, first_cost, micro_usd, usd, worst_cost
from services.labeler_api.campaigns.tones import NO_TONES, Tones, among_first, filled, spread
from services.labeler_api.settings import LabelerSettings
from shared.documents.rebalances import ConditionTones, PlanDocument, PlanWarning, QuotaDocument
from shared.errors import PlanTooLarge
from shared.events import RebalanceRequested
from shared.prices import PriceWarning
from shared.taxonomy import CLEAR, KINDS, MONK_TONES, Kind, Severity, parse_kind, parse_severity, split_over_severities

PLANNED_ON = ("shows/accepted/", "reserved/", "tones/", "reserved_tones/")
"""Prefixes of the counters that a plan looks at. They are read at one moment: between two looks, an image could leave
the reserved without being seen among the accepted."""


@dataclass(frozen=True)
class Quota:
    """How many images one condition and severity must still get, and of them how many of each skin tone.

    `severity`: None of clear skin.
    """

    condition: Kind
    severity: Severity | None
    tones: Tones

    @property
    def count(self) -> int:
        """Images of all tones."""
        return sum(self.tones)

    def document(self) -> dict[str, Any]:
        """As it is kept with its campaign."""
        return {**self.told.json_object(), "tones": list(self.tones)}

    @property
    def told(self) -> QuotaDocument:
        """As a plan tells of it; of its tones it tells elsewhere."""
        severity = None if self.severity is None else self.severity.label
        return QuotaDocument.model_validate({"condition": self.condition, "severity": severity, "count": self.count})

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Quota:
        """The quota that is kept so. One from before tones were planned has as many of each as can be."""
        tones = document.get("tones") or filled(NO_TONES, document["count"], 0)
        severity = None if document["severity"] is None else parse_severity(document["severity"])
        return cls(parse_kind(document["condition"]), severity, tuple(tones))


def between(quotas: Sequence[Quota], first: int, end: int) -> tuple[Quota, ...]:
    """What the slots from position `first` up to, and without, `end` are for. Slots fill the quotas one by one."""
    shares = []
    begin = 0
    for quota in quotas:
        start, stop = max(first - begin, 0), min(end - begin, quota.count)
        if start < stop:
            before, after = among_first(quota.tones, start), among_first(quota.tones, stop)
            shares.append(replace(quota, tones=tuple(map(sub, after, before))))
        begin += quota.count
    return tuple(shares)


@dataclass(frozen=True)
class Plan:
    """Quotas of a campaign, and what they cost at a price per image (millionths of a dollar).

    `tones`: of each condition that lacks images, those that are there by skin tone, as far as that is known.
    """

    targets: Mapping[Kind, int]
    quotas: tuple[Quota, ...]
    price_micro_usd: int
    max_attempts: int
    max_cost_micro_usd: int | None = None
    tones: Mapping[Kind, Tones] = field(default_factory=dict)

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
            quotas=tuple(quota.told for quota in self.quotas),
            tones=tuple(self._tones_of(condition, there) for condition, there in self.tones.items()),
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

    def _tones_of(self, condition: Kind, there: Tones) -> ConditionTones:
        own = (quota for quota in self.quotas if quota.condition == condition)
        missing = {CLEAR if quota.severity is None else quota.severity.label: quota.tones for quota in own}
        return ConditionTones.model_validate({"condition": condition, "there": there, "missing": missing})


def plan_for(totals: Mapping[str, int], request: RebalanceRequested, settings: LabelerSettings) -> Plan:
    """What a request would do now. `totals`: of the counters in PLANNED_ON.

    Images that running campaigns are still getting count as there, and so do their skin tones. Raises UnknownCondition,
    InvalidTarget, InvalidRequest, ConfigurationError where no price is known, and PlanTooLarge where it would ask for
    more images than one campaign may.
    """
    # An older version, beside this one, takes from clear skin what it never added.
    have = {kind: max(0, totals.get(f"shows/accepted/{kind}", 0)) + totals.get(f"reserved/{kind}", 0) for kind in KINDS}
    plan = make_plan(
        request.target_of(),
        have,
        tones={kind: _tones_there(totals, kind) for kind in KINDS},
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


def _tones_there(totals: Mapping[str, int], condition: Kind) -> tuple[Tones, ...]:
    """Images of a condition by skin tone: those not graded, as clear skin is, and those of each severity."""
    return tuple(
        tuple(
            # An older version, beside this one, gives back what it never reserved.
            max(0, totals.get(f"tones/{condition}/{severity}/{tone}", 0))
            + max(0, totals.get(f"reserved_tones/{condition}/{severity}/{tone}", 0))
            for tone in MONK_TONES
        )
        for severity in (0, *map(int, Severity))
    )


def make_plan(
    targets: Mapping[Kind, int],
    have: Mapping[Kind, int],
    *,
    tones: Mapping[Kind, Sequence[Tones]] | None = None,
    price_micro_usd: int,
    max_attempts: int,
    max_cost_micro_usd: int | None = None,
) -> Plan:
    """Split what each condition lacks (its target less what it has, or will get) over severities and skin tones.

    `tones`: of each condition, the images that have a known tone: those not graded, then those of each severity.
    """
    quotas: list[Quota] = []
    there: dict[Kind, Tones] = {}
    for condition, target in targets.items():
        missing = max(0, target - have.get(condition, 0))
        if not missing:
            continue
        known = (tones or {}).get(condition) or (NO_TONES,) * (1 + len(Severity))
        there[condition] = tuple(map(sum, zip(*known, strict=True)))
        # Conditions that lack a few images each do not all begin with the lightest.
        first = KINDS.index(condition) + sum(there[condition])
        wanted = filled(there[condition], missing, first)
        if condition is CLEAR:
            quotas.append(Quota(condition, None, wanted))
            continue
        shares = spread(known[1:], wanted)
        assert [*map(sum, shares)] == [*split_over_severities(missing).values()]
        quotas += [Quota(condition, *share) for share in zip(Severity, shares, strict=True) if any(share[1])]
    return Plan(dict(targets), tuple(quotas), price_micro_usd, max_attempts, max_cost_micro_usd, there)
