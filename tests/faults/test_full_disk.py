"""8. The disk under the embedded store is full, and then is not."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import aiohttp
import pytest
from PIL import Image

from shared.embedded.blobs import DirectoryBlobs
from tests.fakes.openai_server import KEY, OpenAIServer
from tests.fakes.pictures import png
from tests.faults import end_state
from tests.faults.deployment import CONCURRENCY, PRICE_MICRO_USD, ROOT, SLOTS, TARGETS, TRAINING, eventually
from tests.faults.ledger import Ledger
from tests.servers.process import Process

SPACE_BYTES = 8 * 1024  # a file may have while the disk counts as full: less than any picture
FULL_CODES = {"store_full", "database_unavailable"}  # the ledger is on the same disk
REFUSALS = 5  # uploads that must be refused before there is space again


@pytest.fixture
async def process(tmp_path: Path, provider: OpenAIServer) -> AsyncIterator[Process]:
    """All services in one process, on a home below `tmp_path`."""
    environment = {
        "EVENSKIN_LOG_LEVEL": "ERROR",  # the log is a file as well, and must not be what fills up
        "EVENSKIN_RETRY_DELAY_S": "0.5",
        "EVENSKIN_PROVIDER": "openai",
        "EVENSKIN_FACES": "off",  # the stand-in's pictures are noise
        "EVENSKIN_IMAGE_PRICE_USD": str(PRICE_MICRO_USD / 1e6),
        "EVENSKIN_IMAGES_PER_MINUTE": "60000",
        "EVENSKIN_GENERATOR_CONCURRENCY": str(CONCURRENCY),
        "OPENAI_BASE_URL": provider.url,
        "OPENAI_API_KEY": KEY,
        "EVENSKIN_TRAINING": json.dumps(TRAINING),
        "PYTHONPATH": ROOT,
    }
    command = [
        sys.executable,
        "-c",
        "from services.console.cli import main; main()",
        "serve",
        "all",
        "--home",
        str(tmp_path / "home"),
    ]
    process = Process([*command, "--port", "0", "--model-port", "0"], log=tmp_path / "log", environment=environment)
    yield process
    process.stop()


def set_space(process: Process, bytes: int) -> None:
    """How large a file the process may write: the kernel cuts a larger one off, as a full disk does."""
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (bytes, hard))


async def test_a_full_disk_stops_nothing_for_good(
    process: Process, provider: OpenAIServer, tmp_path: Path, seed: int
) -> None:
    home = tmp_path / "home"
    ledger, blobs = Ledger(f"sqlite:///{home / 'ledger.sqlite3'}"), DirectoryBlobs(home / "store")
    url = (await eventually(lambda: _announced(process, home), "The start"))["labeler_url"]
    campaign_id = uuid5(NAMESPACE_URL, f"evenskin-faults-{seed}")
    async with aiohttp.ClientSession(url) as session:
        asked = {"campaign_id": str(campaign_id), "targets": TARGETS}
        async with session.post("/v1/rebalances", json=asked) as response:
            assert response.status == 202

        paid = Random(seed).randrange(SLOTS // 2)  # the ledger may be far behind the provider
        await eventually(lambda: provider.calls > paid, f"More than {paid} calls of the provider")
        set_space(process, SPACE_BYTES)
        codes = [await _upload(session, number) for number in range(REFUSALS)]
        assert set(codes) <= FULL_CODES
        for picture in (home / "store").glob("images/*/*.jpg"):
            Image.open(picture).load()  # raises for half a picture
        assert provider.calls < SLOTS, "it was full too late"
        set_space(process, resource.RLIM_INFINITY)

        async def trained() -> bool:
            assert process.status is None, process.tail()
            campaign = await ledger.campaign()
            return campaign is not None and campaign["model_version"] is not None

        await eventually(trained, "ModelTrained")
        await eventually(lambda: _is_idle(ledger, blobs), "The end of everything")
        end_state.check_answers(
            await _get(session, f"/v1/rebalances/{campaign_id}"), await _get(session, "/v1/balance"), booked=SLOTS
        )
        assert (await _get(session, "/v1/dead-letters"))["dead_letters"] == []
    await _check(ledger, blobs, campaign_id)
    assert list((home / "store" / ".incoming").iterdir()) == []
    assert provider.calls == SLOTS
    await ledger.close()


async def _check(ledger: Ledger, blobs: DirectoryBlobs, campaign_id: UUID) -> None:
    await end_state.check_ledger(ledger, campaign_id, booked=SLOTS)
    await end_state.check_store(ledger, blobs)


async def _announced(process: Process, home: Path) -> Any:
    assert process.status is None, process.tail()
    try:
        return json.loads((home / "run.json").read_text())
    except (OSError, ValueError):
        return None


async def _is_idle(ledger: Ledger, blobs: DirectoryBlobs) -> bool:
    return await end_state.training_is_finished(ledger, blobs) and not await ledger.rows("outbox")


async def _upload(session: aiohttp.ClientSession, number: int) -> str:
    """The code of the problem that a picture's upload is answered with."""
    form = aiohttp.FormData({"condition": "aging"})
    form.add_field("file", png(10_000 + number), filename="picture.png")
    async with session.post("/v1/images", data=form) as response:
        document = await response.json(content_type="application/problem+json")
        assert response.status in (503, 507)
        return str(document["code"])


async def _get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()
