"""13. Two generators on hosts whose clocks differ, and connections that break while both are paying."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from services.generator.claims import LEASE_S
from tests.fakes.openai_server import when
from tests.faults import end_state
from tests.faults.connections import close_connections
from tests.faults.deployment import CONCURRENCY, SLOTS, Deployment, eventually
from tests.servers.rabbitmq import Management

PROCESSES = 6
CLOCK_AHEAD = str(Path(__file__).parent / "clock_ahead")  # its sitecustomize.py is read as a process starts


async def test_a_clock_that_is_90_s_ahead_takes_nothing_over_that_is_paid_for(
    deployment: Deployment, amqp_management: Management, seed: int
) -> None:
    deployment.settings["EVENSKIN_CLAIM_LEASE_S"] = str(LEASE_S)
    deployment.settings["EVENSKIN_REQUESTS_UNDER_WAY"] = str(SLOTS)  # enough for both generators at once
    released = asyncio.Event()
    deployment.provider.otherwise = when(released, deployment.provider.otherwise)
    await deployment.start(random=Random(seed))
    ahead = deployment.spawn("generator 2", PYTHONPATH=CLOCK_AHEAD)
    await ahead.url()
    assert ahead.logged("clock_is_ahead")
    campaign_id = await deployment.request(seed)
    await eventually(lambda: deployment.provider.calls == 2 * CONCURRENCY, "Both generators are paying")
    vhost = urlsplit(deployment.servers.amqp_url).path[1:]

    async def is_handed_over() -> bool:
        """Close all connections. Whoever is back first takes the first requests: often its own, not always."""
        await asyncio.to_thread(close_connections, amqp_management, processes=PROCESSES, vhost=vhost)
        for _ in range(20):
            if any("is at work on image" in line["error"] for line in ahead.logged("event_retried")):
                return True
            await asyncio.sleep(0.1)
        return False

    await eventually(is_handed_over, "What one is paying for is handed to the one whose clock is ahead")
    released.set()
    await end_state.check(deployment, campaign_id)
    assert len(deployment.provider.bill) == SLOTS
