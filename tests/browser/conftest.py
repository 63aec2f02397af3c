"""A browser for each test, and services that no environment has a say in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from playwright.async_api import Browser

from shared.logs import configure_logs
from tests.browser.visit import started_browser
from tests.servers.process import ServerFailed


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith("EVENSKIN_") and not variable.startswith("EVENSKIN_TEST_"):
            monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    configure_logs("tests", level="ERROR")
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The machine's Chromium. Where there is none the test fails, with what to install: it is never skipped."""
    try:
        async with started_browser() as started:
            yield started
    except ServerFailed as error:
        pytest.fail(f"No browser for the tests: {error}", pytrace=False)
