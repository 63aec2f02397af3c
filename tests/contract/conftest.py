"""The ports under test, each with both of its adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.blobs import Blobs
from shared.bus import Bus
from shared.embedded.blobs import DirectoryBlobs
from shared.remote.blobs import S3Blobs
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


@pytest.fixture(params=["embedded", "remote"])
async def blobs(request: pytest.FixtureRequest) -> AsyncIterator[Blobs]:
    """An empty store of either adapter."""
    store: Blobs
    if request.param == "embedded":
        store = DirectoryBlobs(request.getfixturevalue("tmp_path") / "store")
    else:
        endpoint, bucket = (request.getfixturevalue(name) for name in ("s3_endpoint_url", "s3_bucket"))
        store = S3Blobs(bucket, prefix="some/prefix", endpoint_url=endpoint)
    yield store
    await store.close()
