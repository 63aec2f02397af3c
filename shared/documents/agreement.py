"""How far reviewers agree."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.documents.base import Count, Document
from shared.taxonomy import Condition


class AgreedDocument(Document):
    """An agreement, and how many images it is measured on."""

    images: Count = Field(description="Images that two reviewers answered this for, once for each two.")
    kappa: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        description="Cohen's kappa, of severities with quadratic weights: 1 always the same, 0 no more often than by "
        "chance; null where it is not defined."
    )


class ReviewerPair(Document):
    """How far two reviewers agree."""

    reviewers: tuple[str, str]
    verdicts: AgreedDocument = Field(description="On whether an image is good.")
    conditions: dict[Condition, AgreedDocument] = Field(
        description="On how strongly each condition shows, from absent to severe, where both accepted the image."
    )


class AgreementDocument(Document):
    """`GET /v1/reviews/agreement`: how far those agree who reviewed an image without knowing the others' verdicts."""

    reviews_per_image: int = Field(ge=1, description="Reviewers' verdicts that an image needs.")
    pending: Count = Field(description="Images that wait for a verdict.")
    disputed: Count = Field(description="Those of them on which the reviewers disagree.")
    verdicts: AgreedDocument = Field(description="The mean over every two reviewers.")
    conditions: dict[Condition, AgreedDocument] = Field(description="The mean over every two reviewers.")
    pairs: tuple[ReviewerPair, ...] = Field(description="Every two reviewers who reviewed the same images.")
