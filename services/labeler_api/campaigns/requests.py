"""Requests for images: what the generator is asked for a slot's present attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.labeler_api.campaigns.prices import usd
from services.labeler_api.campaigns.rows import asked_of
from services.labeler_api.ledger.outbox import on_trace
from services.labeler_api.settings import LabelerSettings
from shared.events import ImageRequested, Subject
from shared.message import Message
from shared.taxonomy import generated_image_id


def image_requested(slot: Mapping[str, Any], settings: LabelerSettings) -> ImageRequested:
    """The request for a slot's present attempt. `slot`: its row with its campaign's price."""
    condition, severity = asked_of(slot)
    return ImageRequested(
        campaign_id=slot["campaign_id"],
        slot_id=slot["id"],
        attempt=slot["attempt"],
        image_id=generated_image_id(slot["id"], slot["attempt"]),
        condition=condition,
        severity=severity,
        subject=Subject.model_validate(slot["subject"]),
        earlier_rejections=tuple(slot["rejections"]),
        price_usd=usd(slot["price_micro_usd"]),
        quality=settings.image_quality,
    )


def request_message(slot: Mapping[str, Any], settings: LabelerSettings) -> Message:
    """The message of that request, on its campaign's trace. `slot`: its row with its campaign's terms."""
    return on_trace(image_requested(slot, settings), slot)
