"""One connection to the broker that is always there again: connects, notices its loss, reconnects."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import SplitResult, urlsplit

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    InvalidFrameError,
    ProbableAuthenticationError,
)

from shared.backoff import Backoff
from shared.errors import BusUnavailable, ConfigurationError

log = structlog.get_logger(__name__)

CONNECT_S = 10.0  # for one attempt
HEARTBEAT_S = 20  # a broker that vanished without a word is noticed after about three of them
REFUSALS = 3  # attempts at the start that end in a doubtful refusal before it counts as one
BROKER_ERRORS = (*CONNECTION_EXCEPTIONS, asyncio.TimeoutError)


class Link:
    """Keeps one connection. `open` before anything else."""

    def __init__(self, url: str, name: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname or not _has_port(parts):
            raise ConfigurationError(
                "EVENSKIN_AMQP_URL is not the address of a broker.", advice="Use amqp://user:password@host:5672/."
            )
        self._broker = parts.hostname  # never the URL in a log: it holds the password
        self._url = url if "heartbeat=" in parts.query else f"{url}{'&' if parts.query else '?'}heartbeat={HEARTBEAT_S}"
        self._name = name
        self._connection: AbstractConnection | None = None
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect, waiting until the broker answers. Raises ConfigurationError if it refuses us."""
        connection = await self._connect(give_up_if_refused=True)
        self._keeper = asyncio.create_task(self._keep(connection), name=f"keep {self._name}")
        await self._up.wait()

    async def connection(self) -> AbstractConnection:
        """The live connection; waits for it. Raises BusUnavailable once closed."""
        while True:
            await self._up.wait()
            if self._closed:
                raise BusUnavailable("The bus is closed.")
            if self._connection is not None:
                return self._connection

    async def apart(self) -> AbstractConnection:
        """Another connection to the same broker, which is the caller's to close. Raises BROKER_ERRORS."""
        name = f"{self._name} apart"
        return await aio_pika.connect(self._url, timeout=CONNECT_S, client_properties={"connection_name": name})

    async def check(self) -> None:
        """Raise BusUnavailable unless connected, and not blocked by a broker that is out of memory or disk."""
        connection = self._connection
        if connection is None or connection.transport is None:
            raise BusUnavailable("There is no connection to the broker.", advice="It is tried again until it answers.")
        try:
            await asyncio.wait_for(connection.transport.ready(), 1.0)
        except TimeoutError:
            raise BusUnavailable(
                "The broker takes no messages now.", advice="Look at its memory and disk alarms."
            ) from None

    async def close(self) -> None:
        """Disconnect, for good."""
        self._closed = True
        self._up.set()  # who waits for a connection waits in vain
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*BROKER_ERRORS):
                await connection.close()

    async def _keep(self, connection: AbstractConnection) -> None:
        while True:
            lost = asyncio.Event()
            connection.close_callbacks.add(lambda *_, lost=lost: lost.set())
            self._connection = connection
            self._up.set()
            await lost.wait()
            self._up.clear()
            self._connection = None
            log.warning("broker_lost", broker=self._broker, connection=self._name)
            connection = await self._connect(give_up_if_refused=False)
            if self._closed:  # likewise: our cancellation was swallowed
                with contextlib.suppress(*BROKER_ERRORS):
                    await connection.close()
                return
            log.info("broker_found", broker=self._broker, connection=self._name)

    async def _connect(self, *, give_up_if_refused: bool) -> AbstractConnection:
        backoff = Backoff()
        refusals = 0
        while True:
            try:
                return await aio_pika.connect(
                    self._url, timeout=CONNECT_S, client_properties={"connection_name": self._name}
                )
            except BROKER_ERRORS as error:
                problem: BaseException = error
            if self._closed:  # the client waits in a way that can swallow our cancellation, on Python 3.11
                raise BusUnavailable("The bus is closed.") from problem
            refusals += _refusals(problem)
            if give_up_if_refused and refusals >= REFUSALS:
                raise ConfigurationError(
                    f"The broker on {self._broker} refuses us.",
                    advice="Check the user, the password and the virtual host in EVENSKIN_AMQP_URL.",
                ) from problem
            pause_s = backoff.pause_s()
            log.warning(
                "waiting_for_broker",
                broker=self._broker,
                error=f"{type(problem).__name__}: {problem}",
                retry_in_s=round(pause_s, 1),
            )
            await asyncio.sleep(pause_s)


def _refusals(error: BaseException) -> int:
    """How much an error speaks for a wrong user, password or virtual host, in REFUSALS."""
    if isinstance(error, AuthenticationError | ProbableAuthenticationError):
        return REFUSALS
    # What the client makes of a broker that hangs up when the virtual host is opened. One that is shutting down
    # does so, too.
    return int(isinstance(error, InvalidFrameError) and "Connection.Close" in str(error))


def _has_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False
