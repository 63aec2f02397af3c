"""5. Every message delivered twice, and out of order."""

from __future__ import annotations

from random import Random

from tests.faults import end_state
from tests.faults.deployment import SLOTS, Deployment
from tests.faults.duplicating_relay import relayed
from tests.servers.rabbitmq import Management

EVENTS_OF_A_SLOT = 4  # ImageRequested, ImageGenerated, ImageLabeled, ImageAugmented


async def test_every_message_comes_twice_and_out_of_order(
    deployment: Deployment, amqp_management: Management, seed: int
) -> None:
    await deployment.start(random=Random(seed))
    async with relayed(deployment.servers.amqp_url, amqp_management, Random(seed)) as relay:
        campaign_id = await deployment.request(seed)
        await end_state.check(deployment, campaign_id, also_quiet=relay.is_idle)
        assert relay.copied > 2 * EVENTS_OF_A_SLOT * SLOTS
        assert relay.overtaken > relay.copied / 4
