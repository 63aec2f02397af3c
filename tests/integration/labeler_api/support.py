"""labeler-api as a test starts it: over HTTP and a bus, with a fake generator and augmenter around it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import sqlalchemy as sa

from services.labeler_api.app import build
from services.labeler_api.ledger.database import Database, rows_of
from services.labeler_api.ledger.tables import metadata
from services.labeler_api.settings import LabelerSettings
from shared.embedded.bus import InProcessBus
from shared.events import Event, QuotaMet, RebalanceRejected, Subject
from shared.manifest import ManifestImage, parse_manifest
from shared.message import Message, Wire
from shared.service import Service
from shared.taxonomy import AgeBand, Light, Sex, View
from tests.eventually import eventually
from tests.fakes.blobs import FailingBlobs
from tests.fakes.bus import Listener
from tests.fakes.pictures import png
from tests.fakes.workers import FakeAugmenter, FakeGenerator

SUBJECT = Subject(age_band=AgeBand.ADULT, skin_tone=4, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=View.FRONTAL)


def settings_of(home: Path, **changes: Any) -> LabelerSettings:
    """Settings that no environment and no `.env` has a say in."""
    defaults: dict[str, Any] = {
        "home": home,
        "port": 0,
        "database_url": None,
        "drain_s": 2.0,
        "retry_delay_s": 0.02,
        "reconcile_s": 0.05,
        "rejection_grace_s": 0.0,  # but where a test takes a rejection back
        "images_per_minute": 1_000_000,
        "faces": "off",  # pictures of tests are noise, which the gate would refuse
    }
    return LabelerSettings.load(_env_file=None, **{**defaults, **changes})


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem document."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        document = self.json
        assert document["status"] == self.status
        assert document["detail"]
        return str(document["code"])


@dataclass(repr=False)
class Labeler:
    """A running labeler-api and what is around it."""

    service: Service
    settings: LabelerSettings
    bus: InProcessBus
    blobs: FailingBlobs
    generator: FakeGenerator
    augmenter: FakeAugmenter
    listener: Listener
    session: aiohttp.ClientSession
    database: Database
    _replicas: list[Service] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.service.port}"

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """One request."""
        async with self.session.request(method, self.url + path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Any:
        """A document that is there."""
        answer = await self.call("GET", path, **options)
        assert answer.status == 200, answer.body
        return answer.json

    async def upload(self, data: bytes | None, **fields: str) -> Answer:
        """Upload a picture with its form's fields."""
        form = aiohttp.FormData(default_to_multipart=True)
        if data is not None:
            form.add_field("file", io.BytesIO(data), filename="picture", content_type="application/octet-stream")
        for name, value in fields.items():
            form.add_field(name, value)
        return await self.call("POST", "/v1/images", data=form)

    async def imported(self, count: int, **fields: str) -> list[str]:
        """Bring in so many pictures; their ids."""
        found = []
        for _ in range(count):
            answer = await self.upload(png(uuid4().int % 2**32), **fields)
            assert answer.status == 201, answer.body
            found.append(answer.json["id"])
        return found

    async def rebalance(self, **request: Any) -> str:
        """Start a rebalance; its id."""
        answer = await self.call("POST", "/v1/rebalances", json=request)
        assert answer.status == 202, answer.body
        return str(answer.json["id"])

    async def campaign(self, campaign_id: str) -> dict[str, Any]:
        """A campaign's document."""
        found: dict[str, Any] = await self.get(f"/v1/rebalances/{campaign_id}")
        return found

    async def reaches(self, campaign_id: str, state: str) -> dict[str, Any]:
        """Wait for a campaign's state."""

        async def there() -> dict[str, Any] | None:
            answer = await self.call("GET", f"/v1/rebalances/{campaign_id}")  # 404: not even asked for yet
            return answer.json if answer.json.get("state") == state else None

        found: dict[str, Any] = await eventually(there, f"{campaign_id} {state}")
        return found

    async def send(self, routing_key: str, data: Any, **attributes: str) -> None:
        """Publish bare JSON as any AMQP client might."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        await self.bus.publish_wire(Wire(routing_key, "application/json", attributes, body))

    async def publish(self, event: Event, **attributes: Any) -> None:
        """Publish an event."""
        await self.bus.publish(Message(event, "test", **attributes))

    async def images(self, **query: str) -> list[dict[str, Any]]:
        """Every image that a query finds."""
        page = await self.get("/v1/images", params={"limit": "200", **query})
        assert page["next_cursor"] is None
        found: list[dict[str, Any]] = page["images"]
        return found

    async def review(self, image_id: str, verdict: str, **said: Any) -> Answer:
        """One review."""
        body = {"verdict": verdict, "reviewer": "Dr. Skin", **said}
        return await self.call("POST", f"/v1/images/{image_id}/reviews", json=body)

    async def manifest(self, version: str) -> list[ManifestImage]:
        """A dataset version's entries."""
        key = (await self.get(f"/v1/datasets/{version}"))["manifest_key"]
        return list(parse_manifest((await self.blobs.get(key)).data))

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table."""
        async with self.database.reading() as connection:
            return await rows_of(connection, sa.select(metadata.tables[table]))

    def handled(self, event: str, outcome: str) -> float:
        """Deliveries of an event that the service has handled with an outcome."""
        labels = {"event": event, "outcome": outcome}
        return self.service.registry.get_sample_value("evenskin_events_handled_total", labels) or 0.0

    async def settled(self) -> None:
        """Wait until nothing is under way: no event waits, every accepted image has its variants."""

        async def quiet() -> bool:
            return not await self.rows("outbox") and (await self.get("/v1/balance"))["unaugmented"] == 0

        await eventually(quiet, "Quiet")

    async def replica(self) -> Service:
        """Start another labeler-api on the same database, bus and store."""
        other = build(self.settings, bus=self.bus, blobs=self.blobs)
        await other.start()
        self._replicas.append(other)
        return other

    async def restart(self, **changes: Any) -> None:
        """Stop the service as a process ends, with a new bus that knows nothing of the old one's messages."""
        await self._stop()
        self.settings = self.settings.model_copy(update=changes)
        self.bus = InProcessBus()
        await self.bus.start()
        self.generator.bus = self.augmenter.bus = self.listener.bus = self.bus
        self.service = build(self.settings, bus=self.bus, blobs=self.blobs)
        await self.start()

    async def start(self) -> None:
        """Start everything, the service first."""
        await self.service.start()
        await self.generator.start()
        await self.augmenter.start()
        await self.listener.start(QuotaMet, RebalanceRejected)

    async def _stop(self) -> None:
        await self.bus.drain(1.0)
        for service in (self.service, *self._replicas):
            await service.stop()
        await self.bus.close()

    async def stop(self) -> None:
        """End everything."""
        await self.session.close()
        await self._stop()
        await self.database.close()
        await self.blobs.close()


@contextlib.asynccontextmanager
async def labeler(home: Path, *, bus: InProcessBus | None = None, **changes: Any) -> AsyncIterator[Labeler]:
    """A running labeler-api with its own home, bus and store."""
    settings = settings_of(home, **changes)
    bus = bus or InProcessBus()
    await bus.start()
    blobs = FailingBlobs(home / "store")
    running = Labeler(
        service=build(settings, bus=bus, blobs=blobs),
        settings=settings,
        bus=bus,
        blobs=blobs,
        generator=FakeGenerator(bus, blobs),
        augmenter=FakeAugmenter(bus),
        listener=Listener(bus),
        session=aiohttp.ClientSession(),
        database=Database(settings.database),
    )
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
