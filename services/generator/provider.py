"""The provider port: makes one picture for one slot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from shared.errors import ProviderError
from shared.events import FailureReason, Subject
from shared.taxonomy import Condition, Severity

Turn = Callable[[], Awaitable[None]]
"""Awaited before every request that may cost; it keeps the pace. An error it raises ends the order unpaid."""


@dataclass(frozen=True)
class Order:
    """The picture that is wanted. `earlier_rejections`: why earlier attempts at the slot were not taken."""

    image_id: UUID
    condition: Condition
    severity: Severity
    subject: Subject
    earlier_rejections: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """An encoded picture and what is known of its making. `cost_usd` is what was paid for it."""

    data: bytes
    prompt: str
    model: str
    cost_usd: float
    request_id: str | None = None
    calls: int = 1  # requests that were sent for it, failed ones too


async def unpaced() -> None:
    """The turn of a caller that pays nothing: it comes at once."""


class ProviderFailed(ProviderError):
    """A provider gave no picture for this order, and will not on another try."""

    def __init__(self, message: str, reason: FailureReason, *, cost_usd: float = 0.0) -> None:
        super().__init__(message)
        self.failure = reason
        self.cost_usd = cost_usd


class Provider(Protocol):
    """Makes pictures. `concurrency`: how many at a time; `images_per_minute`: its pace, None for none."""

    name: str
    concurrency: int
    images_per_minute: float | None

    async def generate(self, order: Order, turn: Turn) -> Picture:
        """Make one picture. Raises ProviderFailed, and what `turn` raises."""
        ...

    async def close(self) -> None:
        """Release connections and processes."""
        ...
