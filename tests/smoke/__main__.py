"""`make smoke`: two campaigns through docker compose, the second with replicas, kills and restarts; then the drain.

    COMPOSE="docker compose" python -m tests.smoke

Everything is checked from outside: HTTP, AMQP, and what Docker says of the containers.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from uuid import uuid4

import aio_pika

from services.console.client import LabelerClient, ModelClient
from shared.documents.rebalances import Campaign
from shared.errors import EvenskinError
from shared.taxonomy import Condition
from tests.smoke.compose import Compose, SmokeFailed
from tests.smoke.images import SERVICES, check_images

FIRST, SECOND = 8, 14  # images per condition, after the first and the second campaign
TRAINING = {"images_seen": 400, "min_epochs": 2, "max_epochs": 2, "input_size": 96}
READY_S = 240.0
CAMPAIGN_S = 600.0
POLL_S = 0.5
SLOWLY = "60"  # images a minute and generator: the second campaign is sure to be under way when its servers go down


def say(text: str) -> None:
    """One line of progress."""
    print(f"smoke: {text}", flush=True)


async def ready(labeler: LabelerClient) -> None:
    """Return once the labeler-api answers, and its database and its broker do."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            await labeler.balance()
            await labeler.dead_letters()
            return
        except EvenskinError as error:
            if time.monotonic() > deadline:
                raise SmokeFailed(f"labeler-api was not ready within {READY_S:.0f} s: {error}") from error
        await asyncio.sleep(POLL_S)


async def publish(compose: Compose, target: int) -> str:
    """Ask for a rebalance as any AMQP client may, with a bare JSON object. Returns the campaign's id."""
    campaign = str(uuid4())
    environment = compose.environment
    url = f"amqp://evenskin:{environment['RABBITMQ_PASSWORD']}@127.0.0.1:{environment['AMQP_PORT']}/"
    deadline = time.monotonic() + READY_S
    body = json.dumps({"target_per_condition": target, "campaign_id": campaign}).encode()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.declare_exchange("evenskin", "topic", durable=True)
        while True:
            try:
                await exchange.publish(aio_pika.Message(body), "RebalanceRequested", mandatory=True)
                return campaign
            except aio_pika.exceptions.DeliveryError as error:  # no queue takes it yet
                if time.monotonic() > deadline:
                    raise SmokeFailed("No queue takes RebalanceRequested.") from error
                await asyncio.sleep(POLL_S)


async def campaign_until(labeler: LabelerClient, campaign_id: str, *, counted: int | None = None) -> Campaign:
    """The campaign once so many slots are counted, or, without a number, once it has its model."""
    deadline = time.monotonic() + CAMPAIGN_S
    document: Campaign | None = None
    while time.monotonic() < deadline:
        try:
            document = await labeler.campaign(campaign_id)
        except EvenskinError:  # not there yet, or the ledger is being restarted
            await asyncio.sleep(POLL_S)
            continue
        if counted is not None and document.slots.counted >= counted:
            return document
        if counted is None and document.model is not None:
            return document
        if document.state in ("rejected", "exhausted"):
            break
        await asyncio.sleep(POLL_S)
    raise SmokeFailed(f"Campaign {campaign_id} did not come to its end: {document}")


async def served(models: ModelClient, version: str) -> None:
    """Return once the model-server serves this version."""
    deadline = time.monotonic() + READY_S
    found = "none"
    while time.monotonic() < deadline:
        try:
            found = await models.served_version()
        except EvenskinError:
            found = "none"
        if found == version:
            return
        await asyncio.sleep(POLL_S)
    raise SmokeFailed(f"The model-server serves {found} instead of {version}.")


async def check_end(labeler: LabelerClient, models: ModelClient, campaign: Campaign, target: int) -> None:
    """The end state, exactly: quotas, variants, cost, dead letters, pictures, and a prediction of the live model."""
    balance = await labeler.balance()
    for condition in Condition:
        accepted = balance.conditions[condition].accepted
        if accepted != target:
            raise SmokeFailed(f"{condition.value} has {accepted} images instead of {target}.")
    accepted = balance.images.accepted
    if (balance.variants, balance.unaugmented) != (accepted, 0):
        raise SmokeFailed(f"{accepted} images have {balance.variants} variants, {balance.unaugmented} none.")
    slots = campaign.slots
    if (slots.counted, slots.open, slots.failed) != (slots.total, 0, 0):
        raise SmokeFailed(f"The campaign's slots are {slots}.")
    if letters := await labeler.dead_letters():
        raise SmokeFailed(f"There are dead letters: {letters}")
    page = await labeler.images(status="accepted", limit=5)
    pictures = [await labeler.image_content(image.id) for image in page.images]
    live = next(model.version for model in (await labeler.models()).models if model.live)
    await served(models, live)
    prediction = await models.predict(pictures[0])
    if prediction.model_version != live or len(prediction.conditions) != len(Condition):
        raise SmokeFailed(f"The prediction is not the live model's: {prediction}")


async def run(compose: Compose) -> None:
    """The whole of it, on containers that were just started."""
    environment = compose.environment
    labeler_url = f"http://127.0.0.1:{environment['LABELER_PORT']}"
    model_url = f"http://127.0.0.1:{environment['MODEL_SERVER_PORT']}"
    key = environment["EVENSKIN_API_KEY"]
    async with LabelerClient(labeler_url, api_key=key) as labeler, ModelClient(model_url, api_key=key) as models:
        await ready(labeler)
        for container in (each for service in SERVICES for each in compose.containers(service)):
            if compose.restarts(container):
                raise SmokeFailed("A service ended instead of waiting for what it depends on.")
        for service, megabytes in (await asyncio.to_thread(check_images, compose)).items():
            say(f"{service:12} adds {megabytes} MB to its base image; no root, no compiler, read-only")

        say(f"{FIRST} images per condition, published over AMQP")
        campaign = await campaign_until(labeler, await publish(compose, FIRST))
        await check_end(labeler, models, campaign, FIRST)
        say(f"{campaign.slots.counted} images, a model that is served, no dead letters")

        say(f"{SECOND} per condition, on three generators and two augmenters; one generator is killed,")
        compose.environment["EVENSKIN_IMAGES_PER_MINUTE"] = SLOWLY
        compose("up", "--detach", "--no-build", "--scale", "generator=3", "--scale", "augmenter=2")
        campaign_id = await publish(compose, SECOND)
        await campaign_until(labeler, campaign_id, counted=1)
        crashed = compose.crash("generator")
        say("RabbitMQ, PostgreSQL and the labeler-api are restarted")
        compose("restart", "rabbitmq", "postgres", "labeler-api")
        await ready(labeler)
        campaign = await campaign_until(labeler, campaign_id)
        await check_end(labeler, models, campaign, SECOND)
        if not compose.restarts(crashed):
            raise SmokeFailed("The generator that was killed was not started again.")
        say(f"{campaign.slots.counted} images more, a model that is served, no dead letters")

    compose("stop", *SERVICES)
    for service in SERVICES:
        for container in compose.containers(service):
            if status := compose.exit_status(container):
                raise SmokeFailed(f"The {service} ended with {status} when it was stopped.")
    say("all five drained and ended by themselves")
    if "Traceback" in (logs := compose("logs", "--no-color", *SERVICES)):
        raise SmokeFailed(f"There is a traceback in the logs:\n{logs[logs.index('Traceback') - 400 :][:4000]}")


def main() -> int:
    """Returns the exit status."""
    # A key, so that the compose file's way of handing it on is tried, too.
    compose = Compose(
        os.environ.get("COMPOSE", "docker compose"),
        {"EVENSKIN_TRAINING": json.dumps(TRAINING), "EVENSKIN_API_KEY": uuid4().hex, "EVENSKIN_PROVIDER": "procedural"},
    )
    try:
        compose.demand_engine()
        say("building the images")
        compose.build()
        say("starting the five services first, and what they depend on after them")
        with compose.running(first=SERVICES):
            asyncio.run(run(compose))
    except (SmokeFailed, EvenskinError, subprocess.SubprocessError) as error:
        print(f"smoke: failed: {error}", file=sys.stderr)
        return 1
    say("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
