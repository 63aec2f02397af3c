"""A campaign of 520 slots, from RebalanceRequested to QuotaMet, with a provider that costs no time, and a slow one.

    python -m tests.bench.bench_campaign [--slots 520] [--speed-up 5]

At once: what is left is the services' own work, in one process on the embedded adapters, and with labeler-api as a
process of its own on RabbitMQ and a PostgreSQL that commits to disk. Paced: a provider that takes 30 s and allows 50
images a minute, in time that runs 5 times as fast (6 s and 250 a minute), so that eleven minutes take two;
`--speed-up 1` takes eleven. The share of the pace is told for the requests, first to last, and for the campaign, the
last picture's 30 s included, which alone keep it to 95.6%. Generator and augmenter are the real ones; the pictures are
noise, made beforehand, in which no face is looked for. Prints JSON, then a table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

from services.augmenter.app import build as build_augmenter
from services.augmenter.settings import AugmenterSettings
from services.generator.app import build as build_generator
from services.generator.provider import Order, Picture
from services.generator.settings import GeneratorSettings
from services.labeler_api.app import build as build_labeler
from services.labeler_api.settings import LabelerSettings
from shared.bus import Bus, Subscription
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.errors import UnroutableEvent
from shared.events import QuotaMet, RebalanceRequested
from shared.logs import configure_logs
from shared.message import Message
from shared.remote.bus import RabbitBus
from shared.service import Service
from shared.taxonomy import Condition
from tests.fakes.pictures import png
from tests.servers import postgres, rabbitmq
from tests.servers.process import free_port

LATENCY_S, PER_MINUTE = 30.0, 50.0  # of the slow provider
WITHIN_S = 900.0  # a campaign that takes longer has failed


class TimedProvider:
    """Gives pictures that are there already, after a while."""

    name = "timed"
    price_usd = 0.03
    first_wait_s = 0.0

    def __init__(
        self, pictures: list[bytes], *, latency_s: float = 0.0, images_per_minute: float | None = None
    ) -> None:
        self.concurrency = GeneratorSettings.model_fields["generator_concurrency"].default
        self.images_per_minute = images_per_minute
        self.began: list[float] = []
        self._pictures = iter(pictures)
        self._latency_s = latency_s

    async def generate(self, order: Order) -> Picture:
        """The next picture."""
        self.began.append(time.perf_counter())
        await asyncio.sleep(self._latency_s)
        return Picture(next(self._pictures), "a portrait", "noise-1", cost_usd=self.price_usd)

    async def close(self) -> None:
        """Nothing to release."""


class TrainerStandIn:
    """Stands in for the trainer: knows when the quota is met."""

    def __init__(self) -> None:
        self.met = asyncio.Event()

    def subscription(self) -> Subscription:
        """On QuotaMet."""

        async def hear(_: Message) -> None:
            self.met.set()

        return Subscription("trainer", QuotaMet, hear)


@contextlib.asynccontextmanager
async def started(bus: Bus, *services: Service) -> AsyncIterator[None]:
    """Services that run; they are drained at the end."""
    try:
        for service in services:
            await service.start()
        yield
    finally:
        await bus.drain(5.0)
        for service in services:
            await service.stop()


def workers(home: Path, bus: Bus, provider: TimedProvider) -> tuple[Service, Service]:
    """Generator and augmenter."""
    blobs = DirectoryBlobs(home / "store")
    generator = GeneratorSettings.load(_env_file=None, home=home, port=0)
    augmenter = AugmenterSettings.load(_env_file=None, home=home, port=0)
    return (
        build_generator(generator, bus=bus, blobs=blobs, provider=provider),
        build_augmenter(augmenter, bus=bus, blobs=blobs),
    )


async def campaign(bus: Bus, slots: int, trainer: TrainerStandIn) -> float:
    """Seconds from RebalanceRequested to QuotaMet."""
    share, more = divmod(slots, len(Condition))
    targets = {condition.value: share + (number < more) for number, condition in enumerate(Condition)}
    request = Message(RebalanceRequested(targets=targets, campaign_id=uuid4()), "bench")
    while True:
        began = time.perf_counter()
        try:
            await bus.publish(request)
            break
        except UnroutableEvent:  # labeler-api is not up yet
            await asyncio.sleep(0.1)
    async with asyncio.timeout(WITHIN_S):
        await trainer.met.wait()
    return time.perf_counter() - began


async def embedded(home: Path, slots: int, provider: TimedProvider) -> float:
    """All in this process: in-process bus, SQLite, a directory."""
    bus, trainer = InProcessBus(), TrainerStandIn()
    await bus.start()
    settings = LabelerSettings.load(_env_file=None, home=home, port=0, database_url=None, faces="off")
    labeler = build_labeler(settings, bus=bus, blobs=DirectoryBlobs(home / "store"))
    await bus.subscribe(trainer.subscription())
    async with started(bus, labeler, *workers(home, bus, provider)):
        seconds = await campaign(bus, slots, trainer)
    await bus.close()
    return seconds


@contextlib.asynccontextmanager
async def labeler_process(home: Path, amqp_url: str, database_url: str) -> AsyncIterator[None]:
    """labeler-api as it is deployed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.labeler_api"),
        env={
            **os.environ,
            "EVENSKIN_HOME": str(home),
            "EVENSKIN_STORE_URL": (home / "store").as_uri(),
            "EVENSKIN_AMQP_URL": amqp_url,
            "EVENSKIN_DATABASE_URL": database_url,
            "EVENSKIN_PORT": str(free_port()),
            "EVENSKIN_LOG_LEVEL": "WARNING",
            "EVENSKIN_FACES": "off",
        },
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def remote(home: Path, slots: int, provider: TimedProvider, amqp_url: str, database_url: str) -> float:
    """labeler-api a process of its own, on RabbitMQ and PostgreSQL."""
    bus, trainer = RabbitBus(amqp_url, connection_name="bench"), TrainerStandIn()
    await bus.start()
    await bus.subscribe(trainer.subscription())
    async with labeler_process(home, amqp_url, database_url), started(bus, *workers(home, bus, provider)):
        seconds = await campaign(bus, slots, trainer)
    await bus.close()
    return seconds


@contextlib.contextmanager
def servers(home: Path) -> Iterator[tuple[str, str]]:
    """URLs of a private RabbitMQ and a private PostgreSQL."""
    with contextlib.ExitStack() as stack:
        urls = []
        for name in ("rabbitmq", "postgres"):
            (home / name).mkdir()
            place = home / name
            server = rabbitmq.start(place) if name == "rabbitmq" else postgres.start(place, durable=True)
            stack.callback(server.stop)
            urls.append(server.facts["url"])
        yield urls[0], urls[1]


def cpu_s() -> float:
    """CPU of this process and of labeler-api's, once that has ended, its start included; not of the servers."""
    return sum(os.times()[:4])


def measure(home: Path, slots: int, speed_up: float) -> dict[str, float]:
    """Every campaign, one after the other."""
    configure_logs("bench", level="ERROR")
    pictures = [png(seed) for seed in range(slots)]
    began = cpu_s()
    at_once_s = asyncio.run(embedded(home / "embedded", slots, TimedProvider(pictures)))
    at_once_cpu_s = cpu_s() - began
    with servers(home) as (amqp_url, database_url):
        began = cpu_s()
        remote_s = asyncio.run(remote(home / "remote", slots, TimedProvider(pictures), amqp_url, database_url))
        remote_cpu_s = cpu_s() - began
    slow = TimedProvider(pictures, latency_s=LATENCY_S / speed_up, images_per_minute=PER_MINUTE * speed_up)
    paced_s = asyncio.run(embedded(home / "paced", slots, slow))
    per_s = PER_MINUTE * speed_up / 60
    requests_s = slow.began[-1] - slow.began[0]
    return {
        "slots": slots,
        "embedded_s": round(at_once_s, 2),
        "embedded_cpu_s": round(at_once_cpu_s, 2),
        "rabbitmq_postgres_s": round(remote_s, 2),
        "rabbitmq_postgres_cpu_s": round(remote_cpu_s, 2),
        "speed_up": speed_up,
        "paced_s": round(paced_s, 2),
        "share_of_pace_requests": round((slots - 1) / requests_s / per_s, 3),
        "share_of_pace_campaign": round(slots / paced_s / per_s, 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=520)
    parser.add_argument("--speed-up", type=float, default=5.0, help="how much faster time runs for the slow provider")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evenskin-bench-") as place:
        Path(place).chmod(0o755)  # readable for the user that PostgreSQL runs as
        figures = measure(Path(place), arguments.slots, arguments.speed_up)
    print(json.dumps({"benchmark": "campaign", **figures}))
    slots = arguments.slots
    for what, name in (("embedded, one process", "embedded"), ("RabbitMQ and PostgreSQL", "rabbitmq_postgres")):
        print(f"{slots} slots at once, {what:24} {figures[f'{name}_s']:7.2f} s, CPU {figures[f'{name}_cpu_s']:6.2f} s")
    requests, whole = figures["share_of_pace_requests"], figures["share_of_pace_campaign"]
    print(
        f"{slots} slots at {PER_MINUTE:.0f} a minute, {LATENCY_S:.0f} s each, {arguments.speed_up:.0f} times as fast: "
        f"requests at {requests:.1%} of the pace, campaign {whole:.1%}"
    )


if __name__ == "__main__":
    main()
