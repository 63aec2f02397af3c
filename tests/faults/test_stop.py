"""10. SIGTERM to a generator under load: what is paid for is kept, and nothing more is paid for meanwhile."""

from __future__ import annotations

from random import Random

from tests.faults import end_state
from tests.faults.deployment import SLOTS, Deployment, eventually


async def test_a_generator_that_is_told_to_stop_wastes_no_call(deployment: Deployment, seed: int) -> None:
    random = Random(seed)
    await deployment.start(random=random)
    campaign_id = await deployment.request(seed)
    for calls in sorted(random.sample(range(1, SLOTS - 10), 2)):  # before the last ones are under way
        await eventually(lambda calls=calls: deployment.provider.calls >= calls, f"{calls} calls")
        await deployment.programs["generator"].drain()
        assert deployment.provider.calls == await deployment.records()
        deployment.spawn("generator")
    await end_state.check(deployment, campaign_id)
    assert deployment.provider.calls == len(deployment.provider.bill) == SLOTS
