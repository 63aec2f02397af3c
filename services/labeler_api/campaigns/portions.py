"""Portions: what concerns all slots of a campaign is done for some at a time, each time in a transaction of its own.

The slots of a running campaign are made, and their images asked for, as those before are answered: so many are under
way, whatever the campaign's size, and a pause leaves no more than those. The slots of a cancelled one are given up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid5

import sqlalchemy as sa

from services.labeler_api.campaigns.booking import book
from services.labeler_api.campaigns.campaign import CampaignState
from services.labeler_api.campaigns.filling import apply_to_slot, count_slots, count_tones, request_due
from services.labeler_api.campaigns.plan import between
from services.labeler_api.campaigns.prices import first_cost
from services.labeler_api.campaigns.requests import request_message
from services.labeler_api.campaigns.rows import campaign_in, campaign_row, quotas_in, reserves_tones
from services.labeler_api.campaigns.slot import RESERVED, CampaignCancelled, SlotState
from services.labeler_api.campaigns.subjects import subjects_between
from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.relay import Relay
from services.labeler_api.ledger.tables import campaign_table, counter_table, slot_table
from services.labeler_api.ledger.transaction import Row, Transaction
from services.labeler_api.ledger.wakeable import Wakeable
from services.labeler_api.settings import LabelerSettings

PORTION = 200  # slots of one transaction: what it takes of the event loop at a time is a fraction of 100 ms
GATHER_S = 0.1  # seconds that wakes are gathered for: several answers make room for one portion
POLL_S = 1.0  # seconds between looks at campaigns that nobody woke us for

_TO_BE_MADE = (
    sa.select(campaign_table.c.id)
    .where(campaign_table.c.state == CampaignState.RUNNING.value, campaign_table.c.slots_made < campaign_table.c.total)
    .order_by(campaign_table.c.sequence)
)
_TO_BE_GIVEN_UP = sa.select(campaign_table.c.id).where(
    campaign_table.c.state == CampaignState.CANCELLED.value,
    sa.or_(
        sa.exists().where(slot_table.c.campaign_id == campaign_table.c.id, slot_table.c.state.in_(RESERVED)),
        campaign_table.c.slots_made < campaign_table.c.total,  # as an older version, beside this one, cancels it
    ),
)
# At one moment, so that slots which fail meanwhile are in both or in neither.
_FAILED_BEYOND_ROWS = sa.select(
    sa.select(sa.func.coalesce(sa.func.sum(counter_table.c.value), 0))
    .where(counter_table.c.name >= sa.bindparam("first"), counter_table.c.name < sa.bindparam("end"))
    .scalar_subquery()
    - sa.select(sa.func.count())
    .select_from(slot_table)
    .where(slot_table.c.campaign_id == sa.bindparam("campaign_id"), slot_table.c.state == SlotState.FAILED.value)
    .scalar_subquery()
)
_A_SLOT = sa.select(slot_table.c.id).where(slot_table.c.campaign_id == sa.bindparam("campaign_id")).limit(1)
# Counted no further than it matters: as many rows as may be under way, of an index.
_UNDER_WAY = sa.select(sa.func.count()).select_from(
    sa.select(slot_table.c.id)
    .where(slot_table.c.campaign_id == sa.bindparam("campaign_id"), slot_table.c.state == SlotState.OPEN.value)
    .limit(sa.bindparam("most"))
    .subquery()
)


class Portions:
    """Takes the next portion of every campaign that has one to take."""

    def __init__(self, database: Database, settings: LabelerSettings, relay: Relay) -> None:
        self._database = database
        self._settings = settings
        self._relay = relay
        self._loop = Wakeable(gather_s=GATHER_S, poll_s=POLL_S)

    def wake(self) -> None:
        """There may be room: look at once."""
        self._loop.wake()

    async def run(self) -> None:
        """Take portions for ever."""
        await self._loop.run(self._take_all)

    async def _take_all(self) -> None:
        async with self._database.reading() as connection:
            to_be_made = (await connection.execute(_TO_BE_MADE)).scalars().all()
            to_be_given_up = (await connection.execute(_TO_BE_GIVEN_UP)).scalars().all()
        for campaign_id in to_be_made:
            request = partial(request_portion, campaign_id=campaign_id, settings=self._settings)
            while await self._database.write(request) == PORTION:
                self._relay.wake()
            self._relay.wake()
        for campaign_id in to_be_given_up:
            while await self._database.write(partial(self._give_up_some, campaign_id)):
                pass

    async def _give_up_some(self, campaign_id: UUID, transaction: Transaction) -> int:
        waiting = await lock_waiting(transaction, campaign_id)
        await give_up_unmade(transaction, await campaign_row(transaction, campaign_id))
        await give_up(transaction, waiting, self._settings)
        return len(waiting)


async def request_portion(transaction: Transaction, campaign_id: UUID, settings: LabelerSettings) -> int:
    """Make the next slots of a campaign, as many as there is room for, and ask for their images. Returns how many.

    Which are the next is read from the campaign's row, which is locked: replicas make none twice. Raises NotFound.
    """
    campaign = await campaign_row(transaction, campaign_id)
    made, total = await _slots_made(transaction, campaign), campaign["total"]
    if made == total or not campaign_in(campaign).asks:
        return 0
    most = settings.requests_under_way
    under_way = (await transaction.execute(_UNDER_WAY, {"campaign_id": campaign_id, "most": most})).scalar_one()
    end = min(total, made + min(PORTION, most - under_way))
    slots = list(_slot_rows(campaign, made, end, due=request_due(settings)))
    if not slots:
        return 0
    transaction.insert(slot_table, slots)
    if not reserves_tones(campaign):
        for quota in between(quotas_in(campaign), made, end):
            count_tones(transaction, quota.condition, quota.severity, quota.tones)
    transaction.update(campaign_table, campaign, slots_made=end)
    transaction.emit(*(request_message({**campaign, **slot}, settings) for slot in slots))
    return len(slots)


async def _slots_made(transaction: Transaction, campaign: Row) -> int:
    """How many slots of a campaign in hand are made.

    An older version, for as long as it runs beside this one, makes all of them at once, and does not say so. This one
    makes the first of them in the transaction that starts the campaign.
    """
    if not campaign["slots_made"] and (await transaction.execute(_A_SLOT, {"campaign_id": campaign["id"]})).first():
        transaction.update(campaign_table, campaign, slots_made=campaign["total"])
    made: int = campaign["slots_made"]
    return made


def _slot_rows(campaign: Row, first: int, end: int, *, due: float) -> Iterator[dict[str, Any]]:
    """The slots of a campaign from position `first` up to, and without, `end`: they follow from its id and quotas."""
    wanted = subjects_between(campaign["id"], quotas_in(campaign), first, end)
    for position, (condition, severity, subject) in enumerate(wanted, first):
        yield {
            "id": uuid5(campaign["id"], f"slot-{position}"),
            "campaign_id": campaign["id"],
            "position": position,
            "condition": condition.value,
            "severity": int(severity or 0),
            "state": SlotState.OPEN.value,
            "attempt": 1,
            "subject": subject.model_dump(mode="json"),
            "rejections": [],
            "unsettled": [1],
            "asks": 0,
            "given_up": [],
            "deadline": due,
            "image_id": None,
        }


async def lock_waiting(transaction: Transaction, campaign_id: UUID) -> list[Row]:
    """Lock a portion of a campaign's slots that stand for images which the dataset does not have yet."""
    return await transaction.lock_slots_of(campaign_id, RESERVED, PORTION)


async def give_up(transaction: Transaction, waiting: Sequence[Row], settings: LabelerSettings) -> None:
    """Fail slots in hand of a cancelled campaign."""
    for slot in waiting:
        await apply_to_slot(transaction, slot, CampaignCancelled(), settings)


async def give_up_unmade(transaction: Transaction, campaign: Row) -> None:
    """Fail the slots of a cancelled campaign in hand that were never made: what they reserved goes back, once.

    From then on, all of its slots count as made. An older version does not say so where it gave them back.
    """
    made, total = await _slots_made(transaction, campaign), campaign["total"]
    if made == total:
        return
    transaction.update(campaign_table, campaign, slots_made=total)
    prefix = f"campaign/{campaign['id']}/{SlotState.FAILED}/"
    parameters = {"first": prefix, "end": prefix + "\x7f", "campaign_id": campaign["id"]}
    if (await transaction.execute(_FAILED_BEYOND_ROWS, parameters)).scalar_one():
        return
    for quota in between(quotas_in(campaign), made, total):
        count_slots(
            transaction, campaign["id"], quota.condition, quota.severity, reserved=-quota.count, failed=quota.count
        )
        if reserves_tones(campaign):
            count_tones(transaction, quota.condition, quota.severity, [-number for number in quota.tones])
    unasked = first_cost(total - made, campaign["price_micro_usd"])
    await book(transaction, campaign["id"], paid=0, committed=-unasked)
