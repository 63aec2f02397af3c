"""11. A provider that answers, and bills, after its client has given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tests.fakes.openai_server import OpenAIServer
from tests.faults import end_state
from tests.faults.counting_provider import counting_provider
from tests.faults.deployment import PRICE_MICRO_USD, SLOTS, Deployment, Servers, deployed

LATE = 5  # calls that are answered too late
TIMEOUT_S = 10.0  # of the client: long beside what the other calls take
ANSWER_S = 12.0


@pytest.fixture
async def provider(seed: int) -> AsyncIterator[OpenAIServer]:
    """A provider some of whose answers come too late."""
    late = Random(seed).sample(range(SLOTS), LATE)
    async with counting_provider(slow=dict.fromkeys(late, ANSWER_S)) as server:
        yield server


@pytest.fixture
async def deployment(servers: Servers, provider: OpenAIServer, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A deployment whose generator does not wait for ever."""
    async with deployed(servers, provider, tmp_path, EVENSKIN_IMAGE_TIMEOUT_S=str(TIMEOUT_S)) as running:
        yield running


async def test_answers_that_come_too_late_are_booked_and_the_budget_holds(deployment: Deployment, seed: int) -> None:
    await deployment.start(random=Random(seed))
    deployment.extra_calls = LATE
    budget_usd = (SLOTS + LATE) * PRICE_MICRO_USD / 1e6
    campaign_id = await deployment.request(seed, max_cost_usd=budget_usd)
    await end_state.check(deployment, campaign_id)  # what is booked is what was billed
    assert len(deployment.provider.bill) == SLOTS + LATE
