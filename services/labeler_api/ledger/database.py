"""The ledger's database: SQLite embedded, PostgreSQL deployed. One way in for writing, one for reading."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from services.labeler_api.ledger.transaction import Row, Transaction
from shared.errors import ConfigurationError, DatabaseUnavailable, EvenskinError

log = structlog.get_logger(__name__)

T = TypeVar("T")

MIGRATION_LOCK = 0x6576656E  # "even": key of the advisory lock that lets one replica migrate
WAL_TRIES, WAL_PAUSE_S = 50, 0.02  # of turning a SQLite file to a write-ahead log, and seconds between them
WRITE_TRIES = 8  # of a transaction that a deadlock or serialisation failure rolled back
# Connection, authorisation, no such database, resources, operator intervention, system error (same appendix).
_UNREACHABLE_CLASSES = {"08", "28", "3D", "53", "57", "58"}
_RETRIED_SQLSTATES = {"40001", "40P01"}  # serialization_failure, deadlock_detected (PostgreSQL, appendix A)


def async_url(url: str) -> sa.URL:
    """The URL with the async driver of its dialect. Raises ConfigurationError."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConfigurationError("EVENSKIN_DATABASE_URL is not a database URL.") from error
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    dialect = parsed.drivername.partition("+")[0]
    if dialect not in drivers:
        raise ConfigurationError(
            f"EVENSKIN_DATABASE_URL names '{dialect}'.", advice="Use sqlite:///file or postgresql://user@host/name."
        )
    return parsed.set(drivername=drivers[dialect])


class Database:
    """Transactions on the ledger; vendor errors come out as DatabaseUnavailable (retryable)."""

    def __init__(self, url: str) -> None:
        self._url = async_url(url)
        self.is_sqlite = self._url.drivername.startswith("sqlite")
        self._engine = self._create_engine()
        # SQLite has one writer at a time: waiting here is cheaper than its busy handler.
        self._writer: contextlib.AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if self.is_sqlite else contextlib.nullcontext()
        )

    def _create_engine(self) -> AsyncEngine:
        if not self.is_sqlite:
            # The connection used last: it has the statements prepared.
            engine = create_async_engine(self._url, pool_size=20, max_overflow=0, pool_timeout=20, pool_use_lifo=True)
            event.listen(engine.sync_engine, "checkout", _refuse_closed)
            return engine
        if self._url.database:
            with _translated():
                Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(self._url, connect_args={"timeout": 30}, pool_size=5)

        @event.listens_for(engine.sync_engine, "connect")
        def configure(connection: Any, _: object) -> None:
            connection.isolation_level = None  # we say BEGIN ourselves, below
            try:
                cursor = connection.cursor()
                _use_wal(cursor)
                for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
                    cursor.execute(f"PRAGMA {pragma}")
                cursor.close()
            except BaseException:  # not a database: nobody else would close it
                connection.close()
                raise

        @event.listens_for(engine.sync_engine, "begin")
        def begin(connection: sa.Connection) -> None:
            # A writer takes the lock at once: a reader that turns writer could fail half-way.
            writes = connection.get_execution_options().get("writes", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        async with contextlib.AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._engine.connect())
            except DBAPIError as error:  # whatever the reason it gives
                raise _our(error) from error
            yield connection

    async def migrate(self) -> None:
        """Bring the schema to the newest version; replicas that start together do it once.

        Raises DatabaseUnavailable.
        """

        async def upgrade(connection: AsyncConnection) -> None:
            if not self.is_sqlite:
                await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            await connection.run_sync(_upgrade)

        # One transaction: on SQLite it is the lock, and what fails half-way leaves nothing behind. It may meet an older
        # version at work, which locks tables in its own order.
        await self._write(upgrade)

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction, again from its start after a deadlock. Raises DatabaseUnavailable."""

        async def flushed(connection: AsyncConnection) -> T:
            transaction = Transaction(connection)
            result = await work(transaction)
            await transaction.flush()
            return result

        return await self._write(flushed)

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        for attempt in range(WRITE_TRIES):
            try:
                with _translated():
                    async with self._writer, self._connected() as raw:
                        connection = await raw.execution_options(writes=True)
                        async with connection.begin():
                            return await work(connection)
            except _RolledBack:
                log.info("transaction_retried", attempt=attempt)
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))
        raise DatabaseUnavailable("The ledger's transaction was rolled back too often.")

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading. Raises DatabaseUnavailable."""
        with _translated():
            async with self._connected() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading to which the ledger stays as it is. Raises DatabaseUnavailable."""
        async with self.reading() as connection:
            # SQLite's readers see one moment anyway: they are one transaction.
            yield (
                connection if self.is_sqlite else await connection.execution_options(isolation_level="REPEATABLE READ")
            )

    async def check(self) -> None:
        """Raise DatabaseUnavailable unless the database answers."""
        async with self.reading() as connection:
            await connection.execute(sa.select(1))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def rows_of(where: AsyncConnection | Transaction, query: sa.Executable, **parameters: object) -> list[Row]:
    """Every row that the query finds, by column name."""
    return [dict(row) for row in (await where.execute(query, parameters)).mappings()]


async def row_of(where: AsyncConnection | Transaction, query: sa.Executable, **parameters: object) -> Row | None:
    """The first row that the query finds, or None."""
    row = (await where.execute(query, parameters)).mappings().first()
    return None if row is None else dict(row)


_LOST = (OperationalError, InterfaceError, InternalError)  # asyncpg's word for a connection cut off in mid-sentence


class _RolledBack(Exception):
    """The database asked to run the transaction again."""


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except (EvenskinError, _RolledBack):
        raise
    except (PoolTimeout, OSError) as error:
        raise _our(error) from error
    except Exception as error:  # the driver's own, where not even a connection was made
        state = getattr(getattr(error, "orig", error), "sqlstate", None)
        if state in _RETRIED_SQLSTATES:
            raise _RolledBack from error
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if lost or isinstance(error, _LOST) or str(state)[:2] in _UNREACHABLE_CLASSES:
            raise _our(error) from error
        if isinstance(error, DatabaseError) and type(error.orig) is sqlite3.DatabaseError:
            raise _our(error) from error  # damaged, or something else than a database
        raise


def _use_wal(cursor: Any) -> None:
    """Turn the file to a write-ahead log. Where several do so at once SQLite says "locked" and does not wait."""
    for left in reversed(range(WAL_TRIES)):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not left or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        await_only(asyncio.sleep(WAL_PAUSE_S))


def _refuse_closed(dbapi_connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool make a connection anew that the server has closed: the driver knows, at no round trip's cost."""
    if dbapi_connection.driver_connection.is_closed():
        raise sa.exc.DisconnectionError


def _our(error: Exception) -> DatabaseUnavailable:
    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    return DatabaseUnavailable(
        f"The ledger's database does not answer: {reason}.", advice="Start it, or correct EVENSKIN_DATABASE_URL."
    )


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:  # a revision that this version does not know
        raise ConfigurationError(
            f"The ledger's schema is not one that this version knows: {error}.", advice="Run the newer version again."
        ) from error
