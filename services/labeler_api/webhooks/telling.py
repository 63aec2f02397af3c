"""What is told to other programs: written down in the transaction that it happens in, so that nothing is lost."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.labeler_api.ledger.tables import webhook_table
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.settings import LabelerSettings
from services.labeler_api.webhooks.targets import targets_of
from shared.events import Event
from shared.message import new_id

CAMPAIGN_PAUSED = "CampaignPaused"
"""The type of what no event says: a campaign was paused, with why."""


def tell(transaction: Transaction, event: Event, settings: LabelerSettings) -> None:
    """Tell every target of an event, once the transaction is committed. Its data is the event's."""
    _write(transaction, event.name(), event.model_dump(mode="json"), settings)


def tell_paused(transaction: Transaction, campaign_id: UUID, reason: str | None, settings: LabelerSettings) -> None:
    """Tell every target that a campaign was paused, and why."""
    _write(transaction, CAMPAIGN_PAUSED, {"campaign_id": str(campaign_id), "reason": reason}, settings)


def _write(transaction: Transaction, name: str, data: dict[str, Any], settings: LabelerSettings) -> None:
    if settings.webhooks is None:
        return
    now = time.time()
    happened = datetime.fromtimestamp(now, UTC).isoformat()
    # As text, and not as JSON: what is sent again is signed anew over the same bytes.
    body = json.dumps({"type": name, "timestamp": happened, "data": data}, separators=(",", ":"), ensure_ascii=False)
    message_id = f"msg_{new_id()}"  # the same for every target and try: whoever gets it twice knows it by this
    told = {"message_id": message_id, "event": name, "body": body, "created_at": now, "due_at": now, "tries": 0}
    transaction.insert(webhook_table, [{**told, "target": target.name} for target in targets_of(settings)])
