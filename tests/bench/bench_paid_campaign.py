"""The seed's campaign of 520 with OpenAI's provider, against a local server that is slow and faulty.

    python -m tests.bench.bench_paid_campaign [--speed-up 5]

The server takes 30 s for a picture. Of the requests it refuses 5% as too many and 4% for their prompt, answers 3% with
a server error, and makes the picture of 2% and never answers. Two generators share 50 requests a minute; one is killed
twice, the other one drained, and each started again. Time runs 5 times as fast, so that eleven minutes take two; what
is not scaled is the generators' start and their waits of a second or two before they ask again. labeler-api and the
generators are processes of their own, on RabbitMQ and PostgreSQL; the pictures are noise, in which no face is looked
for. Prints JSON, then a line; fails unless the quota is met exactly, the server's bill is within the ledger's and that
within the budget, what was made beyond the quota was unanswered or under way at a kill, and the pace is kept and used.

The share of the pace is that of the first 95% of the requests: after those, slots that failed before are all there is
to ask for.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import sys
import tempfile
import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web

from services.augmenter.app import build as build_augmenter
from services.augmenter.settings import AugmenterSettings
from services.generator.claims import LEASE_S
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import UnroutableEvent
from shared.events import RebalanceRequested
from shared.logs import configure_logs
from shared.message import Message
from shared.remote.bus import RabbitBus
from tests.bench.bench_campaign import LATENCY_S, PER_MINUTE, TrainerStandIn, servers, started
from tests.eventually import eventually
from tests.fakes.openai_server import KEY, Answer, OpenAIServer, billed, document, openai_server, problem, silence
from tests.fakes.pictures import png
from tests.faults.deployment import Program

SEED_TABLE = {"redness": 134, "pore_size": 134, "textured_skin": 130, "hyperpigmentation": 122}  # what it lacks
PRICE_USD = 0.03
SPARE = 150  # images that the budget allows beyond the quota
FAULTS = {"busy": 0.05, "refused": 0.04, "broken": 0.03, "unanswered": 0.02}  # shares of the requests
TIMEOUT_S = 180.0  # that one request may take, in the provider's time
RETRY_DELAY_S = 5.0  # until a message that cannot be handled now comes again
WITHIN_S = 1800.0  # a campaign that takes longer has failed
KILLS, DRAIN = (0.25, 0.5), 0.7  # once such a share of the quota is billed
WHOLE_PACE = 0.95  # share of the requests while which there is always something to ask for


@dataclass
class FaultyProvider:
    """Answers as said above. `ended`: how many requests each way; `open`: those that are being answered."""

    pictures: list[bytes]
    speed_up: float
    random: Random = field(default_factory=lambda: Random(13))
    ended: Counter[str] = field(default_factory=Counter)
    open: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        (end,) = self.random.choices([*FAULTS, "made"], [*FAULTS.values(), 1 - sum(FAULTS.values())])
        self.ended[end] += 1
        self.open += 1
        try:
            return await self._as(end)(request)
        finally:
            self.open -= 1

    def _as(self, end: str) -> Answer:
        match end:
            case "busy":
                return problem(429, "rate_limit_exceeded", retry_after="1")
            case "refused":
                return problem(400, "moderation_blocked", type="image_generation_user_error")
            case "broken":
                return problem(500, None, type="server_error")
            case "unanswered":
                return billed(silence)
            case _:
                return billed(self._picture)

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(LATENCY_S / self.speed_up)
        data = base64.b64encode(self.pictures.pop()).decode()
        return await document({"created": 1, "data": [{"b64_json": data}]})(request)


def environment(home: Path, amqp_url: str, database_url: str, provider_url: str, speed_up: float) -> dict[str, str]:
    """Settings of the processes, in scaled time."""
    return {
        **os.environ,
        "EVENSKIN_STORE_URL": (home / "store").as_uri(),
        "EVENSKIN_AMQP_URL": amqp_url,
        "EVENSKIN_DATABASE_URL": database_url,
        "EVENSKIN_RETRY_DELAY_S": str(RETRY_DELAY_S / speed_up),
        "EVENSKIN_FACES": "off",
        "EVENSKIN_PROVIDER": "openai",
        "EVENSKIN_IMAGE_PRICE_USD": str(PRICE_USD),
        "EVENSKIN_IMAGES_PER_MINUTE": str(PER_MINUTE * speed_up),
        "EVENSKIN_IMAGE_TIMEOUT_S": str(TIMEOUT_S / speed_up),
        "EVENSKIN_CLAIM_LEASE_S": str(LEASE_S / speed_up),
        "OPENAI_BASE_URL": provider_url,
        "OPENAI_API_KEY": KEY,
    }


async def until_billed(server: OpenAIServer, images: float) -> None:
    """Wait until the server has billed so many pictures."""
    await eventually(lambda: len(server.bill) >= images, f"{images:g} pictures", within_s=WITHIN_S)


async def trouble(home: Path, settings: dict[str, str], server: OpenAIServer, faulty: FaultyProvider) -> int:
    """Two generators, of which one is killed twice and the other one drained. Returns what was under way at kills."""
    slots, under_way = sum(SEED_TABLE.values()), 0
    programs = [Program("generator", home / f"generator-{number}", settings) for number in range(2)]
    try:
        for share in KILLS:
            await until_billed(server, share * slots)
            under_way += faulty.open
            await programs[0].kill()
            programs[0] = Program("generator", home / "generator-0", settings)
        await until_billed(server, DRAIN * slots)
        draining = asyncio.create_task(programs[1].drain())
        programs.append(Program("generator", home / "generator-2", settings))
        await draining
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return under_way
    finally:
        for program in programs:
            await asyncio.to_thread(program.process.stop)
    raise AssertionError("unreachable: it waits to be cancelled")


async def campaign(home: Path, speed_up: float, amqp_url: str, database_url: str) -> dict[str, Any]:
    """One campaign, and what server and ledger say of it."""
    slots = sum(SEED_TABLE.values())
    faulty = FaultyProvider([png(seed) for seed in range(2 * slots)], speed_up)
    budget_usd = round((slots + SPARE) * PRICE_USD, 2)
    request = RebalanceRequested(targets=SEED_TABLE, campaign_id=uuid4(), max_cost_usd=budget_usd)
    bus, trainer = RabbitBus(amqp_url, connection_name="bench"), TrainerStandIn()
    await bus.start()
    await bus.subscribe(trainer.subscription())
    augmenter = build_augmenter(
        AugmenterSettings.load(_env_file=None, home=home, port=0), bus=bus, blobs=DirectoryBlobs(home / "store")
    )
    async with openai_server(faulty.answer) as server, started(bus, augmenter):
        settings = environment(home, amqp_url, database_url, server.url, speed_up)
        labeler = Program("labeler-api", home / "labeler", settings)
        generators = None
        try:
            url = await labeler.url()
            generators = asyncio.create_task(trouble(home, settings, server, faulty))
            await published(bus, request)
            async with asyncio.timeout(WITHIN_S):
                await trainer.met.wait()
            ended_at = asyncio.get_running_loop().time()
            told = await document_of(url, request.campaign_id)
        finally:
            if generators is not None:
                generators.cancel()
                under_way = await generators
            await asyncio.to_thread(labeler.process.stop)
        times = sorted(server.times)
    await bus.close()
    per_s = PER_MINUTE * speed_up / 60
    whole = int(WHOLE_PACE * len(times))
    return {
        "slots": slots,
        "speed_up": speed_up,
        "seconds": round(ended_at - times[0], 1),
        "counted": told["slots"]["counted"],
        "requests": len(times),
        **faulty.ended,
        "under_way_at_kills": under_way,
        "billed": len(server.bill),
        "bill_usd": round(len(server.bill) * PRICE_USD, 2),
        "ledger_usd": round(told["spent_usd"], 2),
        "budget_usd": budget_usd,
        "pace_at_end": round(await pace_of(home) / PER_MINUTE / speed_up, 3),
        "share_of_pace": round((whole - 1) / (times[whole - 1] - times[0]) / per_s, 3),
        "most_a_minute": max(bisect_left(times, at + 60 / speed_up) - index for index, at in enumerate(times)),
    }


async def pace_of(home: Path) -> float:
    """Requests a minute that the generators allow each other now: less than at first where they were refused a lot."""
    told = await DirectoryBlobs(home / "store").get("pace/openai.json")
    return float(json.loads(told.data)["per_minute"])


async def published(bus: RabbitBus, request: RebalanceRequested) -> None:
    """Publish a rebalance once labeler-api hears it."""
    message = Message(request, "bench")
    while True:
        with contextlib.suppress(UnroutableEvent):
            await bus.publish(message)
            return
        await asyncio.sleep(0.1)


async def document_of(url: str, campaign_id: UUID) -> dict[str, Any]:
    """A campaign's document."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/rebalances/{campaign_id}") as answer:
        answer.raise_for_status()
        told: dict[str, Any] = await answer.json()
        return told


def broken_promises(figures: dict[str, Any]) -> list[str]:
    """What a campaign must keep to, and did not."""
    promises = {
        "the quota is met exactly": figures["counted"] == figures["slots"],
        "the bill is within the ledger's": figures["bill_usd"] <= figures["ledger_usd"],
        "the ledger's is within the budget": figures["ledger_usd"] <= figures["budget_usd"],
        "nothing was made beyond the quota but what was unanswered or under way at a kill": figures["billed"]
        <= figures["slots"] + figures["unanswered"] + figures["under_way_at_kills"],
        "the pace is used": figures["share_of_pace"] >= 0.95,
        # A request's way takes as long as it takes: one may come late, and the next ones not.
        "the pace is kept": figures["most_a_minute"] <= 1.05 * PER_MINUTE + 1,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


def main() -> int:
    """Measure and print. Returns the exit status: 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed-up", type=float, default=5.0, help="how much faster time runs")
    arguments = parser.parse_args()
    configure_logs("bench", level="ERROR")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="evenskin-bench-") as place:
        home = Path(place)
        home.chmod(0o755)  # readable for the user that PostgreSQL runs as
        with servers(home) as (amqp_url, database_url):
            figures = asyncio.run(campaign(home, arguments.speed_up, amqp_url, database_url))
    print(json.dumps({"benchmark": "paid_campaign", **figures}))
    print(
        f"{figures['slots']} slots, {figures['requests']} requests at {figures['share_of_pace']:.1%} of the pace, at "
        f"most {figures['most_a_minute']} a minute: bill ${figures['bill_usd']:.2f}, ledger "
        f"${figures['ledger_usd']:.2f}, budget ${figures['budget_usd']:.2f}; {time.perf_counter() - began:.0f} s in all"
    )
    broken = broken_promises(figures)
    for promise in broken:
        print(f"Not so: {promise}.", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
