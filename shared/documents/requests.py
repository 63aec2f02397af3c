"""What is sent to labeler-api beside events and reviews: small JSON objects."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.documents.base import RequestDocument

StorableText = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""Text without the character NUL, which PostgreSQL does not keep."""


class PromotionRequest(RequestDocument):
    """`POST /v1/models/{version}/promotions`."""

    reason: StorableText | None = Field(default=None, max_length=2000, description="Why it goes live.")


class ReplayRequest(RequestDocument):
    """`POST /v1/dead-letters/replay`."""

    queue: str | None = Field(default=None, description="The consumer's queue; null: all of them.")


class UndoRequest(RequestDocument):
    """`POST /v1/reviews/undo`."""

    reviewer: StorableText = Field(min_length=1, max_length=128, description="Whose last review is taken back.")
