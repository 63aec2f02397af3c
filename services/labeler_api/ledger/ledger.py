"""The ledger as its users see it: transactions, and who is told that there is something new in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.group_commit import GroupCommit, Work
from services.labeler_api.ledger.transaction import NOTHING, Prefetch, Transaction
from services.labeler_api.settings import LabelerSettings
from shared.admission import PixelAdmission
from shared.blobs import Blobs
from shared.bus import RetryLater
from shared.errors import DatabaseUnavailable, StoreUnavailable
from shared.faces import FaceDetector
from shared.message import Message


@dataclass(frozen=True)
class Ledger:
    """What handlers and the HTTP API work on.

    `on_change`: called after every transaction; `admission`: how much is decoded at a time; `detector`: None where no
    face is looked for.
    """

    database: Database
    group: GroupCommit
    blobs: Blobs
    settings: LabelerSettings
    on_change: tuple[Callable[[], None], ...] = ()
    admission: PixelAdmission = field(default_factory=PixelAdmission)
    detector: FaceDetector | None = None

    async def change(self, work: Callable[[Transaction], Awaitable[None]]) -> None:
        """Run a transaction, then tell of it. Raises DatabaseUnavailable."""
        await self.database.write(work)
        self._tell()

    async def change_once(self, message: Message, work: Work, prefetch: Prefetch = NOTHING) -> None:
        """Run a message's work, in a transaction with others', unless it ran before (invariant 1).

        An unreachable database or store is waited for: RetryLater, which does not use up the message's tries.
        """
        try:
            await self.group.run_once(message, work, prefetch)
        except (DatabaseUnavailable, StoreUnavailable) as error:
            raise RetryLater(error.message, counted=False) from error
        self._tell()

    def _tell(self) -> None:
        for tell in self.on_change:
            tell()
