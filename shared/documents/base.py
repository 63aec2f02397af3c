"""What every HTTP document is: frozen, open to what a newer server adds, and written in one way."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
"""A UUID, as text: whoever reads it only hands it on."""
Count = Annotated[int, Field(ge=0)]
"""How many of something there are."""
Usd = Annotated[float, Field(ge=0)]
"""US dollars."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A probability, or a part of a whole."""
SeverityName = Literal["mild", "moderate", "severe"]
"""How strongly a condition shows, by name."""
Moment = Annotated[
    datetime,
    PlainSerializer(lambda moment: moment.isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time in UTC, written as RFC 3339 with the offset `+00:00`."""


class Document(BaseModel):
    """Base of every document and its parts.

    A client keeps the fields that it does not know, since a newer server may have added them. A field that was not
    set is left out of the JSON: that is how `history` and `heatmap` are there only where they were asked for.
    """

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    def json_object(self) -> dict[str, Any]:
        """The document in JSON's own types."""
        return self.model_dump(mode="json", exclude_unset=True)

    def json_text(self) -> str:
        """The document as compact JSON."""
        return self.model_dump_json(exclude_unset=True)


class RequestDocument(BaseModel):
    """Base of what is sent to a service: fields that it does not know are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())
