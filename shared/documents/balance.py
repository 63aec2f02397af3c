"""`GET /v1/balance`: how many images every condition has."""

from __future__ import annotations

from pydantic import Field

from shared.documents.base import Count, Document
from shared.taxonomy import Condition


class Severities(Document):
    """Accepted images of one condition by severity."""

    mild: Count
    moderate: Count
    severe: Count
    unknown: Count = Field(description="Images that show the condition and are not graded.")


class ImageCounts(Document):
    """Images by status."""

    pending: Count = Field(description="Images that wait for a review.")
    accepted: Count = Field(description="Images in the dataset.")
    rejected: Count = Field(description="Images kept out of the dataset.")


class ConditionBalance(ImageCounts):
    """Images that show one condition, by status, and the accepted ones by severity."""

    severities: Severities


class Balance(Document):
    """The dataset's balance. Every number counts images; an image counts for every condition it shows."""

    conditions: dict[Condition, ConditionBalance] = Field(description="All seven conditions.")
    images: ImageCounts = Field(description="Every image once, whatever it shows.")
    clear: ImageCounts | None = Field(
        default=None, description="Images that show no condition, as far as their labels are complete."
    )
    variants: Count = Field(description="Augmented copies of accepted images.")
    unaugmented: Count = Field(description="Accepted images whose variants are still to come.")
