"""The ledger read from outside: straight from its database."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa

from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.tables import metadata
from shared.errors import DatabaseUnavailable


class Ledger:
    """Reads tables; the schema is labeler-api's."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table. Raises DatabaseUnavailable."""
        async with self._database.reading() as connection:
            return await rows_of(connection, sa.select(metadata.tables[table]))

    async def slot_states(self) -> Counter[str]:
        """How many slots are in each state; none while the database is down or has no schema yet."""
        try:
            async with self._database.reading() as connection:
                slots = metadata.tables["slots"]
                found = await connection.execute(sa.select(slots.c.state, sa.func.count()).group_by(slots.c.state))
                return Counter({state: number for state, number in found})
        except (DatabaseUnavailable, sa.exc.ProgrammingError):
            return Counter()

    async def campaign(self) -> dict[str, Any] | None:
        """The one campaign's row, once there is one; None while the database is down, too."""
        try:
            found = await self.rows("campaigns")
        except (DatabaseUnavailable, sa.exc.ProgrammingError):
            return None
        return found[-1] if found else None

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()
