"""What must hold when a campaign has ended, whatever happened meanwhile: reckoned from outside, to the last one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import aio_pika

from shared.blobs import Blobs
from shared.live_model import read_live
from shared.manifest import parse_manifest
from shared.model_card import ModelCard
from shared.remote.topology import dead_name, retry_name
from shared.schemas import known_queues
from shared.taxonomy import Condition, generated_image_id, split_over_severities
from tests.faults.deployment import CONCURRENCY, PRICE_MICRO_USD, SLOTS, TARGETS, Deployment, eventually
from tests.faults.ledger import Ledger
from tests.integration.labeler_api.recount import assert_counters

QUIET_LOOKS = 10  # in a row at which no queue holds a message

_PICTURE = re.compile(r"images/[0-9a-f-]{36}/(original|hflip)\.jpg")


@dataclass(frozen=True, order=True)
class Dead:
    """A message that was given up: its queue and its body."""

    queue: str
    body: str


async def _at_rest() -> bool:
    return True


async def check(
    deployment: Deployment,
    campaign_id: UUID,
    *,
    dead: tuple[Dead, ...] = (),
    tries: Mapping[str, int] | None = None,
    given_up: frozenset[str] = frozenset(),
    claims_may_stay: bool = False,
    refused: int = 0,
    also_quiet: Callable[[], Awaitable[bool]] = _at_rest,
) -> None:
    """Wait until the campaign has ended and nothing moves; check it all; end the services gracefully.

    `dead`: exactly the dead letters that are there; `tries`: of their bodies, those that are not given up at once.
    `given_up`: ids of the training runs that ended without a model. `claims_may_stay`: whether the claim on an image
    that is made may still lie there, because the store failed when it was removed. `refused`: how many requests the
    provider refused for what the account lacked. `also_quiet`: whether nothing moves in what the test has put between
    the services.
    """
    await deployment.until_trained()
    await eventually(lambda: training_is_finished(deployment.ledger, deployment.blobs), "The trainer's last act")
    await _until_quiet(deployment, also_quiet)
    for program in deployment.programs.values():
        assert program.process.status is None, f"{program.service} ended by itself:\n{program.process.tail()}"
    await _check_dead_letters(deployment, dead, tries or {})
    for name in deployment.programs:
        await eventually(partial(deployment.is_ready, name), f"{name} is ready")
    lost = await lost_images(deployment.blobs)
    booked = SLOTS + len(lost)
    check_answers(
        await deployment.get("labeler-api", f"/v1/rebalances/{campaign_id}"),
        await deployment.get("labeler-api", "/v1/balance"),
        booked=booked,
    )
    await _check_served(deployment)
    await check_ledger(
        deployment.ledger, campaign_id, booked=booked, given_up=given_up, lost=frozenset(lost), refused=refused
    )
    await check_store(
        deployment.ledger, deployment.blobs, given_up=given_up, lost=frozenset(lost), claims_may_stay=claims_may_stay
    )
    paid, allowed = len(deployment.provider.bill), SLOTS + deployment.extra_calls
    assert SLOTS <= paid <= allowed, f"{paid} calls were paid; {allowed} were allowed"
    assert paid <= booked, f"{paid} calls were paid, and {booked} were booked"
    in_flight = max(deployment.extra_calls, deployment.kills * CONCURRENCY)
    assert len(lost) <= in_flight, f"{len(lost)} attempts were lost, and {in_flight} calls were under way"
    await asyncio.gather(*(program.drain() for program in deployment.programs.values()))
    depths = await _depths(deployment)  # nobody holds a message any more, so these are all there are
    assert {name: depth for name, depth in depths.items() if depth} == Counter(dead_name(d.queue) for d in dead)


async def _depths(deployment: Deployment) -> dict[str, int]:
    """Messages ready in every queue of the system that is there."""
    found = {}
    async with await aio_pika.connect(deployment.servers.amqp_url) as connection:
        for queue in known_queues():
            for name in (queue, retry_name(queue), dead_name(queue)):
                channel = await connection.channel()
                try:
                    declared = await channel.declare_queue(name, passive=True)
                except aio_pika.exceptions.ChannelNotFoundEntity:
                    continue  # nobody competes on it: heard by every replica, or by operators
                found[name] = declared.declaration_result.message_count or 0
                await channel.close()
    return found


async def training_is_finished(ledger: Ledger, blobs: Blobs) -> bool:
    """Whether the trainer has noted that its run's events are published. Until then it holds its message."""
    (model,) = await ledger.rows("models")
    return await blobs.head(f"training/{model['run_id']}/done.json") is not None


async def _until_quiet(deployment: Deployment, also_quiet: Callable[[], Awaitable[bool]]) -> None:
    looks = 0

    async def quiet() -> bool:
        nonlocal looks
        waiting = sum(depth for name, depth in (await _depths(deployment)).items() if not name.endswith(".dead"))
        busy = waiting or await deployment.ledger.rows("outbox") or not await also_quiet()
        looks = 0 if busy else looks + 1
        return looks >= QUIET_LOOKS

    await eventually(quiet, "Quiet")


async def _check_dead_letters(deployment: Deployment, dead: tuple[Dead, ...], tries: Mapping[str, int]) -> None:
    letters = (await deployment.get("labeler-api", "/v1/dead-letters"))["dead_letters"]
    assert sorted(Dead(letter["queue"], letter["body"]) for letter in letters) == sorted(dead)
    assert all(letter["error"] for letter in letters)
    assert {letter["body"]: letter["tries"] for letter in letters} == {
        letter.body: tries.get(letter.body, 1) for letter in dead
    }


async def _check_served(deployment: Deployment) -> None:
    """Every model-server answers with the live model."""

    async def serves_live() -> bool:
        live = await read_live(deployment.blobs)
        assert live is not None
        names = [name for name in deployment.programs if name.startswith("model-server")]
        served = [await deployment.get(name, "/v1/model") for name in names]
        return all(model["version"] == live.version for model in served)

    await eventually(serves_live, "The live model is served")


async def lost_images(blobs: Blobs) -> set[UUID]:
    """Images that there are not because nobody knows whether their one call was paid. It is booked."""
    keys = [info.key async for info in blobs.list("images/") if info.key.endswith("/generation.json")]
    records = [json.loads((await blobs.get(key)).data) for key in keys]
    return {UUID(record["image_id"]) for record in records if record.get("unknown_calls")}


def check_answers(campaign: dict[str, Any], balance: dict[str, Any], *, booked: int) -> None:
    """What people and scripts see of the campaign and of the dataset: its quota, and what `booked` calls cost."""
    assert campaign["state"] == "met"
    assert campaign["slots"] == {"total": SLOTS, "counted": SLOTS, "failed": 0, "open": 0}
    assert round(campaign["spent_usd"] * 1e6) == booked * PRICE_MICRO_USD
    training = campaign["training"]
    assert [epoch["epoch"] for epoch in training["history"]] == list(range(1, training["epochs"] + 1))
    assert balance["images"] == {"accepted": SLOTS, "pending": 0, "rejected": 0}
    assert (balance["variants"], balance["unaugmented"]) == (SLOTS, 0)
    for condition, target in TARGETS.items():
        shares = {severity.label: n for severity, n in split_over_severities(target).items()}
        assert balance["conditions"][condition]["severities"] == {**shares, "unknown": 0}


async def check_ledger(
    ledger: Ledger,
    campaign_id: UUID,
    *,
    booked: int,
    given_up: frozenset[str] = frozenset(),
    lost: frozenset[UUID] = frozenset(),
    refused: int = 0,
) -> None:
    """No image twice, none lost, every event's effect once."""
    slots, images = await ledger.rows("slots"), await ledger.rows("images")
    (campaign,) = await ledger.rows("campaigns")
    assert campaign["id"] == campaign_id
    assert campaign["committed_micro_usd"] == booked * PRICE_MICRO_USD
    assert len(slots) == len(images) == len(await ledger.rows("variants")) == SLOTS
    for slot in slots:
        assert (slot["state"], slot["unsettled"]) == ("counted", []), slot
        assert slot["image_id"] == generated_image_id(slot["id"], slot["attempt"])
    earlier = [generated_image_id(slot["id"], number) for slot in slots for number in range(1, slot["attempt"])]
    assert set(earlier) == lost
    assert {image["id"] for image in images} == {slot["image_id"] for slot in slots}
    assert len({image["sha256"] for image in images}) == SLOTS
    await assert_counters(ledger)
    assert not await ledger.rows("outbox")
    handled = Counter(row["message_id"].partition("/")[0] for row in await ledger.rows("inbox"))
    assert handled.pop("RebalanceRequested", 1) >= 1  # bare JSON has no id: another delivery is another message
    assert handled.pop("TrainingFailed", 0) == len(given_up)
    assert handled.pop("ImageFailed", 0) == len(lost) + refused
    assert handled == {
        "ImageGenerated": SLOTS,
        "ImageAugmented": SLOTS,
        "TrainingProgressed": len(await ledger.rows("training_epochs")),
        "ModelTrained": 1,
    }
    (model,) = await ledger.rows("models")
    assert campaign["model_version"] == model["version"]


async def check_store(
    ledger: Ledger,
    blobs: Blobs,
    *,
    given_up: frozenset[str] = frozenset(),
    lost: frozenset[UUID] = frozenset(),
    claims_may_stay: bool = False,
) -> None:
    """Every object belongs to a row of the ledger, every row has its objects, and they are whole."""
    images = {str(row["id"]): row for row in await ledger.rows("images")}
    variants = {str(row["image_id"]): row for row in await ledger.rows("variants")}
    (dataset,) = await ledger.rows("datasets")
    (model,) = await ledger.rows("models")
    sums = {row["key"]: row["sha256"] for row in (*images.values(), *variants.values(), model)}
    card = ModelCard.model_validate_json((await blobs.get(f"models/{model['version']}/card.json")).data)
    unhashed = {
        *(f"images/{id}/generation.json" for id in (*images, *lost)),
        dataset["manifest_key"],
        f"models/{model['version']}/card.json",
        card.evaluation,
        "models/live.json",
        "pace/openai.json",
        f"training/{model['run_id']}/done.json",
        *(f"training/{run_id}/failed.json" for run_id in given_up),
    }
    claims = {f"images/{id}/claim.json" for id in images} if claims_may_stay else set()
    found = {info.key async for info in blobs.list("")} - claims
    # A trainer that dies before it writes the card leaves its evaluation, which is named by its content.
    found -= {key for key in found - unhashed if key.startswith(f"models/{model['version']}/evaluation-")}
    assert found == {*sums, *unhashed}
    assert all(_PICTURE.fullmatch(key) for key in sums if key.startswith("images/"))
    for key, sha256 in sums.items():
        assert hashlib.sha256((await blobs.get(key)).data).hexdigest() == sha256, key
    live = await read_live(blobs)
    assert live is not None
    assert (live.version, live.sha256) == (model["version"], model["sha256"])

    entries = list(parse_manifest((await blobs.get(dataset["manifest_key"])).data))
    assert {str(entry.image_id): entry.sha256 for entry in entries} == {id: row["sha256"] for id, row in images.items()}
    assert len(entries) == SLOTS
    shown = Counter(condition for entry in entries for condition in entry.labels)
    assert shown == {Condition(name): target for name, target in TARGETS.items()}
    for entry in entries:
        (variant,) = entry.variants
        assert variant.sha256 == variants[str(entry.image_id)]["sha256"]
