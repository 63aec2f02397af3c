"""Claims: who is paying for an image. Nobody else pays for it meanwhile, and what may have been paid is never lost.

`images/<image_id>/claim.json` is put if absent before the first request, renewed while at work, and removed once the
image's record is stored. It says how many requests were sent whose outcome nobody knows: before a request it counts
that one, so that whoever finds the claim of a generator that ended knows what may have been paid, books it, and asks
for nothing more. A claim is settled with the image's outcome, by compare-and-swap: of two generators that both
believe they hold it, one decides, and what the other one paid is in the doubt that the first one took over.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol
from uuid import UUID, uuid4

import structlog
from pydantic import BaseModel

from services.generator.calls import Doubt, Tab
from services.generator.keeping import Outcome
from shared.blobs import Blobs
from shared.errors import BlobNotFound, PreconditionFailed, StoreUnavailable

log = structlog.get_logger(__name__)

LEASE_S = 240.0
"""Seconds after its last renewal at which a claim counts as given up.

Hosts' clocks may differ by 90 s. A claim that its owner renews every LEASE_S / RENEWALS = 30 s then still has 120 s to
go for a reader whose clock is 90 s ahead; so much a slow store may delay a renewal. Were it too short after all, a
paid picture would be thrown away, and be booked. A longer one only makes the slot of a killed generator wait.
"""
RENEWALS = 8  # in one lease
RELEASE_S = 2.0  # for giving a claim back at the end; a store that does not answer leaves it to expire


class ClaimHeld(Exception):
    """Another generator is at work on the image."""


class Holding(Tab, Protocol):
    """The right to pay for an image. `outcome`: how it ended, where an earlier owner settled it already."""

    @property
    def outcome(self) -> Outcome | None:
        """The outcome that stands."""
        ...

    async def settle(self, outcome: Outcome) -> None:
        """Decide the image's outcome. Raises ClaimHeld where another generator has taken the claim over."""
        ...

    def close(self) -> None:
        """Note that the outcome's record is stored: nobody needs the claim any more."""
        ...


class Unclaimed:
    """What costs nothing is not claimed: two who draw the same picture do no harm."""

    outcome: Outcome | None = None
    doubt = Doubt()

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def begin_call(self, price_usd: float) -> None:
        """Check the store, so that nothing is made that could not be kept. Raises StoreUnavailable."""
        await self._blobs.check()

    def end_call(self, *, known: bool) -> None:
        """Nothing to note."""

    async def settle(self, outcome: Outcome) -> None:
        """Nothing to decide: the record that is stored first stands."""

    def close(self) -> None:
        """Nothing to remove."""


class ClaimDocument(BaseModel):
    """A claim as it is stored. `expires_at`: seconds since 1970, by its owner's clock."""

    owner: str
    expires_at: float
    unknown_calls: int = 0
    unknown_cost_usd: float = 0.0
    outcome: Outcome | None = None


def claim_key(image_id: UUID) -> str:
    """Key of the claim on an image."""
    return f"images/{image_id}/claim.json"


class Claims:
    """The claims of one generator. `clock` gives seconds since 1970."""

    def __init__(
        self,
        blobs: Blobs,
        *,
        lease_s: float = LEASE_S,
        owner: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.blobs = blobs
        self.lease_s = lease_s
        self.owner = owner or f"{socket.gethostname()}-{uuid4()}"
        self.clock = clock
        self.left: dict[str, Doubt] = {}  # what is owed by claims that could not be given back, by key

    @contextlib.asynccontextmanager
    async def holding(self, image_id: UUID) -> AsyncIterator[Claim]:
        """The claim on an image, renewed until the context is left and given back then.

        Raises ClaimHeld where another generator holds it, StoreUnavailable.
        """
        claim = await self.take(image_id)
        renewing = asyncio.create_task(claim.keep_renewed(), name=f"renew claim {image_id}")
        try:
            yield claim
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await claim.release()

    async def forget(self, image_id: UUID) -> None:
        """Remove the claim on an image whose record is stored: a generator that was killed may have left it."""
        with contextlib.suppress(StoreUnavailable):
            await self.blobs.delete(claim_key(image_id))

    async def take(self, image_id: UUID) -> Claim:
        """The claim on an image, not renewed by itself. Raises ClaimHeld, StoreUnavailable."""
        key = claim_key(image_id)
        found = await read(self.blobs, key)
        if found is None:
            claim = Claim(self, key, None, Doubt())
        else:
            there, etag = found
            doubt = Doubt(there.unknown_calls, there.unknown_cost_usd)
            if there.owner == self.owner:  # what it says may be more than was sent
                doubt = self.left.get(key, doubt)
            claim = Claim(self, key, etag, doubt, there.outcome)
            if there.outcome is not None:
                return claim
            # One's own is left over from a delivery that could not give it back: an image has one task at a time.
            if there.owner != self.owner and there.expires_at > self.clock():
                raise ClaimHeld(f"{there.owner} is at work on image {image_id}.")
            if there.unknown_calls:
                log.warning("claim_taken_over", image_id=str(image_id), owner=there.owner, calls=there.unknown_calls)
        await claim.renew()
        self.left.pop(key, None)
        return claim


class Claim:
    """A claim in hand. `doubt`: requests whose outcome is unknown, those of earlier owners and one's own."""

    def __init__(
        self, claims: Claims, key: str, etag: str | None, doubt: Doubt, outcome: Outcome | None = None
    ) -> None:
        self.doubt = doubt
        self.outcome = outcome
        self._claims = claims
        self._key = key
        self._etag = etag
        self._under_way_usd: float | None = None  # price of the request that is under way
        self._closed = False
        self._writing = asyncio.Lock()

    async def begin_call(self, price_usd: float) -> None:
        """Count a request as perhaps paid, before it is sent. Raises ClaimHeld, StoreUnavailable: then send none."""
        self._under_way_usd = price_usd
        try:
            await self.renew()
        except BaseException:
            self._under_way_usd = None
            raise

    def end_call(self, *, known: bool) -> None:
        """Note whether the outcome of the request is known. The claim tells it with its next writing."""
        assert self._under_way_usd is not None
        if not known:
            self.doubt = self.doubt.with_call(self._under_way_usd)
        self._under_way_usd = None

    async def settle(self, outcome: Outcome) -> None:
        """Decide the image's outcome. Raises ClaimHeld where another generator took the claim over."""
        await self._write(outcome=outcome)
        self.outcome = outcome

    def close(self) -> None:
        """Note that the outcome's record is stored: nobody needs the claim any more."""
        self._closed = True

    async def renew(self) -> None:
        """Write the claim as it is, with a new expiry. Raises ClaimHeld, StoreUnavailable."""
        await self._write(outcome=None)

    async def keep_renewed(self) -> None:
        """Renew until settled or lost."""
        while True:
            await asyncio.sleep(self._claims.lease_s / RENEWALS)
            if self.outcome is not None:
                return
            try:
                await self.renew()
            except StoreUnavailable as error:
                log.warning("claim_not_renewed", key=self._key, error=error.message)
            except ClaimHeld as error:
                log.warning("claim_lost", key=self._key, error=str(error))
                return

    async def release(self) -> None:
        """Remove a claim that is closed; let any other one expire now, unless it is settled or another one's."""
        try:
            async with asyncio.timeout(RELEASE_S):
                if self._closed:
                    await self._claims.blobs.delete(self._key)
                elif self.outcome is None:
                    await self._write(outcome=None, lease_s=0.0)
        except (TimeoutError, StoreUnavailable):
            if self.outcome is None:
                self._claims.left[self._key] = self._owed()
        except ClaimHeld:
            pass

    async def _write(self, *, outcome: Outcome | None, lease_s: float | None = None) -> None:
        async with self._writing:
            if self.outcome is not None and outcome is None:
                return  # settled meanwhile
            written = self._owed()
            document = ClaimDocument(
                owner=self._claims.owner,
                expires_at=self._claims.clock() + (self._claims.lease_s if lease_s is None else lease_s),
                unknown_calls=written.calls,
                unknown_cost_usd=written.cost_usd,
                outcome=outcome,
            )
            data = document.model_dump_json().encode()
            try:
                await self._put(data)
            except PreconditionFailed:
                # Perhaps by an earlier writing of one's own whose answer was lost.
                found = await read(self._claims.blobs, self._key)
                if found is None or found[0].owner != self._claims.owner:
                    raise ClaimHeld(f"Another generator has taken over {self._key}.") from None
                self._etag = found[1]
                await self._put_over(data)

    def _owed(self) -> Doubt:
        """What may have been paid by now, the request that is under way included."""
        return self.doubt if self._under_way_usd is None else self.doubt.with_call(self._under_way_usd)

    async def _put_over(self, data: bytes) -> None:
        try:
            await self._put(data)
        except PreconditionFailed:
            raise ClaimHeld(f"Another generator has taken over {self._key}.") from None

    async def _put(self, data: bytes) -> None:
        self._etag = await self._claims.blobs.put(
            self._key, data, content_type="application/json", if_absent=self._etag is None, if_match=self._etag
        )


async def read(blobs: Blobs, key: str) -> tuple[ClaimDocument, str] | None:
    """A claim and its ETag; None where there is none. Raises StoreUnavailable."""
    try:
        blob = await blobs.get(key)
    except BlobNotFound:
        return None
    return ClaimDocument.model_validate_json(blob.data), blob.etag
