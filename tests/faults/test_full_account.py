"""12. An account whose credit is used up midway, and that is topped up."""

from __future__ import annotations

from random import Random

from aiohttp import web

from tests.fakes.openai_server import OpenAIServer, problem
from tests.faults import end_state
from tests.faults.deployment import PRICE_MICRO_USD, SLOTS, Deployment, eventually

_no_credit = problem(429, "insufficient_quota", type="insufficient_quota")


class Account:
    """Lets a provider answer for as long as there is `credit`, in pictures. `refused`: calls that it did not pay."""

    def __init__(self, provider: OpenAIServer, credit: int) -> None:
        self.credit = credit
        self.refused = 0
        self._provider = provider
        self._pictures = provider.otherwise
        provider.otherwise = self._answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if len(self._provider.bill) < self.credit:
            return await self._pictures(request)
        self.refused += 1
        return await _no_credit(request)


async def test_a_campaign_without_credit_waits_for_it_and_ends_whole(deployment: Deployment, seed: int) -> None:
    random = Random(seed)
    credit = random.randrange(1, SLOTS)
    account = Account(deployment.provider, credit)
    await deployment.start(random=random)
    campaign_id = await deployment.request(seed, max_cost_usd=SLOTS * PRICE_MICRO_USD / 1e6, max_attempts=1)

    async def refused_all() -> bool:
        """Whether every slot that was asked for has its picture, or waits for credit."""
        asked = [slot for slot in await deployment.ledger.rows("slots") if slot["state"] == "open"]
        return bool(asked) and all(slot["deadline"] == 0 for slot in asked) and len(asked) == account.refused

    await eventually(refused_all, "Nothing is asked for any more")
    campaign = await deployment.ledger.campaign()
    assert campaign is not None
    assert campaign["state"] == "paused"
    assert campaign["reason"].startswith("quota_exhausted: 429")
    assert len(deployment.provider.bill) == credit

    account.credit = SLOTS
    url = await deployment.programs["labeler-api"].url() + f"/v1/rebalances/{campaign_id}/resume"
    async with deployment.session.post(url) as response:
        assert response.status == 200, await response.text()
    await end_state.check(deployment, campaign_id, refused=account.refused)
    assert len(deployment.provider.bill) == SLOTS
