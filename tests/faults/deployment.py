"""Runs the five services as processes of their own on real servers: starts, kills and inspects them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import aio_pika
import aiohttp
import psutil

import tests.eventually
from services.console.all_in_one import SERVICES
from shared.events import RebalanceRequested
from shared.remote.blobs import S3Blobs
from shared.remote.topology import EXCHANGE
from tests.eventually import LIMIT_S, LONG_LIMIT_S
from tests.fakes.openai_server import KEY, OpenAIServer
from tests.faults.ledger import Ledger
from tests.servers.process import Process

ROOT = str(Path(__file__).parents[2])
TARGETS = {"acne": 20, "redness": 20, "aging": 20}
SLOTS = sum(TARGETS.values())
CLAIM_LEASE_S = 20.0  # after which what a killed generator was paying for is taken over; renewed eight times in it
PRICE_MICRO_USD = 30_000  # of one image
CONCURRENCY = 8  # calls of one generator that are under way at a time
TRAINING = {
    "seed": 3,
    "batch_size": 16,
    "images_seen": 100,
    "min_epochs": 2,
    "max_epochs": 2,
    "input_size": 32,
    "threads": 1,
    "model": {"scales": 2, "cell": 8, "width": 8, "depth": 1},
}
"""The smallest network that can be trained, for seconds."""


eventually = partial(tests.eventually.eventually, within_s=LONG_LIMIT_S, every_s=0.05)
"""Wait for what a deployment does: longer, and looking less often."""


@dataclass(frozen=True)
class Servers:
    """The addresses of the servers that a deployment uses."""

    amqp_url: str
    database_url: str
    s3_endpoint_url: str
    bucket: str

    @property
    def store_url(self) -> str:
        """The store, for the services."""
        return f"s3://{self.bucket}/faults"

    def blobs(self) -> S3Blobs:
        """The store for the test itself, reached without the proxy that fails."""
        return S3Blobs(self.bucket, prefix="faults", endpoint_url=self.s3_endpoint_url)


class Program:
    """One process of a service, and its log."""

    def __init__(self, service: str, directory: Path, environment: dict[str, str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.service = service
        self._log = directory / f"{len(list(directory.glob('*.log')))}.log"
        path = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), ROOT)))
        own = {"EVENSKIN_HOME": str(directory / "home"), "EVENSKIN_PORT": "0", "PYTHONPATH": path}
        self.process = Process(
            [sys.executable, "-m", SERVICES[service][0]], log=self._log, environment={**environment, **own}
        )

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Every line of its log that tells of an event."""
        return [line for line in _parsed(self._log.read_text(errors="replace")) if line.get("event") == event]

    async def url(self) -> str:
        """Wait until the service has started, and return its URL."""

        async def started() -> list[dict[str, Any]]:
            assert self.process.status is None, f"{self.service} ended:\n{self.process.tail()}"
            return self.logged("service_started")

        return f"http://127.0.0.1:{(await eventually(started, f'start of {self.service}'))[-1]['port']}"

    async def kill(self) -> None:
        """`kill -9` this one process. The processes that it started must end by themselves."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send(signal.SIGKILL)
        await self._ended()
        await eventually(lambda: not any(map(_runs, children)), f"End of {self.service}'s children")

    async def drain(self) -> None:
        """SIGTERM; it must end by itself: it has nothing in hand that its drain would have to cut short."""
        self.process.send(signal.SIGTERM)
        assert await self._ended() == 0, self.process.tail()

    async def _ended(self) -> int:
        await eventually(lambda: self.process.status is not None, f"End of {self.service}", within_s=LIMIT_S)
        assert self.process.status is not None
        return self.process.status


def _runs(process: psutil.Process) -> bool:
    """Whether a process runs. A zombie does not: its new parent, the machine's first process, has yet to reap it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _parsed(text: str) -> Iterable[dict[str, Any]]:
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            document = json.loads(line)
            if isinstance(document, dict):
                yield document


@dataclass
class Deployment:
    """The running services. `programs`: by name, that of the service, or `<service> 2` of a second replica."""

    servers: Servers
    provider: OpenAIServer
    directory: Path
    session: aiohttp.ClientSession
    ledger: Ledger
    blobs: S3Blobs
    settings: dict[str, str]
    programs: dict[str, Program] = field(default_factory=dict)
    kills: int = 0  # of generators
    extra_calls: int = 0  # paid calls whose outcome a killed generator did not store

    def spawn(self, name: str, **settings: str) -> Program:
        """Start a process without waiting for it."""
        service = name.split()[0]
        environment = {**self._environment(), **self.settings, **settings}
        self.programs[name] = program = Program(service, self.directory / name.replace(" ", "-"), environment)
        return program

    async def start(self, *, replicas: int = 1, random: Random | None = None) -> None:
        """Start every service, in any order, and wait until all have started."""
        names = [name if number == 1 else f"{name} {number}" for name in SERVICES for number in range(1, replicas + 1)]
        (random or Random(0)).shuffle(names)
        for name in names:
            self.spawn(name)
        for program in list(self.programs.values()):
            await program.url()

    async def kill(self, name: str) -> None:
        """`kill -9` one process. What a generator was paying for has to be paid for again, by another attempt."""
        await self.programs[name].kill()
        if name.startswith("generator"):
            self.kills += 1
            unrecorded = len(self.provider.bill) - await self.records()
            assert unrecorded <= self.kills * CONCURRENCY, "more calls were under way than may be"
            self.extra_calls += unrecorded

    async def records(self) -> int:
        """Number of images whose outcome lies in the store: nobody pays for them again."""
        return sum([info.key.endswith("/generation.json") async for info in self.blobs.list("images/")])

    async def request(self, seed: int, **request: Any) -> UUID:
        """Ask for the campaign as an operator's AMQP client does: bare JSON. Returns its id."""
        campaign_id = uuid5(NAMESPACE_URL, f"evenskin-faults-{seed}")
        body = json.dumps({"campaign_id": str(campaign_id), "targets": TARGETS, **request}).encode()
        await self.publish(RebalanceRequested.name(), body)
        return campaign_id

    async def publish(self, routing_key: str, body: bytes, content_type: str = "application/json") -> None:
        """Publish anything, as any AMQP client might."""
        async with await aio_pika.connect(self.servers.amqp_url) as connection, connection.channel() as channel:
            exchange = await channel.get_exchange(EXCHANGE)
            message = aio_pika.Message(body, content_type=content_type, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await exchange.publish(message, routing_key)

    async def get(self, service: str, path: str) -> Any:
        """A document of a service."""
        async with self.session.get(await self.programs[service].url() + path) as response:
            assert response.status == 200, await response.text()
            return await response.json(content_type=None)

    async def is_ready(self, name: str) -> bool:
        """Whether a process says that it is ready; on a busy machine its store may be too slow for that once."""
        async with self.session.get(await self.programs[name].url() + "/readyz") as response:
            return response.status == 200

    async def until_counted(self, counted: int) -> None:
        """Wait until so many slots are counted."""

        async def there() -> bool:
            return (await self.ledger.slot_states())["counted"] >= counted

        await eventually(there, f"{counted} slots counted")

    async def until_met(self) -> None:
        """Wait until the dataset is there."""

        async def met() -> bool:
            campaign = await self.ledger.campaign()
            return campaign is not None and campaign["state"] == "met"

        await eventually(met, "QuotaMet")

    async def until_trained(self) -> None:
        """Wait until the campaign has its model."""

        async def trained() -> bool:
            campaign = await self.ledger.campaign()
            return campaign is not None and campaign["model_version"] is not None

        await eventually(trained, "ModelTrained")

    def log_tails(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {name}\n{program.process.tail()}" for name, program in self.programs.items())

    def _environment(self) -> dict[str, str]:
        return {
            "EVENSKIN_AMQP_URL": self.servers.amqp_url,
            "EVENSKIN_DATABASE_URL": self.servers.database_url,
            "EVENSKIN_STORE_URL": self.servers.store_url,
            "EVENSKIN_S3_ENDPOINT_URL": self.servers.s3_endpoint_url,
            "EVENSKIN_RETRY_DELAY_S": "0.5",
            # Beyond any test: whatever is lost stays lost, and is seen.
            "EVENSKIN_REQUEST_DEADLINE_S": "3600",
            "EVENSKIN_AUGMENT_DEADLINE_S": "3600",
            "EVENSKIN_TRAINING_DEADLINE_S": "3600",
            "EVENSKIN_DRAIN_S": "3600",
            "EVENSKIN_RECONCILE_S": "1",
            "EVENSKIN_PROVIDER": "openai",
            "EVENSKIN_BACKBONE": "none",  # small models, which a store in trouble takes sooner
            "EVENSKIN_FACES": "off",  # its stand-in's pictures are noise
            "EVENSKIN_IMAGE_PRICE_USD": str(PRICE_MICRO_USD / 1e6),
            "EVENSKIN_IMAGES_PER_MINUTE": "60000",
            "EVENSKIN_REQUESTS_UNDER_WAY": "9",  # so that slots are asked for in portions
            "EVENSKIN_GENERATOR_CONCURRENCY": str(CONCURRENCY),
            "EVENSKIN_CLAIM_LEASE_S": str(CLAIM_LEASE_S),
            "OPENAI_BASE_URL": self.provider.url,
            "OPENAI_API_KEY": KEY,
            "EVENSKIN_MODEL_POLL_S": "1",
            "EVENSKIN_TRAINING": json.dumps(TRAINING),
        }


@contextlib.asynccontextmanager
async def deployed(
    servers: Servers, provider: OpenAIServer, directory: Path, **settings: str
) -> AsyncIterator[Deployment]:
    """A deployment with nothing started yet. `settings`: environment of every service."""
    async with aiohttp.ClientSession() as session:
        ledger, blobs = Ledger(servers.database_url), servers.blobs()
        running = Deployment(servers, provider, directory, session, ledger, blobs, settings)
        try:
            yield running
        finally:
            for program in running.programs.values():
                program.process.stop()
            keys = [info.key async for info in blobs.list("")]
            await asyncio.gather(*map(blobs.delete, keys))  # moto keeps everything in memory
            await blobs.close()
            await ledger.close()
