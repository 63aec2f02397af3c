"""Images of the ledger, one by one and in pages, and what became of reviews."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shared.documents.base import Count, Document, Id, Moment, SeverityName, Usd
from shared.documents.problems import ReviewProblem
from shared.frames import Frame
from shared.taxonomy import Condition, Fold

ImageStatus = Literal["pending", "accepted", "rejected"]


class ImageDocument(Document):
    """One image, as lists show it."""

    id: Id
    status: ImageStatus
    labels: dict[Condition, SeverityName | None] = Field(
        description="The conditions that it shows; null: present, not graded. Empty: clear skin."
    )
    labels_text: dict[Condition, str] = Field(description="The same in the words that people are shown.")
    complete: bool = Field(description="Whether a condition that is not named is absent; else it is not known.")
    skin_tone: int | None = Field(ge=1, le=10, description="Step of the Monk scale, 1 lightest to 10 darkest.")
    fold: Fold = Field(description="The part of the dataset that it belongs to for ever.")
    root_id: Id = Field(description="The root that it shares with what shows the same face or looks the same.")
    group: str | None = Field(description="The group that it was brought in with; null where there was none.")
    near_duplicate_of: Id | None = Field(description="The oldest image that it looked the same as when it came.")
    sha256: str = Field(description="SHA-256 of the bytes that are kept, in hexadecimal.")
    media_type: str
    width: int = Field(description="Pixels, as displayed.")
    height: int = Field(description="Pixels, as displayed.")
    provider: str | None = Field(description="Who made it; null where it was brought in.")
    cost_usd: Usd = Field(description="US dollars that it cost.")
    quality: dict[str, float] = Field(description="What the gate measured, by name.")
    reviewer: str | None = Field(description="Who gave the last verdict.")
    reason: str | None = Field(description="Why it was rejected.")
    disputed: bool = Field(
        default=False, description="Whether its reviewers disagree: the verdict of one more reviewer decides."
    )
    augmented: bool = Field(description="Whether its variants are there.")
    created_at: Moment


class VariantDocument(Document):
    """An augmented copy of an image. Width and height in pixels, as displayed."""

    operation: str = Field(description="How it was made, such as hflip.")
    key: str = Field(description="Where it lies in the object store.")
    sha256: str = Field(description="SHA-256 of its bytes, in hexadecimal.")
    width: int
    height: int


class ImageDetail(ImageDocument):
    """`GET /v1/images/{id}`: one image with its prompt and variants."""

    prompt: str | None = Field(description="What the provider was asked for; null where it was brought in.")
    warnings: tuple[str, ...] = Field(description="What to know of it: a word that is stable, a colon, a sentence.")
    variants: tuple[VariantDocument, ...]
    frame: Frame | None = Field(
        default=None,
        description="Where its face is, and the square that models see; null of an image from before this was kept.",
    )
    frame_reviewer: str | None = Field(
        default=None, description="Who corrected the square; null where it lies as it was found."
    )


class ImagePage(Document):
    """`GET /v1/images`: a page of images in the order they came."""

    images: tuple[ImageDocument, ...]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")


class ReviewResult(Document):
    """What became of one review of many."""

    image_id: Any = Field(description="As it was sent.")
    ok: bool
    problem: ReviewProblem | None = Field(default=None, description="Why it was refused; left out where it was not.")


class ReviewResults(Document):
    """`POST /v1/reviews`: a result for every review, in their order."""

    results: tuple[ReviewResult, ...]


class DatasetDocument(Document):
    """`GET /v1/datasets/{version}`: a published dataset version."""

    version: str
    manifest_key: str = Field(description="Where its manifest lies in the object store.")
    counts: dict[Condition, Count] = Field(description="Accepted images that show each condition.")
    folds: dict[Fold, Count] = Field(description="Accepted images in each fold.")
    images: Count
    variants: Count
    without_variants: Count | None = Field(description="Accepted images without any variant; null: not counted.")
    created_at: Moment
