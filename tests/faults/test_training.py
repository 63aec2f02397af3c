"""9. The trainer killed in mid-epoch: it goes on from its checkpoint, to the metrics of an undisturbed run."""

from __future__ import annotations

import asyncio
import json
import shutil
from random import Random
from typing import Any
from uuid import UUID

from shared.events import QuotaMet
from shared.message import Message, encode
from shared.model_card import ModelCard, card_key
from shared.taxonomy import Condition
from tests.faults import end_state
from tests.faults.deployment import TRAINING, Deployment, eventually

EPOCHS = 5
SLOW_TRAINING = {
    **TRAINING,
    "batch_size": 2,
    "images_seen": 10_000,
    "min_epochs": EPOCHS,
    "max_epochs": EPOCHS,
    "patience": EPOCHS,
    "input_size": 64,
    "model": {"scales": 2, "cell": 8, "width": 48, "depth": 3},
}
"""Epochs that take about half a second each on an idle machine, and each leave a checkpoint."""


async def test_a_training_killed_in_mid_epoch_ends_as_an_undisturbed_one(deployment: Deployment, seed: int) -> None:
    deployment.settings["EVENSKIN_TRAINING"] = json.dumps(SLOW_TRAINING)
    await deployment.start()
    campaign_id = await deployment.request(seed)
    await deployment.until_met()
    await eventually(lambda: _objects(deployment, "training/", "/checkpoint.pt"), "The first checkpoint")
    await asyncio.sleep(Random(seed).uniform(0, 0.7))
    deployment.programs["trainer"].process.stop()  # service and worker both, as when a machine dies
    assert len(await deployment.ledger.rows("training_epochs")) < EPOCHS, "killed too late"
    shutil.rmtree(deployment.directory / "trainer" / "home")
    deployment.spawn("trainer")
    await end_state.check(deployment, campaign_id)
    assert deployment.programs["trainer"].logged("training_resumed")
    resumed = await _card(deployment)

    undisturbed = await _train_anew(deployment, campaign_id)
    assert undisturbed.metrics["history"] == resumed.metrics["history"]
    assert undisturbed.metrics == resumed.metrics
    assert undisturbed.metadata == resumed.metadata


async def _train_anew(deployment: Deployment, campaign_id: UUID) -> ModelCard:
    """The same training once more, by a trainer that knows nothing of the first."""
    for prefix in ("models/", "training/"):
        for key in await _objects(deployment, prefix):
            await deployment.blobs.delete(key)
    shutil.rmtree(deployment.directory / "trainer" / "home")
    (dataset,) = await deployment.ledger.rows("datasets")
    event = QuotaMet(
        campaign_id=campaign_id,
        dataset_version=dataset["version"],
        manifest_key=dataset["manifest_key"],
        counts={Condition(name): n for name, n in dataset["counts"].items()},
        images=dataset["images"],
        variants=dataset["variants"],
    )
    wire = encode(Message(event, "tests"))
    deployment.spawn("trainer")
    await deployment.publish(wire.routing_key, wire.body, wire.content_type)
    await eventually(lambda: _objects(deployment, "training/", "/done.json"), "The end of the training")
    assert not deployment.programs["trainer"].logged("training_resumed")
    return await _card(deployment)


async def _objects(deployment: Deployment, prefix: str, ending: str = "") -> list[str]:
    return [info.key async for info in deployment.blobs.list(prefix) if info.key.endswith(ending)]


async def _card(deployment: Deployment) -> ModelCard:
    row: dict[str, Any]
    (row,) = await deployment.ledger.rows("models")
    return ModelCard.model_validate_json((await deployment.blobs.get(card_key(row["version"]))).data)
