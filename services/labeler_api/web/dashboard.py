"""What the dashboard shows, read from the ledger; and one look for everybody who watches it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns.campaign import ACTIVE, CampaignState
from services.labeler_api.campaigns.outlook import PACE_S, images_per_minute, projected_cost, remaining_s
from services.labeler_api.campaigns.prices import micro_usd, usd
from services.labeler_api.ledger import counters
from services.labeler_api.ledger.database import Database, row_of, rows_of
from services.labeler_api.ledger.tables import campaign_table, image_table, model_table, slot_table
from services.labeler_api.pictures.images import Status
from services.labeler_api.web import views
from shared.bus import Bus
from shared.documents.dashboard import CampaignProgress, Dashboard
from shared.documents.rebalances import Campaign, TrainedModel
from shared.errors import EvenskinError
from shared.taxonomy import MONK_TONES, Condition

LOOK_S = 1.0  # seconds between two looks at the ledger, however many watch
LOOK_SHARE = 0.1  # of the time that looks may take: a large campaign, which is long to count, is looked at less often
DEAD_LETTERS_S = 10.0  # seconds between two looks for dead letters, which a broker hands out to be read
BROKER_S = 2.0  # longest wait for a broker that does not answer

_CHOSEN_CAMPAIGN = (
    sa.select(campaign_table)
    .order_by(
        (campaign_table.c.state.in_(ACTIVE) | campaign_table.c.model_due_at.is_not(None)).desc(),
        campaign_table.c.sequence.desc(),
    )
    .limit(1)
)
_LAST_MODELS = sa.select(model_table).order_by(model_table.c.created_at.desc(), model_table.c.version).limit(2)
_ATTEMPTS = sa.select(sa.func.coalesce(sa.func.sum(slot_table.c.attempt), 0)).where(
    slot_table.c.campaign_id == sa.bindparam("campaign_id")
)
_IMAGES = (
    sa.select(
        image_table.c.status,
        sa.func.count().label("images"),
        sa.func.count(image_table.c.augmented_at).label("augmented"),
        sa.func.count(sa.case((image_table.c.augmented_at > sa.bindparam("since"), 1))).label("lately"),
    )
    .join(slot_table, image_table.c.slot_id == slot_table.c.id)
    .where(slot_table.c.campaign_id == sa.bindparam("campaign_id"))
    .group_by(image_table.c.status)
)


async def dashboard(connection: AsyncConnection, dead_letters: int | None) -> Dashboard:
    """The dashboard's document at this moment."""
    row = await row_of(connection, _CHOSEN_CAMPAIGN)
    campaign = None if row is None else await views.campaign(connection, row["id"])
    models = await rows_of(connection, _LAST_MODELS)
    return Dashboard(
        balance=await views.balance(connection),
        tones=await _tones(connection),
        campaign=campaign,
        progress=None if row is None or campaign is None else await _progress(connection, row, campaign),
        models=tuple(TrainedModel(**{name: found[name] for name in TrainedModel.model_fields}) for found in models),
        dead_letters=dead_letters,
    )


async def _tones(connection: AsyncConnection) -> dict[Condition, tuple[int, ...]]:
    found = dict.fromkeys(((c, tone) for c in Condition for tone in MONK_TONES), 0)
    for name, total in (await counters.totals(connection, "tones/")).items():
        _, condition, _, tone = name.split("/")
        if condition in tuple(Condition):  # clear skin is none
            found[Condition(condition), int(tone)] += total
    return {condition: tuple(found[condition, tone] for tone in MONK_TONES) for condition in Condition}


async def _progress(connection: AsyncConnection, row: Mapping[str, Any], campaign: Campaign) -> CampaignProgress:
    now = time.time()
    requested = (await connection.execute(_ATTEMPTS, {"campaign_id": row["id"]})).scalar_one()
    found = await connection.execute(_IMAGES, {"campaign_id": row["id"], "since": now - PACE_S})
    images = {status: (count, augmented, lately) for status, count, augmented, lately in found}
    by_status = {status: images.get(status.value, (0, 0, 0)) for status in Status}
    accepted, augmented, lately = by_status[Status.ACCEPTED]
    slots = campaign.slots
    pace = images_per_minute(lately, now - row["created_at"]) if slots.open else None
    is_paused = campaign.state == CampaignState.PAUSED
    return CampaignProgress(
        requested=requested,
        generated=sum(count for count, _, _ in by_status.values()),
        in_review=by_status[Status.PENDING][0],
        accepted=accepted,
        rejected=by_status[Status.REJECTED][0],
        augmented=augmented,
        committed_usd=usd(row["committed_micro_usd"]),
        projected_usd=usd(
            projected_cost(
                spent=micro_usd(campaign.spent_usd),
                counted=slots.counted,
                missing=slots.open,
                committed=row["committed_micro_usd"],
                worst=max(micro_usd(campaign.worst_cost_usd), row["committed_micro_usd"]),
            )
        ),
        images_per_minute=pace,
        remaining_s=None if pace is None or is_paused else remaining_s(slots.open, pace),
    )


@dataclass(frozen=True)
class Snapshot:
    """The document as JSON. `id` is the same for the same document."""

    text: str
    id: str


class DashboardFeed:
    """The newest snapshot. It is read while somebody asks, and once for all who ask at about the same time."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._reading = asyncio.Lock()
        self._newest: Snapshot | None = None
        self._next_look = 0.0
        self._dead_letters: int | None = None
        self._next_letters = 0.0

    async def snapshot(self) -> Snapshot:
        """The newest snapshot, not older than a look takes to be worth another one. Raises DatabaseUnavailable."""
        async with self._reading:
            if self._newest is None or time.monotonic() >= self._next_look:
                await self._look()
            assert self._newest is not None
            return self._newest

    async def _look(self) -> None:
        await self._count_dead_letters()
        started = time.monotonic()
        async with self._database.reading() as connection:
            document = await dashboard(connection, self._dead_letters)
        text = document.json_text()
        self._newest = Snapshot(text, hashlib.sha256(text.encode()).hexdigest()[:32])
        ended = time.monotonic()
        self._next_look = started + max(LOOK_S, (ended - started) / LOOK_SHARE)

    async def _count_dead_letters(self) -> None:
        if time.monotonic() < self._next_letters:
            return
        try:
            async with asyncio.timeout(BROKER_S):
                self._dead_letters = len(await self._bus.dead_letters(None))
        except (EvenskinError, TimeoutError):
            self._dead_letters = None
        self._next_letters = time.monotonic() + DEAD_LETTERS_S
