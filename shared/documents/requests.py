"""What is sent to labeler-api beside events and pictures: reviews, promotions, replays."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from shared.documents.base import RequestDocument
from shared.events import CHANGE_REASON_CHARACTERS, Labels, Verdict
from shared.frames import Square
from shared.taxonomy import Condition, Severity

MAX_BATCH = 500  # reviews of one request
MAX_REVIEW_S = 86_400.0  # seconds that a reviewer can have looked at one image: a day
MAX_GROUP_CHARACTERS = 200  # of the name of a group of images

StorableText = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""Text without the character NUL, which PostgreSQL does not keep."""
Reviewer = Annotated[StorableText, Field(min_length=1, max_length=128)]
Reason = Annotated[StorableText, Field(max_length=2000)]

_LABELS: dict[str, Any] = {
    "type": "object",
    "propertyNames": {"enum": list(Condition)},
    "additionalProperties": {"enum": [*(s.label for s in Severity), *(int(s) for s in Severity), None]},
}


class Seen(BaseModel):
    """What an image was when its reviewer looked at it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["pending", "accepted", "rejected"]
    labels: Annotated[Labels, WithJsonSchema(_LABELS)]


class Review(BaseModel):
    """What a reviewer says of an image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    labels: Annotated[Labels, WithJsonSchema(_LABELS)] | None = Field(
        default=None,
        description="What it shows, instead of the labels that it has: a severity by its name or number, or null where "
        "it is present and not graded.",
    )
    reason: Reason | None = Field(default=None, description="Why it is rejected; the next attempt is told.")
    reviewer: Reviewer = Field(description="Who says so.")
    confidence: int | None = Field(
        default=None, ge=1, le=5, description="How sure the reviewer is, from 1, a guess, to 5, certain."
    )
    seconds: float | None = Field(
        default=None, ge=0, le=MAX_REVIEW_S, description="Seconds that the reviewer looked at it."
    )
    key: UUID | None = Field(
        default=None,
        description="The sender's own name of this review: sent again under the same key, it is one review.",
    )
    seen: Seen | None = Field(
        default=None, description="What the reviewer saw: where the image is not that any more, the review is refused."
    )


class ReviewOfImage(Review):
    """A review that names its image."""

    image_id: UUID


class ReviewBatch(RequestDocument):
    """`POST /v1/reviews`. A wrong review does not keep the others from being taken: each has a result of its own."""

    reviews: list[ReviewOfImage] = Field(min_length=1, max_length=MAX_BATCH)


class FrameCorrection(RequestDocument):
    """`PUT /v1/images/{id}/frame`."""

    square: Square | None = Field(
        description="What models are to see, in pixels of the upright picture; null: what was found."
    )
    reviewer: Reviewer = Field(description="Who says so.")


class UndoRequest(RequestDocument):
    """`POST /v1/reviews/undo`."""

    reviewer: Reviewer = Field(description="Whose last review is taken back.")
    key: UUID | None = Field(
        default=None, description="The key of the review that is meant instead; one taken back already stays so."
    )


class PromotionRequest(RequestDocument):
    """`POST /v1/models/{version}/promotions`."""

    reason: Reason | None = Field(default=None, description="Why it goes live.")


class ChangeRequest(RequestDocument):
    """`POST /v1/rebalances/{id}/pause`, `resume` and `cancel`."""

    reason: Annotated[StorableText, Field(max_length=CHANGE_REASON_CHARACTERS)] | None = Field(
        default=None, description="Why; it is shown with the rebalance."
    )


class ReplayRequest(RequestDocument):
    """`POST /v1/dead-letters/replay`."""

    queue: str | None = Field(default=None, description="The consumer's queue; null: all of them.")
