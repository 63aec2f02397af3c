"""Webhooks: how many wait for their receivers, and which were given up."""

from __future__ import annotations

from pydantic import Field

from shared.documents.base import Count, Document, Moment


class GivenUpWebhook(Document):
    """A webhook that its receiver did not take."""

    id: str = Field(description="Its `webhook-id`, the same at every try.")
    event: str = Field(description="What it tells of, such as `QuotaMet`.")
    target: str = Field(description="Host of its receiver, and eight hexadecimal digits of its address' SHA-256.")
    tries: Count = Field(description="How often it was sent.")
    error: str = Field(description="Why the last try failed.")
    created_at: Moment = Field(description="When what it tells of happened.")


class WebhookList(Document):
    """`GET /v1/webhooks`."""

    waiting: Count = Field(description="Webhooks that are still to be taken.")
    given_up: tuple[GivenUpWebhook, ...] = Field(description="The oldest first, at most 200.")
