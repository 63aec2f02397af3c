"""`GET /healthz` and `GET /readyz` of every service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.documents.base import Document


class Health(Document):
    """`GET /healthz`: the process answers."""

    status: Literal["ok"] = Field(description="Always `ok`.")


class Readiness(Document):
    """`GET /readyz`: what the service depends on answers as well."""

    status: Literal["ready"] = Field(description="Always `ready`: whoever is not answers with a problem.")
