"""Group commit: messages that arrive while a transaction is under way share the next one.

A transaction costs as much as the work on one message: begin, inbox, counters, outbox and commit. Nothing waits
for a group to fill: a message that finds nothing under way is a group of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from services.labeler_api.ledger import inbox
from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.transaction import NOTHING, Prefetch, Transaction
from shared.errors import DatabaseUnavailable
from shared.message import Message

TRANSACTIONS = 1  # at a time: two cost a tenth more CPU an event, for their groups are half as large
LARGEST = 50  # messages of one transaction: what it locks is not held for long

Work = Callable[[Transaction], Coroutine[Any, Any, None]]


@dataclass(frozen=True, eq=False)
class _Waiting:
    message: Message
    work: Work
    prefetch: Prefetch
    context: Context = field(default_factory=copy_context)  # the handler's: its trace and its log fields
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, error: Exception | None) -> None:
        if self.done.done():
            return  # cancelled meanwhile
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class GroupCommit:
    """Runs the works of messages, each exactly once, as many as there are in one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Waiting] = deque()
        self._runners = 0  # that look for who waits: counted here, since a task is done before it says so
        self._tasks: set[asyncio.Task[None]] = set()

    async def run_once(self, message: Message, work: Work, prefetch: Prefetch = NOTHING) -> None:
        """Run a message's work unless it ran before (invariant 1). Raises what it raises, and DatabaseUnavailable.

        The work may be run more than once, in transactions that were rolled back. Where the caller is cancelled it
        may still be done. `prefetch`: what the work will look at, read for all of a group at once.
        """
        waiting = _Waiting(message, work, prefetch)
        self._waiting.append(waiting)
        if self._runners < TRANSACTIONS:
            self._runners += 1
            task = asyncio.create_task(self._run_all(), name="group commit", context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await waiting.done

    async def close(self) -> None:
        """Roll back what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run_all(self) -> None:
        try:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST))]
                try:
                    await self._run([waiting for waiting in group if not waiting.done.done()])
                finally:
                    for waiting in group:
                        waiting.done.cancel()  # of no effect on those that have ended
        finally:
            self._runners -= 1

    async def _run(self, group: Sequence[_Waiting]) -> None:
        error: Exception | None = None
        try:
            await self._database.write(partial(_apply, group))
        except DatabaseUnavailable as unavailable:
            error = unavailable
        except Exception as raised:
            if len(group) > 1:  # one message's error must not be another's: each alone, for an outcome of its own
                for waiting in group:
                    await self._run([waiting])
                return
            error = raised
        for waiting in group:
            waiting.end(error)


async def _apply(group: Sequence[_Waiting], transaction: Transaction) -> None:
    new = await inbox.first_times(transaction, [waiting.message for waiting in group])
    group = [waiting for waiting, is_new in zip(group, new, strict=True) if is_new]
    await transaction.prefetch([waiting.prefetch for waiting in group])
    for waiting in group:
        await asyncio.create_task(waiting.work(transaction), context=waiting.context)
