"""Counts the tries of one training run since it last got on, so that a run that always dies has an end.

The count is in the store: a try also counts where the whole machine died in it. A finished epoch starts it anew,
since epochs are bounded, and a long run may well be interrupted more often than the limit.
"""

from __future__ import annotations

import contextlib
import json

from shared.blobs import Blobs
from shared.errors import BlobNotFound, EvenskinError


class Tries:
    """The tries of the run whose count lies at `key`."""

    def __init__(self, blobs: Blobs, key: str) -> None:
        self._blobs = blobs
        self._key = key
        self._got_on = False
        self.number = 0
        """Number of the try under way, from 1 after each epoch that was finished; 0 before any."""

    async def begin(self) -> int:
        """Count one more try and return its number. Raises StoreUnavailable."""
        self._got_on = False
        await self._note(await self._noted() + 1)
        return self.number

    async def got_on(self) -> None:
        """An epoch ended: the try under way is the first one again."""
        if not self._got_on:
            self._got_on = True
            with contextlib.suppress(EvenskinError):  # no reason to stop training; the count stays too high at worst
                await self._note(1)

    async def take_back(self) -> None:
        """The try under way was ended from outside, and says nothing of the run: it does not count."""
        with contextlib.suppress(EvenskinError):
            await self._note(self.number - 1)

    async def _noted(self) -> int:
        try:
            return int(json.loads((await self._blobs.get(self._key)).data)["tries"])
        except BlobNotFound:
            return 0

    async def _note(self, number: int) -> None:
        self.number = number
        await self._blobs.put(self._key, json.dumps({"tries": number}).encode(), content_type="application/json")
