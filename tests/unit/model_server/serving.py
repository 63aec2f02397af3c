"""A model-server on a free port with embedded adapters, for tests and the benchmark."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.model_server import models
from services.model_server.app import build
from services.model_server.settings import ModelServerSettings
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.events import ModelPromoted
from shared.message import Message
from shared.service import Service
from tests.eventually import LIMIT_S


@dataclass(frozen=True)
class Answered:
    """An HTTP answer, read."""

    status: int
    headers: dict[str, str]
    body: bytes
    json: Any

    @property
    def code(self) -> str:
        """The problem's code, of an answer that must be a problem document in full."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        assert self.json["status"] == self.status
        assert self.json["detail"]
        assert self.json["type"] == f"urn:evenskin:problem:{self.json['code']}"
        return str(self.json["code"])


@dataclass(frozen=True)
class Running:
    """A started model-server with a client of its own."""

    service: Service
    bus: InProcessBus
    blobs: DirectoryBlobs
    client: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **options: Any) -> Answered:
        """One request, read to its end."""
        if isinstance(options.get("data"), bytes):
            options["data"] = io.BytesIO(options["data"])  # aiohttp warns of large bytes
        async with self.client.request(method, path, **options) as response:
            body = await response.read()
            parsed = await response.json(content_type=None) if "json" in response.content_type else None
            return Answered(response.status, dict(response.headers), body, parsed)

    async def predict(self, data: Any, media_type: str | None = "image/jpeg", query: str = "") -> Answered:
        """`POST /v1/predictions` with a body; a form has its own media type."""
        headers = {} if media_type is None else {"Content-Type": media_type}
        return await self.ask("POST", f"/v1/predictions{query}", data=data, headers=headers)

    async def promote(self, event: ModelPromoted) -> None:
        """Tell the server of a promotion, as the trainer does."""
        await self.bus.publish(Message(event, "trainer"))

    def metric(self, name: str, **labels: str) -> float:
        """A sample of the service's registry; 0 where there is none."""
        return self.service.registry.get_sample_value(name, labels) or 0.0


def form(data: bytes, field: str = "image", **options: Any) -> aiohttp.FormData:
    """A multipart body with one file."""
    made = aiohttp.FormData()
    made.add_field(field, io.BytesIO(data), filename="selfie.jpg", **options)
    return made


async def in_pieces(data: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    """A body sent in chunks, its length not told."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


@contextlib.asynccontextmanager
async def running(home: Path, **settings: Any) -> AsyncIterator[Running]:
    """Start a model-server whose state is under `home`; stop it on the way out."""
    bus, blobs = InProcessBus(), DirectoryBlobs(home / "store")
    options = {"home": home, "port": 0, "predict_workers": 2, "model_poll_s": 60.0, "drain_s": LIMIT_S, **settings}
    service = build(ModelServerSettings.load(**options), bus, blobs)
    await bus.start()
    with pytest.MonkeyPatch.context() as patient:
        patient.setattr(models, "START_WAIT_S", LIMIT_S)
        await service.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{service.port}") as client:
            yield Running(service, bus, blobs, client)
    finally:
        await bus.drain(LIMIT_S)
        await service.stop()
        await bus.close()
