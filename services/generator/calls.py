"""Calls: a picture is asked for until it is there, the tries are used up, or it may have been paid for.

Only what surely cost nothing is repeated. A request whose outcome is unknown ends the attempt, which is booked as paid;
whether there is another one is the ledger's to decide, who knows the budget. So an attempt costs one price at most.

A prompt that a content filter refuses is worded anew, calmer, while there are wordings and REWORDINGS times at most: a
refusal costs nothing. Then the attempt has failed, and the slot asks for another subject.

A provider that is busy, and asks to wait, is waited for: that is no try. What ends it is `patience_s`, the seconds
waited for one picture in all, or a single wait that would be longer; then it is the account's failure, which pauses
the campaign and burns no attempt.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

import structlog

from services.generator.provider import NotDone, Order, OutcomeUnknown, PaidInVain, Picture, Provider
from shared.errors import ProviderError
from shared.events import FailureReason

log = structlog.get_logger(__name__)

TRIES = 5  # requests for one picture, the first included
TRIES_TO_REACH = 7  # where the provider cannot be reached: two minutes with OpenAI's first wait, for it to be restarted
REWORDINGS = 4  # of a prompt that a content filter refuses
LONGEST_WAIT_S = 60.0  # seconds between two requests, unless the provider asks for more
PATIENCE_S = 3600.0  # seconds waited for one picture where the provider asks for it: OpenAI's limits are of a minute


@dataclass(frozen=True)
class Doubt:
    """Requests whose outcome is unknown, and what they cost if they were done. They are booked as paid."""

    calls: int = 0
    cost_usd: float = 0.0

    def with_call(self, price_usd: float) -> Doubt:
        """This, and one more request at that price."""
        return Doubt(self.calls + 1, self.cost_usd + price_usd)


class Tab(Protocol):
    """Where the requests for one picture are noted. `doubt`: those whose outcome is unknown, earlier owners' too."""

    @property
    def doubt(self) -> Doubt:
        """The requests whose outcome is unknown."""
        ...

    async def begin_call(self, price_usd: float) -> None:
        """Note that a request at this price is about to be sent. An error that this raises ends the order unpaid."""
        ...

    def end_call(self, *, known: bool) -> None:
        """Note whether the outcome of the request is known."""
        ...


class ProviderFailed(ProviderError):
    """A provider gave no picture for this order. `cost_usd`: what was paid all the same, the doubt left out."""

    def __init__(self, message: str, reason: FailureReason, *, cost_usd: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.cost_usd = cost_usd


@dataclass(frozen=True)
class Made:
    """A picture, and how many requests it took, those that failed included."""

    picture: Picture
    calls: int


async def picture_for(
    order: Order,
    provider: Provider,
    tab: Tab,
    *,
    price_usd: float,
    pause: Callable[[float], Awaitable[None]],
    generate: Callable[[Order], Awaitable[Picture]],
    patience_s: float = PATIENCE_S,
) -> Made:
    """Ask for a picture until it is there. `pause` waits so many seconds, then for a request's turn.

    `price_usd`: what a request whose outcome is unknown is booked at, in US dollars. `generate` is the provider's,
    observed. Raises ProviderFailed, and what `pause` and the tab raise.
    """
    if tab.doubt.calls:
        raise ProviderFailed(
            "A generator that has ended asked for it, and nobody knows whether it was made.",
            FailureReason.OUTCOME_UNKNOWN,
        )
    wait_s = waited_s = 0.0
    tries = 0
    for call in count(1):
        await pause(wait_s)
        await tab.begin_call(price_usd)
        try:
            picture = await generate(order)
        except NotDone as error:
            tab.end_call(known=True)
            if error.has_calmer_wording and order.refusals < REWORDINGS:
                order = replace(order, refusals=order.refusals + 1)
                wait_s = 0.0
                continue
            if not error.may_help:
                raise ProviderFailed(error.message, error.reason) from error
            wait_s = _backoff_s(provider.first_wait_s, call)
            if error.asks_to_wait:
                # No less than ours, so that a server that says 0 for ever is not asked for ever.
                wait_s = max(wait_s, error.retry_after_s or 0.0)
                waited_s += wait_s
                if waited_s > patience_s:
                    raise _too_long(error, wait_s, patience_s) from error
            else:
                tries += 1
                if tries >= (TRIES_TO_REACH if error.reason is FailureReason.PROVIDER_UNREACHABLE else TRIES):
                    raise ProviderFailed(error.message, error.reason) from error
            log.warning("provider_retried", call=call, wait_s=round(wait_s, 2), reason=error.reason.value)
        except OutcomeUnknown as error:
            tab.end_call(known=False)
            raise ProviderFailed(error.message, error.reason) from error
        except PaidInVain as error:  # noted as under way until it is settled, as a picture is
            raise ProviderFailed(error.message, FailureReason.INVALID_RESPONSE, cost_usd=error.cost_usd) from error
        else:
            # It stays noted as under way until it is settled: a generator that ends before has paid all the same.
            return Made(picture, call - 1 + picture.calls)
    raise AssertionError("unreachable: the calls have no end but those above")


def _too_long(error: NotDone, wait_s: float, patience_s: float) -> ProviderFailed:
    """The account's failure of a provider that stays busy."""
    return ProviderFailed(
        f"{error.message} Another {wait_s:.0f} s would be waited, and EVENSKIN_PROVIDER_WAIT_S is {patience_s:g} s in "
        "all. Resume the campaign later; fewer EVENSKIN_IMAGES_PER_MINUTE make it rarer.",
        FailureReason.RATE_LIMITED,
    )


def _backoff_s(first_wait_s: float, call: int) -> float:
    """Seconds to wait after so many calls: doubled each time, with jitter, at most LONGEST_WAIT_S."""
    return min(LONGEST_WAIT_S, first_wait_s * 2.0 ** min(call - 1, 100) * random.uniform(0.75, 1.25))
