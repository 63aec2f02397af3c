"""Campaigns and their slots: planned, started, filled, reopened, closed.

A slot is `open` while a request for it is out, `review` while a person looks at its image, `augmenting`
once that is accepted, `counted` once its variants are there, and `failed` when its attempts are used up.
A campaign is `running`, then `closing` (its dataset is being written) and `met`; or `exhausted`, where
slots failed; or `rejected`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns.plan import MICRO, Plan, make_plan
from services.labeler_api.campaigns.subjects import subject_of
from services.labeler_api.ledger import counters, deferred, outbox
from services.labeler_api.ledger.database import row_of
from services.labeler_api.ledger.statements import among
from services.labeler_api.ledger.tables import campaign_table, slot_table
from services.labeler_api.settings import LabelerSettings
from shared.errors import NotFound, OverBudget
from shared.events import ImageRequested, RebalanceRequested, Subject
from shared.message import Message
from shared.taxonomy import Condition, Severity, generated_image_id
from shared.tracing import continued

OPEN, REVIEW, AUGMENTING, COUNTED, FAILED = "open", "review", "augmenting", "counted", "failed"
RUNNING, CLOSING, MET, EXHAUSTED, REJECTED = "running", "closing", "met", "exhausted", "rejected"

MAX_BUDGET_USD = 1e12  # what is above is no limit: no campaign can cost as much
START_LOCK = 0x7374  # "st": key of the advisory lock under which a campaign is planned and reserved


_READ = sa.select(campaign_table).where(campaign_table.c.id == sa.bindparam("which"))
_LOCK = _READ.with_for_update()
_LOCK_SLOTS = (
    sa.select(slot_table, campaign_table.c.review, campaign_table.c.price_micro_usd)
    .join(campaign_table, campaign_table.c.id == slot_table.c.campaign_id)
    .where(among(slot_table.c.id, "which"))
    .order_by(slot_table.c.id)  # so that no two transactions can deadlock on them
    .with_for_update(of=slot_table)
)
_UPDATE_SLOT = sa.update(slot_table).where(slot_table.c.id == sa.bindparam("which"))


async def plan_for(connection: AsyncConnection, request: RebalanceRequested, settings: LabelerSettings) -> Plan:
    """What the request would do now. Images that running campaigns are still getting count as there.

    Raises UnknownCondition, InvalidTarget, InvalidRequest.
    """
    # Both at one moment: between two looks, an image could leave the reserved without being seen among the accepted.
    found = await counters.totals(connection, "shows/accepted/", "reserved/")
    have = {c: found.get(f"shows/accepted/{c}", 0) + found.get(f"reserved/{c}", 0) for c in Condition}
    budget = None if request.max_cost_usd is None else round(min(request.max_cost_usd, MAX_BUDGET_USD) * MICRO)
    return make_plan(
        request.target_of(),
        have,
        price_micro_usd=round(settings.image_price_usd * MICRO),
        max_attempts=request.max_attempts,
        max_cost_micro_usd=budget,
    )


async def exists(connection: AsyncConnection, campaign_id: UUID) -> bool:
    """Whether a campaign with this id was started (or rejected) before."""
    found = await connection.execute(sa.select(campaign_table.c.id).where(campaign_table.c.id == campaign_id))
    return found.first() is not None


async def start(
    connection: AsyncConnection, request: RebalanceRequested, message: Message, settings: LabelerSettings
) -> None:
    """Start a campaign: its slots, and a request for each. The same campaign id again changes nothing.

    Raises OverBudget, and what `plan_for` raises.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({START_LOCK})"))
    if await exists(connection, request.campaign_id):
        return
    plan = await plan_for(connection, request, settings)
    if plan.max_cost_micro_usd is not None and plan.cost_micro_usd > plan.max_cost_micro_usd:
        raise OverBudget(
            f"{plan.total} images cost ${plan.cost_micro_usd / MICRO:.2f}; the budget is "
            f"${plan.max_cost_micro_usd / MICRO:.2f}.",
            advice="Raise max_cost_usd, or lower the targets.",
        )
    await _insert(connection, request, message, plan, RUNNING if plan.total else CLOSING)
    now = time.time()
    rows, messages, position = [], [], 0
    reserved: Counter[str] = Counter()
    for quota in plan.quotas:
        reserved[f"reserved/{quota.condition}"] += quota.count
        for _ in range(quota.count):
            row = {
                "id": uuid5(request.campaign_id, f"slot-{position}"),
                "campaign_id": request.campaign_id,
                "position": position,
                "condition": quota.condition.value,
                "severity": int(quota.severity),
                "state": OPEN,
                "attempt": 1,
                "subject": subject_of(request.campaign_id, quota.condition, position, 1).model_dump(mode="json"),
                "rejections": [],
                # The last request waits its turn behind the others, at the provider's pace.
                "deadline": now + settings.request_deadline_s + position * 60 / settings.images_per_minute,
                "image_id": None,
            }
            rows.append(row)
            messages.append(message.caused(image_requested(row), source=outbox.SOURCE))
            position += 1
    if rows:
        await connection.execute(sa.insert(slot_table), rows)
        outbox.enqueue(connection, messages)
        counters.add(connection, reserved)


async def reject(connection: AsyncConnection, request: RebalanceRequested, message: Message, reason: str) -> None:
    """Keep a record of a rebalance that was not started."""
    plan = Plan({}, (), 0, request.max_attempts)
    await _insert(connection, request, message, plan, REJECTED, reason=outbox.storable(reason))


async def _insert(
    connection: AsyncConnection, request: RebalanceRequested, message: Message, plan: Plan, state: str, **extra: Any
) -> None:
    values = {
        "id": request.campaign_id,
        "state": state,
        "targets": {condition.value: target for condition, target in plan.targets.items()},
        "quotas": [quota.document() for quota in plan.quotas],
        "total": plan.total,
        "review": request.review.value,
        "max_attempts": plan.max_attempts,
        "max_cost_micro_usd": plan.max_cost_micro_usd,
        "price_micro_usd": plan.price_micro_usd,
        "committed_micro_usd": plan.cost_micro_usd,
        "correlation_id": outbox.storable(message.correlation_id, outbox.TRACE_CHARACTERS),
        "traceparent": outbox.storable(continued(message.traceparent), outbox.TRACE_CHARACTERS),
        "created_at": time.time(),
        **extra,
    }
    await connection.execute(sa.insert(campaign_table).values(values))


def image_requested(slot: Mapping[str, Any]) -> ImageRequested:
    """The request for a slot's present attempt."""
    return ImageRequested(
        campaign_id=slot["campaign_id"],
        slot_id=slot["id"],
        attempt=slot["attempt"],
        image_id=generated_image_id(slot["id"], slot["attempt"]),
        condition=Condition(slot["condition"]),
        severity=Severity(slot["severity"]),
        subject=Subject.model_validate(slot["subject"]),
        earlier_rejections=tuple(slot["rejections"]),
    )


async def lock_ahead(connection: AsyncConnection, slot_ids: Collection[UUID]) -> None:
    """Lock slots in one statement, so that `locked_slot` has each of them at no cost, once."""
    if slot_ids:
        rows = (await connection.execute(_LOCK_SLOTS, {"which": list(slot_ids)})).mappings()
        deferred.of(connection).slots.update((row["id"], dict(row)) for row in rows)


async def locked_slot(connection: AsyncConnection, slot_id: UUID) -> dict[str, Any] | None:
    """A slot's row with its campaign's review policy and price; the slot is locked until the transaction ends."""
    slot = deferred.of(connection).slots.pop(slot_id, None)
    if slot is None:
        await deferred.write(connection)  # its move may be among it
        slot = await row_of(connection, _LOCK_SLOTS, which=[slot_id])
    return slot


async def slot_of(connection: AsyncConnection, image: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row of the slot that an image was made for, locked; None if it was made for none."""
    return await locked_slot(connection, image["slot_id"]) if image["slot_id"] else None


async def campaign_row(connection: AsyncConnection, campaign_id: UUID, *, lock: bool = False) -> dict[str, Any]:
    """A campaign's row. Raises NotFound."""
    row = await row_of(connection, _LOCK if lock else _READ, which=campaign_id)
    if row is None:
        raise NotFound(f"There is no campaign {campaign_id}.")
    return row


async def move(connection: AsyncConnection, slot: Mapping[str, Any], state: str, image_id: UUID | None) -> None:
    """Move a slot to a state other than open, held by an image or none; its campaign's counters follow."""
    values = {"state": state, "deadline": None, "image_id": image_id}
    deferred.of(connection).updates[_UPDATE_SLOT][slot["id"]] = {**values, "which": slot["id"]}
    counters.add(connection, _state_changes(slot, slot["state"], state))


async def count(connection: AsyncConnection, slot_id: UUID, image_id: UUID) -> None:
    """Count a slot that waits for this image's variants; any other is left as it is."""
    slot = await locked_slot(connection, slot_id)
    if slot is not None and (slot["image_id"], slot["state"]) == (image_id, AUGMENTING):
        await move(connection, slot, COUNTED, image_id)


def _state_changes(slot: Mapping[str, Any], before: str, after: str) -> dict[str, int]:
    """A slot's image is reserved until it is accepted (then the image itself counts) or given up."""
    changes: Counter[str] = Counter()
    for state, weight in ((before, -1), (after, 1)):
        if state in (OPEN, REVIEW):
            changes[f"reserved/{slot['condition']}"] += weight
        if state in (COUNTED, FAILED):
            name = f"{slot['condition']}/{slot['severity']}"
            changes[f"campaign/{slot['campaign_id']}/{state}/{name}"] += weight
    return changes


async def reopen(
    connection: AsyncConnection,
    slot: Mapping[str, Any],
    reason: str,
    settings: LabelerSettings,
) -> None:
    """Ask for the slot's next attempt with another subject, or fail it where attempts or budget are used up."""
    campaign = await campaign_row(connection, slot["campaign_id"], lock=True)
    committed = campaign["committed_micro_usd"] + campaign["price_micro_usd"]
    over_budget = campaign["max_cost_micro_usd"] is not None and committed > campaign["max_cost_micro_usd"]
    if slot["attempt"] >= campaign["max_attempts"] or over_budget:
        await move(connection, slot, FAILED, None)
        return
    attempt = slot["attempt"] + 1
    subject = subject_of(slot["campaign_id"], Condition(slot["condition"]), slot["position"], attempt)
    values = {
        "state": OPEN,
        "attempt": attempt,
        "subject": subject.model_dump(mode="json"),
        "rejections": [*slot["rejections"], reason],
        "deadline": time.time() + settings.request_deadline_s,
        "image_id": None,
    }
    await connection.execute(sa.update(slot_table).where(slot_table.c.id == slot["id"]).values(values))
    update = sa.update(campaign_table).where(campaign_table.c.id == slot["campaign_id"])
    await connection.execute(update.values(committed_micro_usd=committed))
    counters.add(connection, _state_changes(slot, slot["state"], OPEN))
    outbox.enqueue(connection, [request_message(campaign, {**slot, **values})])


async def pay(connection: AsyncConnection, slot: Mapping[str, Any], cost_micro_usd: int, *, expected: bool) -> None:
    """Book what a slot's attempt cost. `expected`: the plan's price was committed for it, and is now known better."""
    counters.add(connection, {f"spent/{slot['campaign_id']}": cost_micro_usd, "paid": cost_micro_usd})
    difference = cost_micro_usd - (slot["price_micro_usd"] if expected else 0)
    if difference:
        committed = campaign_table.c.committed_micro_usd + difference
        update = sa.update(campaign_table).where(campaign_table.c.id == slot["campaign_id"])
        await connection.execute(update.values(committed_micro_usd=committed))


def request_message(campaign: Mapping[str, Any], slot: Mapping[str, Any]) -> Message:
    """The message that asks for a slot's present attempt, on its campaign's trace."""
    return outbox.on_trace(image_requested(slot), campaign)


async def ended(connection: AsyncConnection, campaign_id: UUID) -> tuple[int, int]:
    """How many of a campaign's slots are counted, and how many failed."""
    found = await counters.totals(connection, f"campaign/{campaign_id}/")
    return tuple(  # type: ignore[return-value]
        sum(value for name, value in found.items() if name.split("/")[2] == state) for state in (COUNTED, FAILED)
    )
