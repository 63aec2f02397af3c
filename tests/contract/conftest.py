"""The ports under test, each with both of its adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.bus import Bus
from tests.contract.support import BusSetup, EmbeddedSetup, RemoteSetup


@pytest.fixture(params=["embedded", "remote"])
async def buses(request: pytest.FixtureRequest) -> AsyncIterator[BusSetup]:
    """A setup of either adapter."""
    setup: BusSetup
    if request.param == "embedded":
        setup = EmbeddedSetup(request.getfixturevalue("tmp_path"))
    else:
        setup = RemoteSetup(request.getfixturevalue("amqp_url"))
    yield setup
    await setup.close()


@pytest.fixture
async def bus(buses: BusSetup) -> Bus:
    """One started bus of either adapter."""
    return await buses.replica()
