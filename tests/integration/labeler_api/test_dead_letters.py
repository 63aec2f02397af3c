"""Dead letters over HTTP, on the in-process bus and on RabbitMQ: listed, sent back, and asked for by wrong names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from services.console.client import LabelerClient
from services.labeler_api.app import build
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.errors import InvalidRequest, NotFound
from shared.message import Wire
from shared.remote.bus import RabbitBus
from tests.eventually import eventually
from tests.integration.labeler_api.support import settings_of

QUEUE = "labeler-api.RebalanceRequested"
POISON = Wire("RebalanceRequested", "application/json", {}, b'{"target": ')


@pytest.fixture(params=["in process", "rabbitmq"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[InProcessBus | RabbitBus]:
    bus: InProcessBus | RabbitBus
    if request.param == "rabbitmq":
        bus = RabbitBus(request.getfixturevalue("amqp_url"), connection_name="test")
    else:
        bus = InProcessBus()
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
async def client(bus: InProcessBus | RabbitBus, tmp_path: Path) -> AsyncIterator[LabelerClient]:
    service = build(settings_of(tmp_path), bus=bus, blobs=DirectoryBlobs(tmp_path / "store"))
    await service.start()
    try:
        async with LabelerClient(f"http://127.0.0.1:{service.port}") as client:
            yield client
    finally:
        await bus.drain(1.0)
        await service.stop()


async def test_what_was_given_up_is_listed_and_sent_back(bus: InProcessBus | RabbitBus, client: LabelerClient) -> None:
    async def given_up(count: int) -> bool:
        return len(await client.dead_letters(QUEUE)) == count

    await bus.publish_wire(POISON)
    await eventually(lambda: given_up(1))
    (letter,) = await client.dead_letters()
    assert (letter.queue, letter.event, letter.tries) == (QUEUE, "RebalanceRequested", 1)
    assert letter.error.startswith("MalformedEvent")
    assert letter.body == POISON.body.decode()
    assert await client.dead_letters("trainer.QuotaMet") == ()
    assert await client.replay("trainer.QuotaMet") == 0
    assert await client.replay(QUEUE) == 1
    await eventually(lambda: given_up(1))  # nothing was mended, so it dies again
    assert await client.replay() == 1


@pytest.mark.parametrize("queue", ["nonsense", "labeler-api", "amq.gen-1", "x" * 300, "trainer.QuotaMet.dead", " ", ""])
async def test_a_queue_that_is_none_is_an_error_with_the_names(client: LabelerClient, queue: str) -> None:
    with pytest.raises(NotFound) as raised:
        await client.dead_letters(queue)
    assert "trainer.QuotaMet" in raised.value.advice
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{client.url}/v1/dead-letters/replay", json={"queue": queue}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "not_found")
        async with session.post(f"{client.url}/v1/dead-letters/replay", json={"queue": [queue]}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (422, InvalidRequest.code)
