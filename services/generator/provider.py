"""The provider port: one request for one picture, and the four ways in which a request can end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from shared.errors import ProviderError
from shared.events import FailureReason, Subject
from shared.pictures.provenance import SourceType
from shared.taxonomy import Kind, Severity


@dataclass(frozen=True)
class Order:
    """The picture that is wanted. `earlier_rejections`: why earlier attempts at the slot were not taken.

    `refusals`: how often a content filter has refused this attempt; the prompt is calmer for it.
    """

    image_id: UUID
    condition: Kind
    severity: Severity | None  # None: of clear skin
    subject: Subject
    earlier_rejections: tuple[str, ...] = ()
    quality: str | None = None  # as the provider's model names it; None: the provider's own
    refusals: int = 0


@dataclass(frozen=True)
class Picture:
    """A request that was done: the bytes that came, and what is known of their making. `cost_usd` was paid for it.

    `source_type`: how the IPTC names what made it, for its file to say; None where the provider does not know.
    """

    data: bytes
    prompt: str
    model: str
    cost_usd: float
    request_id: str | None = None
    prompts_sha256: str | None = None  # of the file that the prompt came from
    calls: int = 1  # requests that were sent for it
    source_type: SourceType | None = None


class NotDone(ProviderError):
    """A request that was refused, or never reached the provider: it costs nothing.

    `may_help`: whether the same request may succeed later; `retry_after_s`: the seconds that the provider asks for.
    `wording`: the number of the wording that was sent; `has_calmer_wording`: whether there is another one to try.
    """

    wording = 0
    has_calmer_wording = False

    def __init__(
        self, message: str, reason: FailureReason, *, may_help: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.may_help = may_help
        self.retry_after_s = retry_after_s

    @property
    def asks_to_wait(self) -> bool:
        """Whether the provider is only busy, for everybody: its wait is no try of this picture's."""
        return self.may_help and (self.retry_after_s is not None or self.reason is FailureReason.RATE_LIMITED)


class OutcomeUnknown(ProviderError):
    """A request that was sent, and whose answer never came: it may have been done, and is booked as paid."""

    def __init__(self, message: str, reason: FailureReason) -> None:
        super().__init__(message)
        self.reason = reason


class PaidInVain(ProviderError):
    """A request that was done and gave no picture that can be had. It cost `cost_usd`, and is not repeated."""

    def __init__(self, message: str, *, cost_usd: float) -> None:
        super().__init__(message)
        self.cost_usd = cost_usd


class Provider(Protocol):
    """Makes pictures.

    `concurrency`: how many at a time; `images_per_minute`: its pace, None for none. `price_usd`: what a request costs,
    0 where nothing is paid. `first_wait_s`: seconds before a second request, doubled for each further one; above 0
    where the provider may ask to wait.
    """

    name: str
    concurrency: int
    images_per_minute: float | None
    price_usd: float
    first_wait_s: float

    async def generate(self, order: Order) -> Picture:
        """Send one request for one picture. Raises NotDone, OutcomeUnknown, PaidInVain."""
        ...

    async def close(self) -> None:
        """Release connections and processes."""
        ...
