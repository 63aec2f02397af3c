"""A service's life: it waits for what it needs and says so, and drains what it has in hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from shared.bus import Subscription
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.errors import ConfigurationError, DatabaseUnavailable, EvenskinError
from shared.events import RebalanceRequested
from shared.message import Message
from shared.service import Service, run_service
from shared.settings import Settings
from tests.eventually import LIMIT_S, eventually


class Dependency:
    """Something that raises `error` while it is set. `asked`: set once it was asked."""

    def __init__(self, error: EvenskinError | None = None) -> None:
        self.error = error
        self.asked = asyncio.Event()

    async def check(self) -> None:
        self.asked.set()
        if self.error is not None:
            raise self.error


def a_service(home: Path, dependency: Dependency, **more: object) -> Service:
    settings = Settings.load(home=home, port=0, drain_s=LIMIT_S)
    bus, blobs = InProcessBus(), DirectoryBlobs(home / "store")
    return Service("tested", settings, bus, blobs, dependencies={"ledger": dependency.check}, **more)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def running(service: Service) -> AsyncIterator[aiohttp.ClientSession]:
    """The service in a task of its own, ended by a signal as a process is; and a client of it."""
    task = asyncio.create_task(run_service(service))
    try:
        while service.port is None:
            assert not task.done(), task.result()
            await asyncio.sleep(0.01)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{service.port}") as client:
            yield client
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        async with asyncio.timeout(LIMIT_S):
            await task


async def code(client: aiohttp.ClientSession, path: str) -> tuple[int, str | None]:
    """Status and error code of a GET."""
    async with client.get(path) as response:
        if response.content_type == "application/problem+json":
            return response.status, (await response.json())["code"]
        return response.status, None


async def ready(client: aiohttp.ClientSession) -> bool:
    """Whether the service says that it is ready."""
    return (await code(client, "/readyz"))[0] == 200


def with_work(app: web.Application) -> None:
    async def work(_: web.Request) -> web.Response:
        return web.Response(text="done")

    app.router.add_get("/work", work)


async def test_a_service_waits_for_what_it_depends_on_and_answers_503_meanwhile(tmp_path: Path) -> None:
    dependency = Dependency(DatabaseUnavailable("The ledger's database does not answer."))
    service = a_service(tmp_path, dependency, configure_http=with_work)
    async with running(service) as client:
        await dependency.asked.wait()
        assert await code(client, "/healthz") == (200, None)
        assert await code(client, "/work") == (503, "starting")
        assert (await code(client, "/readyz"))[0] == 503
        dependency.error = None
        await eventually(lambda: ready(client))
        assert await code(client, "/work") == (200, None)


async def test_a_service_that_waits_ends_at_once_when_told_to(tmp_path: Path) -> None:
    dependency = Dependency(DatabaseUnavailable("The ledger's database does not answer."))
    async with running(a_service(tmp_path, dependency)):
        await dependency.asked.wait()


async def test_a_service_does_not_wait_for_what_waiting_does_not_mend(tmp_path: Path) -> None:
    dependency = Dependency(ConfigurationError("EVENSKIN_DATABASE_URL is not a database URL."))
    with pytest.raises(ConfigurationError):
        await run_service(a_service(tmp_path, dependency))


async def test_a_service_is_told_before_it_drains_so_that_it_begins_nothing_more(tmp_path: Path) -> None:
    told, may_end = asyncio.Event(), asyncio.Event()

    async def handle(_: Message) -> None:
        begun.release()
        await told.wait()  # the drain, which waits for this, would be too late to tell
        may_end.set()

    begun = asyncio.Semaphore(0)
    service = a_service(
        tmp_path,
        Dependency(),
        before_drain=told.set,
        subscriptions=[Subscription("tested", RebalanceRequested, handle)],
    )
    async with running(service) as client:
        await eventually(lambda: ready(client))
        await service.bus.publish(Message(RebalanceRequested(target_per_condition=1), source="test"))
        await begun.acquire()
        assert not told.is_set()
    assert may_end.is_set()


async def test_the_drain_finishes_the_events_and_requests_in_hand(tmp_path: Path) -> None:
    begun, finished = asyncio.Semaphore(0), []
    may_end = asyncio.Event()

    async def handle(_: Message) -> None:
        begun.release()
        await may_end.wait()
        finished.append("event")

    def configure(app: web.Application) -> None:
        async def slow(_: web.Request) -> web.Response:
            begun.release()
            await may_end.wait()
            finished.append("request")
            return web.Response(text="done")

        app.router.add_get("/slow", slow)

    service = a_service(
        tmp_path,
        Dependency(),
        configure_http=configure,
        subscriptions=[Subscription("tested", RebalanceRequested, handle)],
    )
    async with running(service) as client:
        async with asyncio.timeout(LIMIT_S):
            await eventually(lambda: ready(client))
            await service.bus.publish(Message(RebalanceRequested(target_per_condition=1), source="test"))
            request = asyncio.create_task(code(client, "/slow"))
            await begun.acquire()
            await begun.acquire()
            with capture_logs() as logs:
                os.kill(os.getpid(), signal.SIGTERM)
                await eventually(lambda: "service_draining" in [entry["event"] for entry in logs])
            assert finished == []
            may_end.set()
            assert await request == (200, None)
        await eventually(lambda: len(finished) == 2)
    assert sorted(finished) == ["event", "request"]
