"""What the works of a group look at, read for all of them at once before the first of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns import campaign as campaigns
from services.labeler_api.pictures import images


@dataclass(frozen=True)
class Needs:
    """What one work will look at. A work that names nothing, or too little, asks the database by itself.

    `slot_id`: a slot that it will lock. `hash`: what an image looks like whose twin it asks for. `augments`: an
    image that it lists the variants of, whose slot it will then lock.
    """

    slot_id: UUID | None = None
    hash: bytes | None = None
    augments: UUID | None = None


NOTHING = Needs()


async def read(connection: AsyncConnection, needs: Sequence[Needs]) -> None:
    """Lock and read what the works need: images first and then slots, as a review locks them."""
    slots = {need.slot_id for need in needs if need.slot_id is not None}
    slots |= await images.lock_ahead(connection, {need.augments for need in needs if need.augments is not None})
    await campaigns.lock_ahead(connection, slots)
    await images.look_ahead(connection, {need.hash for need in needs if need.hash is not None})
