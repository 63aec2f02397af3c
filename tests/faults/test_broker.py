"""2. The broker stopped hard and started again, and its connections closed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults import end_state
from tests.faults.connections import close_connections
from tests.faults.deployment import SLOTS, Deployment, Servers
from tests.faults.private_servers import private_broker
from tests.servers.rabbitmq import Management, RabbitServer

LONGEST_OUTAGE_S = 3.0
QUEUES_KEPT_S = 10.0
"""Seconds after the last queue was declared. A RabbitMQ, 3.10 or 4.0, that is killed sooner can be left with a quorum
queue that has no leader ever again, which its clients tell but do not mend: see test_leaderless_queue.py."""
PROCESSES = 6  # two generators: what one has in hand when its connection is lost, the other one is given


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RabbitServer]:
    """A broker that can be stopped."""
    with private_broker(tmp_path / "broker") as server:
        yield server


@pytest.fixture
def servers(broker: RabbitServer, postgres_url: str, s3_endpoint_url: str, s3_bucket: str) -> Servers:
    """The broker that can be stopped, and places on the servers that all tests share."""
    return Servers(broker.facts["url"], postgres_url, s3_endpoint_url, s3_bucket)


async def test_the_broker_stops_hard_and_its_connections_are_closed(
    deployment: Deployment, broker: RabbitServer, seed: int
) -> None:
    random = Random(seed)
    management = Management(broker.facts["management"])
    await deployment.start(random=random)
    deployment.spawn("generator 2")
    await asyncio.gather(*(program.url() for program in deployment.programs.values()))
    await asyncio.sleep(QUEUES_KEPT_S)
    campaign_id = await deployment.request(seed)
    moments = sorted(random.sample(range(SLOTS), 2))
    stop_first = random.random() < 0.5
    for counted, stop in zip(moments, (stop_first, not stop_first), strict=True):
        await deployment.until_counted(counted)
        if stop:
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(random.uniform(0, LONGEST_OUTAGE_S))
            await asyncio.to_thread(broker.restart)
        else:
            await asyncio.to_thread(close_connections, management, processes=PROCESSES)
    await deployment.until_met()
    await asyncio.to_thread(close_connections, management, processes=PROCESSES)  # in mid-training
    await end_state.check(deployment, campaign_id)
