"""2. A channel closed by the broker because a message was held for longer than it allows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.openai_server import OpenAIServer
from tests.faults import end_state
from tests.faults.counting_provider import counting_provider
from tests.faults.deployment import Deployment, Servers
from tests.faults.private_servers import private_broker
from tests.servers.rabbitmq import RabbitServer

CONSUMER_TIMEOUT_S = 2.0  # shorter than the tiny training; by default it is 30 minutes, and a real training longer
TICK_S = 0.5  # between the broker's looks for messages that are held for too long
SLOW_CALLS = dict.fromkeys((5, 20, 21, 50), 3 * CONSUMER_TIMEOUT_S)  # of the provider, by number


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RabbitServer]:
    """A broker that closes channels on which a message is held for long."""
    settings = f"consumer_timeout = {CONSUMER_TIMEOUT_S * 1000:.0f}\n"
    tick = f"-rabbit channel_tick_interval {TICK_S * 1000:.0f}"
    with private_broker(tmp_path / "broker", settings=settings, erlang_arguments=tick) as server:
        yield server


@pytest.fixture
def servers(broker: RabbitServer, postgres_url: str, s3_endpoint_url: str, s3_bucket: str) -> Servers:
    """The impatient broker, and places on the servers that all tests share."""
    return Servers(broker.facts["url"], postgres_url, s3_endpoint_url, s3_bucket)


@pytest.fixture
async def provider() -> AsyncIterator[OpenAIServer]:
    """A provider some of whose calls take longer than the broker waits."""
    async with counting_provider(slow=SLOW_CALLS) as server:
        yield server


async def test_work_goes_on_when_the_broker_takes_its_message_away(deployment: Deployment) -> None:
    await deployment.start()
    campaign_id = await deployment.request(2)
    await deployment.until_trained()
    for name in ("generator", "trainer"):
        program = deployment.programs[name]
        assert program.logged("consumer_lost"), f"{name} kept its channel: nothing was tested"
        assert program.logged("delivery_joined"), f"{name} did not know its work again"
    await end_state.check(deployment, campaign_id)
