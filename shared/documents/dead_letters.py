"""Messages that were given up, and how many of them were sent again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, PlainSerializer, WithJsonSchema

from shared.documents.base import Count, Document

_TIME = {"type": "string", "description": "When it was given up, in UTC, as `2026-01-31 12:00:00.000000+00:00`."}


class DeadLetterDocument(Document):
    """A message that was given up, with its error."""

    id: str = Field(description="The id that `evenskin dead list` shows; the message's own where it has one.")
    queue: str = Field(description="The consumer's queue that it died in.")
    event: str = Field(description="Its routing key.")
    error: str
    tries: Count = Field(description="How often it was tried.")
    died_at: Annotated[datetime, PlainSerializer(str, return_type=str), WithJsonSchema(_TIME)]
    body: str = Field(description="Its body, as text.")


class DeadLetterList(Document):
    """`GET /v1/dead-letters`: the oldest first."""

    dead_letters: tuple[DeadLetterDocument, ...]


class Replayed(Document):
    """`POST /v1/dead-letters/replay`."""

    replayed: Count = Field(description="Messages that were sent to their queues again.")
