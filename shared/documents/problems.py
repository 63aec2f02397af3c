"""What a request that went wrong is answered with."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.documents.base import Document, Id
from shared.errors import EvenskinError


class Problem(Document):
    """An RFC 9457 problem document. `code` is stable; `detail` and `advice` are for people."""

    type: str = Field(description="`urn:evenskin:problem:` and the code.")
    title: str = Field(description="The code in words.")
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    code: str = Field(pattern="^[a-z][a-z0-9_]*$", description="What went wrong, for programs; docs/errors.md has all.")
    detail: str = Field(description="What went wrong, in one sentence.")
    advice: str | None = Field(default=None, description="What to do about it; left out where there is nothing to say.")


class ImageProblem(Problem):
    """A problem with a picture that is brought in; its members are left out where they say nothing."""

    image_id: Id | None = Field(default=None, description="The image that is there already, or looks the same.")
    stored: dict[str, Any] | None = Field(default=None, description="What is known of it, where that differs.")
    sent: dict[str, Any] | None = Field(default=None, description="What was said of it instead.")


class ReviewProblem(Problem):
    """A review that was refused; its members are left out where they say nothing."""

    image_id: Id | None = Field(default=None, description="The image.")
    stored: dict[str, Any] | None = Field(
        default=None, description="What it is by now, where the reviewer saw it otherwise: status, labels, reviewer."
    )


class ProtocolProblem(Problem):
    """A problem under `/v2`, with the member that the Open Inference Protocol asks for."""

    error: str = Field(description="The same as `detail`.")


def problem_of(error: EvenskinError) -> Problem:
    """The document that tells of an error. Text that is no Unicode, as a request may hold, is replaced."""
    said = error.problem()
    return Problem(**{name: _unicode(value) if isinstance(value, str) else value for name, value in said.items()})


def _unicode(text: str) -> str:
    """Text that has an encoding: each lone surrogate becomes a question mark."""
    return text.encode(errors="replace").decode()
