"""The pace that all generators of one store share: a document says when the next turn begins that nobody has taken.

`pace/<provider>.json` is replaced by compare-and-swap. Whoever takes turns moves it on by so many intervals, so each
turn is one generator's, and however many there are, no more turns begin a minute than the pace says. The pace itself
lies there too: where one of them slows down, all do.

Hosts' clocks may differ: a generator whose clock is behind gets turns that are still to come, and waits for them. That
keeps the pace, and costs only its share of it. A document from more than FURTHEST_S ahead is of a clock that is wrong.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, Field, ValidationError

from shared.blobs import Blobs
from shared.errors import BlobNotFound, PreconditionFailed

FURTHEST_S = 300.0  # seconds that the next turn may be ahead, beside REPLICAS turns: clocks may differ by 90
REPLICAS = 100  # that each may have taken a turn: more than there will be
FORGOTTEN_S = 600.0  # seconds without a turn after which a provider's refusals say nothing any more
RETRY_S = 0.05  # at most, after another generator was quicker


class PaceDocument(BaseModel):
    """The pace as it is stored. `next_at`: seconds since 1970 of the next turn; `per_minute`: turns a minute of all."""

    next_at: float
    per_minute: float = Field(gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class Turns:
    """Turns that were taken: when each begins, in seconds since 1970, and the pace that they keep, in turns a minute.

    `before`: the pace that was found, None where there was none.
    """

    starts: tuple[float, ...]
    per_minute: float
    before: float | None


class SharedPace:
    """The pace of one provider in a store. `clock` gives seconds since 1970."""

    def __init__(self, blobs: Blobs, provider: str, *, clock: Callable[[], float] = time.time) -> None:
        self._blobs = blobs
        self._key = f"pace/{provider}.json"
        self.clock = clock

    async def take(self, wanted: int, most: float, changed: Callable[[float], float]) -> Turns:
        """Take so many turns that follow each other at the pace, as `changed` makes it of the one that is there.

        `most`: the pace where none is there yet. Raises StoreUnavailable.
        """
        while True:
            found = await self._read()
            now = self.clock()
            next_at, before = now, None
            if found is not None and found[0].next_at - now >= -FORGOTTEN_S:
                before = found[0].per_minute
                if found[0].next_at - now <= FURTHEST_S + REPLICAS * 60 / before:  # else some clock was wrong
                    next_at = max(now, found[0].next_at)
            per_minute = changed(most if before is None else before)
            starts = tuple(next_at + turn * 60 / per_minute for turn in range(wanted + 1))
            after = PaceDocument(next_at=starts[-1], per_minute=per_minute)
            try:
                await self._blobs.put(
                    self._key,
                    after.model_dump_json().encode(),
                    content_type="application/json",
                    if_absent=found is None,
                    if_match=None if found is None else found[1],
                )
            except PreconditionFailed:
                await asyncio.sleep(random.uniform(0, RETRY_S))
                continue
            return Turns(starts[:-1], per_minute, before)

    async def _read(self) -> tuple[PaceDocument, str] | None:
        """The document and its ETag; one that cannot be read is as none that is long past."""
        try:
            blob = await self._blobs.get(self._key)
        except BlobNotFound:
            return None
        try:
            return PaceDocument.model_validate_json(blob.data), blob.etag
        except ValidationError:
            return PaceDocument(next_at=float("-inf"), per_minute=1.0), blob.etag
