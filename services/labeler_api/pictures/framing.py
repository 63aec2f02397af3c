"""The frame of an image as the ledger has it: what was found, and the square that a person corrected in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.labeler_api.ledger import audit
from services.labeler_api.ledger.database import row_of
from services.labeler_api.ledger.tables import image_table
from services.labeler_api.ledger.transaction import Transaction
from shared.documents.requests import FrameCorrection
from shared.errors import Conflict, NotFound
from shared.frames import Frame, Square

MIN_SIDE = 32.0  # pixels: a smaller square holds no skin detail to judge
MAX_SIDE = 2.0  # longer sides of the picture: what a larger square shows is mostly its mirrored edges
_CORRECTED = ("corrected_square", "square_reviewer")


def frame_in(row: Mapping[str, Any]) -> Frame | None:
    """The frame that models see of an image, by its row: a person's square, else what was found. None: unknown."""
    if row["frame"] is None:
        return None
    frame = Frame.model_validate(row["frame"])
    if row["corrected_square"] is None:
        return frame
    return frame.model_copy(update={"square": Square.model_validate(row["corrected_square"])})


async def correct(transaction: Transaction, image_id: UUID, said: FrameCorrection) -> None:
    """Set an image's square, or with none go back to what was found. Said again, it changes nothing.

    Raises NotFound; Conflict where no frame is known, or the square does not fit the picture.
    """
    image = await transaction.image(image_id)
    if image is None:
        raise NotFound(f"There is no image {image_id}.")
    columns = (image_table.c[name] for name in ("frame", *_CORRECTED))
    found = await row_of(transaction, sa.select(*columns).where(image_table.c.id == image_id))
    if found is None or found["frame"] is None:
        raise Conflict(
            "The image is from before frames were kept: where its face is was never looked for.",
            advice="Bring its picture in again; then its frame is found, and can be corrected.",
        )
    frame = Frame.model_validate(found["frame"])
    if said.square is not None:
        _require_fit(said.square, frame)
    square = None if said.square is None else said.square.model_dump(mode="json")
    before = {name: found[name] for name in _CORRECTED}
    after = {"corrected_square": square, "square_reviewer": None if square is None else said.reviewer}
    transaction.update(image_table, image, **after)
    if after != before:
        audit.record(transaction, audit.Action.FRAME, image_id, said.reviewer, before=before, after=after)


def _require_fit(square: Square, frame: Frame) -> None:
    if not (0 <= square.x <= frame.width and 0 <= square.y <= frame.height):
        raise Conflict(
            "The square's centre lies outside the picture.",
            advice=f"Upright, the picture is {frame.width} pixels wide and {frame.height} high.",
        )
    most = MAX_SIDE * max(frame.width, frame.height)
    if not MIN_SIDE <= square.side <= most:
        raise Conflict(f"The square's side must be from {MIN_SIDE:.0f} to {most:.0f} pixels.")
