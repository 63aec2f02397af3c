"""The ports under test, each with both of its adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aio_pika
import pytest

from shared.blobs import Blobs
from shared.bus import Bus
from shared.embedded.blobs import DirectoryBlobs
from shared.remote.blobs import S3Blobs
from shared.remote.bus import RabbitBus
from tests.contract.support import BusSetup, EmbeddedSetup, RemoteSetup, through
from tests.eventually import LIMIT_S
from tests.servers.proxy import Proxy, proxied


@pytest.fixture(autouse=True)
def _patient_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the limits that on a busy machine its servers may need."""
    for limit in ("blobs.CONNECT_S", "blobs.READ_S", "blobs.CHECK_S", "link.CONNECT_S"):
        monkeypatch.setattr(f"shared.remote.{limit}", LIMIT_S)
    for module in ("publisher", "bus"):
        # Less than the minute after which a heartbeat ends a connection: nothing but the product itself helps a publish
        # that a lost connection holds up.
        monkeypatch.setattr(f"shared.remote.{module}.PUBLISH_S", 45.0)


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


@pytest.fixture
async def proxy(amqp_url: str) -> AsyncIterator[Proxy]:
    """What lies between `rabbit` and its broker."""
    async with proxied(urlsplit(amqp_url).port or 5672) as proxy:
        yield proxy


@pytest.fixture
async def rabbit(amqp_url: str, proxy: Proxy) -> AsyncIterator[RabbitBus]:
    """A bus on RabbitMQ whose connections go through the proxy."""
    bus = RabbitBus(through(amqp_url, proxy.port), connection_name="tests")
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """Somebody else's channel to the same virtual host."""
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        yield channel
