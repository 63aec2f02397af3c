"""7. Two replicas of every service at once."""

from __future__ import annotations

from random import Random

from prometheus_client.parser import text_string_to_metric_families

from tests.faults import end_state
from tests.faults.deployment import Deployment

SHARED = ("labeler-api", "generator", "augmenter")  # the trainer has one message, the model-server's all hear


async def test_two_replicas_of_every_service_share_the_work(deployment: Deployment, seed: int) -> None:
    await deployment.start(replicas=2, random=Random(seed))
    campaign_id = await deployment.request(seed)
    await deployment.until_trained()
    for service in SHARED:
        handled = [await _handled(deployment, name) for name in (service, f"{service} 2")]
        assert min(handled) > 0, f"{service}: {handled}"
    await end_state.check(deployment, campaign_id)


async def _handled(deployment: Deployment, name: str) -> float:
    """Events that a process has handled."""
    async with deployment.session.get(await deployment.programs[name].url() + "/metrics") as response:
        families = text_string_to_metric_families(await response.text())
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == "evenskin_events_handled_total")
