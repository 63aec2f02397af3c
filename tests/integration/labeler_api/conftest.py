"""labeler-api on both of its databases."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from shared.logs import configure_logs
from tests.integration.labeler_api.support import Labeler, labeler


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith("EVENSKIN_") and not variable.startswith("EVENSKIN_TEST_"):
            monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    configure_logs("labeler-api", level="WARNING")  # structlog's default draws every traceback, which is slow
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def both(tmp_path: Path, database_url: str) -> AsyncIterator[Labeler]:
    """A running labeler-api, on either database."""
    async with labeler(tmp_path, database_url=database_url) as running:
        yield running


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Labeler]:
    """A running labeler-api on SQLite, for what does not depend on the database."""
    async with labeler(tmp_path) as running:
        yield running
