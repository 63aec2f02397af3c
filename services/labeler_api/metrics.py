"""What Prometheus is told of the ledger: read from its counters when it is scraped, never by counting images.

Every replica shows the same ledger, so a query takes their maximum, not their sum. While the database does not
answer there is nothing to show.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns.campaign import ACTIVE, CampaignState
from services.labeler_api.campaigns.prices import usd
from services.labeler_api.ledger import counters
from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.tables import campaign_table, outbox_table, webhook_table
from services.labeler_api.pictures.images import Status
from shared.errors import DatabaseUnavailable
from shared.events import ACCOUNT_FAILURES
from shared.metrics import MetricRegistry
from shared.taxonomy import Condition

log = structlog.get_logger(__name__)

REFRESH_S = 5.0  # longest look at the database: a scrape is given up after ten seconds
_OPERATOR = "operator"  # who paused a campaign that no account failure did


@dataclass(frozen=True)
class _Family:
    name: str
    meaning: str
    labels: tuple[str, ...] = ()

    def metric(self, samples: Mapping[tuple[str, ...], float]) -> Metric:
        kind = CounterMetricFamily if self.name.endswith("_total") else GaugeMetricFamily
        metric = kind(self.name, self.meaning, labels=self.labels)
        for labels, value in samples.items():
            metric.add_metric(labels, value)
        return metric


_IMAGES = _Family("evenskin_images", "Images by status", ("status",))
_SHOWN = _Family(
    "evenskin_condition_images",
    "Images by condition and status; one counts for every condition it shows",
    ("condition", "status"),
)
_VARIANTS = _Family("evenskin_variants", "Variants of accepted images")
_UNAUGMENTED = _Family("evenskin_unaugmented_images", "Accepted images that have no variants yet")
_CAMPAIGNS = _Family(
    "evenskin_campaigns_active",
    "Campaigns by state: running, paused, closing, or training (met, and without a model yet)",
    ("state",),
)
_PAUSED = _Family(
    "evenskin_campaigns_paused",
    "Paused campaigns by why: what the provider's account lacks, or operator",
    ("reason",),
)
_SLOTS = _Family(
    "evenskin_campaign_slots",
    "Slots of the active campaigns by condition and state: counted, failed, pending; their sum is the quota",
    ("condition", "state"),
)
_REVIEWS = _Family("evenskin_reviews_total", "Verdicts on images, by reviewer: gate, person", ("verdict", "reviewer"))
_SPENT = _Family("evenskin_spent_usd_total", "What the ledger has booked for generated images")
_BACKLOG = _Family("evenskin_outbox_messages", "Events that are written down and not yet published")
_OLDEST = _Family("evenskin_outbox_oldest_seconds", "Age of the oldest of them, 0 where there is none")
_PARKED = _Family("evenskin_outbox_parked_messages", "Events that cannot be published, and are kept with their error")
_WEBHOOKS = _Family("evenskin_webhooks", "Webhooks by state: waiting to be taken, given_up", ("state",))
_FAMILIES = (
    _IMAGES,
    _SHOWN,
    _VARIANTS,
    _UNAUGMENTED,
    _CAMPAIGNS,
    _PAUSED,
    _SLOTS,
    _REVIEWS,
    _SPENT,
    _BACKLOG,
    _OLDEST,
    _PARKED,
    _WEBHOOKS,
)


class LedgerMetrics(Collector):
    """The ledger as it was at the last `refresh`."""

    def __init__(self, registry: MetricRegistry, database: Database) -> None:
        self._database = database
        self._metrics: list[Metric] = []
        for family in _FAMILIES:
            kind = "counter" if family.name.endswith("_total") else "gauge"
            registry.describe_as(family.name, kind, family.meaning, *family.labels)
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """The metrics' names, for the registry."""
        return [family.metric({}) for family in _FAMILIES]

    def collect(self) -> Iterable[Metric]:
        """What the last look found."""
        return self._metrics

    async def refresh(self) -> None:
        """Look at the ledger. What is not there to be seen is not shown."""
        try:
            async with asyncio.timeout(REFRESH_S), self._database.reading() as connection:
                self._metrics = [family.metric(samples) for family, samples in (await _look(connection)).items()]
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("ledger_not_measured", error=str(error) or "timed out")
            self._metrics = []


async def _look(connection: AsyncConnection) -> dict[_Family, dict[tuple[str, ...], float]]:
    found = await counters.totals(connection, "images/", "shows/", "variants", "unaugmented", "reviews/", "paid")
    is_waiting = outbox_table.c.parked_at.is_(None)
    waiting = sa.select(sa.func.count(), sa.func.min(outbox_table.c.created_at)).where(is_waiting)
    messages, oldest = (await connection.execute(waiting)).one()
    parked = (await connection.execute(sa.select(sa.func.count()).where(~is_waiting))).scalar_one()
    given_up = webhook_table.c.failed_at.is_not(None)
    counted = await connection.execute(sa.select(given_up, sa.func.count()).group_by(given_up))
    webhooks = {bool(is_given_up): number for is_given_up, number in counted}
    active = await rows_of(
        connection,
        sa.select(campaign_table.c.id, campaign_table.c.state, campaign_table.c.reason, campaign_table.c.quotas).where(
            campaign_table.c.state.in_(ACTIVE) | campaign_table.c.model_due_at.is_not(None)
        ),
    )
    states = Counter(row["state"] if row["state"] in ACTIVE else "training" for row in active)
    return {
        _IMAGES: {(s.value,): found.get(f"images/{s}", 0) for s in Status},
        _SHOWN: {(c.value, s.value): found.get(f"shows/{s}/{c}", 0) for c in Condition for s in Status},
        _VARIANTS: {(): found.get("variants", 0)},
        _UNAUGMENTED: {(): found.get("unaugmented", 0)},
        _CAMPAIGNS: {(state,): states[state] for state in (*ACTIVE, "training")},
        _PAUSED: _paused(row["reason"] for row in active if row["state"] == CampaignState.PAUSED),
        _SLOTS: await _slots(connection, active),
        _REVIEWS: {_reviewed(name): total for name, total in found.items() if name.startswith("reviews/")},
        _SPENT: {(): usd(found.get("paid", 0))},
        _BACKLOG: {(): messages},
        _PARKED: {(): parked},
        _WEBHOOKS: {("waiting",): webhooks.get(False, 0), ("given_up",): webhooks.get(True, 0)},
        _OLDEST: {(): max(0.0, time.time() - oldest) if oldest is not None else 0.0},
    }


def _paused(reasons: Iterable[str | None]) -> dict[tuple[str, ...], float]:
    """Paused campaigns by why, from the reasons that they tell."""
    paused = dict.fromkeys((*sorted(ACCOUNT_FAILURES), _OPERATOR), 0.0)
    for reason in reasons:
        kind = (reason or "").partition(":")[0]
        paused[kind if kind in paused else _OPERATOR] += 1
    return {(str(kind),): number for kind, number in paused.items()}


async def _slots(connection: AsyncConnection, active: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], float]:
    """Slots of campaigns by condition and state, summed over the campaigns."""
    slots: Counter[tuple[str, ...]] = Counter()
    prefixes = []
    for campaign in active:
        prefixes.append(f"campaign/{campaign['id']}/")
        for quota in campaign["quotas"]:
            slots[quota["condition"], "pending"] += quota["count"]
    for name, total in (await counters.totals(connection, *prefixes) if prefixes else {}).items():
        _, _, state, condition, _ = name.split("/")
        slots[condition, state] += total
        slots[condition, "pending"] -= total
    return dict(slots)


def _reviewed(name: str) -> tuple[str, str]:
    _, verdict, reviewer = name.split("/")
    return verdict, reviewer
