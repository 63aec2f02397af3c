"""4. The store answers 500, 503, slowly or not at all, or loses the answer to a put that succeeded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tests.fakes.openai_server import OpenAIServer
from tests.faults import end_state
from tests.faults.deployment import Deployment, Servers, deployed
from tests.faults.store_proxy import Fault, StoreProxy, store_proxy

WINDOW = 15  # requests in a row that go wrong: enough that the client's own three attempts are used up
PAUSE = 20  # requests that go well between two windows


@pytest.fixture
async def proxy(s3_endpoint_url: str) -> AsyncIterator[StoreProxy]:
    """What lies between the services and the store."""
    async with store_proxy(s3_endpoint_url) as started:
        yield started


@pytest.fixture
async def deployment(
    servers: Servers, provider: OpenAIServer, proxy: StoreProxy, tmp_path: Path
) -> AsyncIterator[Deployment]:
    """A deployment that reaches its store through the proxy."""
    async with deployed(servers, provider, tmp_path, EVENSKIN_S3_ENDPOINT_URL=proxy.url) as running:
        yield running


def storm(random: Random, *, window: int, pause: int) -> list[Fault | None]:
    """Every fault in turn, in any order, with pauses before them."""
    faults = random.sample(list(Fault), len(Fault))
    return [what for fault in faults for what in (*[None] * pause, *[fault] * window)]


async def test_the_store_fails_in_every_way(deployment: Deployment, proxy: StoreProxy, seed: int) -> None:
    random = Random(seed)
    await deployment.start(random=random)
    proxy.plan.extend(storm(random, window=WINDOW, pause=PAUSE))
    campaign_id = await deployment.request(seed)
    await deployment.until_met()
    proxy.plan.extend(storm(random, window=WINDOW // 3, pause=PAUSE // 4))  # for what the trainer does
    await deployment.until_trained()
    assert min(proxy.injected[fault] for fault in Fault) >= WINDOW, proxy.injected
    proxy.plan.clear()
    await end_state.check(deployment, campaign_id, claims_may_stay=True)
