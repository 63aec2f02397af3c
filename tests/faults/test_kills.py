"""1. `kill -9` of each service, at random moments of a campaign."""

from __future__ import annotations

import asyncio
from random import Random

from tests.faults import end_state
from tests.faults.deployment import SLOTS, Deployment

LONGEST_PAUSE_S = 1.0  # between a death and the new process: what a supervisor takes
LONGEST_TRAINING_S = 8.0  # of the tiny training, on an idle machine


async def test_every_service_is_killed_once_at_a_random_moment(deployment: Deployment, seed: int) -> None:
    random = Random(seed)
    await deployment.start(random=random)
    campaign_id = await deployment.request(seed)
    # Those that make the dataset die at a number of counted slots, the last one included: the campaign closes then.
    early = [(random.randint(0, SLOTS), name) for name in ("labeler-api", "generator", "augmenter")]
    for counted, name in sorted(early):
        await deployment.until_counted(counted)
        await _die_and_come_back(deployment, name, random, within_s=0.3)
    await deployment.until_met()
    for name in random.sample(["trainer", "model-server"], 2):
        await _die_and_come_back(deployment, name, random, within_s=LONGEST_TRAINING_S / 2)
    await end_state.check(deployment, campaign_id)


async def _die_and_come_back(deployment: Deployment, name: str, random: Random, *, within_s: float) -> None:
    await asyncio.sleep(random.uniform(0, within_s))
    await deployment.kill(name)
    await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_S))
    deployment.spawn(name)
