"""Callers who end their sending side with their request are answered; others' connections end with them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.half_closed import LOOK_S
from shared.service import Service
from shared.settings import Settings
from tests.eventually import LIMIT_S, eventually

PIECES = 50


class Handlers:
    """Routes that wait until they are let on, and what became of them."""

    def __init__(self) -> None:
        self.began, self.may_end = asyncio.Event(), asyncio.Event()
        self.failed: list[str] = []

    def configure(self, app: web.Application) -> None:
        app.router.add_post("/echo", self.echo)
        app.router.add_get("/stream", self.stream)

    async def echo(self, request: web.Request) -> web.Response:
        self.began.set()
        try:
            data = await request.read()
            await self.may_end.wait()
        except (Exception, asyncio.CancelledError) as error:
            self.failed.append(type(error).__name__)
            raise
        return web.Response(body=data)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.began.set()
        response = web.StreamResponse()
        await response.prepare(request)
        await self.may_end.wait()
        for _ in range(PIECES):
            await response.write(b"x" * 10_000)
            await asyncio.sleep(0)
        return response


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@contextlib.asynccontextmanager
async def served(tmp_path: Path, handlers: Handlers, *, ends_abandoned: bool = False) -> AsyncIterator[int]:
    settings = Settings.load(home=tmp_path, port=0, drain_s=LIMIT_S)
    bus = InProcessBus()
    await bus.start()
    blobs = DirectoryBlobs(tmp_path / "store")
    service = Service(
        "tested",
        settings,
        bus,
        blobs,
        configure_http=handlers.configure,
        ends_abandoned_requests=ends_abandoned,
    )
    await service.start()
    yield service.port or 0
    await service.stop()
    await bus.close()


@pytest.fixture
async def port(tmp_path: Path, handlers: Handlers) -> AsyncIterator[int]:
    async with served(tmp_path, handlers) as port:
        yield port


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A caller's side of a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes."""
    return await asyncio.wait_for(reader.read(), LIMIT_S)


async def answer_to(port: int, sent: bytes) -> bytes:
    """What a caller reads who has sent this and will send no more."""
    async with connected(port) as (reader, writer):
        writer.write(sent)
        writer.write_eof()
        return await all_of(reader)


def post(body: bytes, *, length: int | None = None) -> bytes:
    return b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (length or len(body)) + body


async def test_a_whole_request_is_answered_and_the_connection_ends(port: int, handlers: Handlers) -> None:
    handlers.may_end.set()
    answer = await answer_to(port, post(b"hello"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\nhello")
    assert b" 404 " in await answer_to(port, b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")


@pytest.mark.parametrize("method", ["echo", "stream"])
async def test_an_answer_that_takes_its_time_comes_whole(port: int, handlers: Handlers, method: str) -> None:
    asked = post(b"hello") if method == "echo" else b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    asking = asyncio.create_task(answer_to(port, asked))
    await handlers.began.wait()
    await asyncio.sleep(4 * LOOK_S)
    handlers.may_end.set()
    answer = await asking
    assert answer.endswith(b"\r\n\r\nhello" if method == "echo" else b"\r\n0\r\n\r\n")
    assert answer.count(b"x" * 10_000) == (0 if method == "echo" else PIECES)


async def test_a_request_that_breaks_off_ends_at_once(port: int, handlers: Handlers) -> None:
    assert await answer_to(port, post(b"hel", length=5)) == b""
    await eventually(lambda: handlers.failed)


@pytest.mark.parametrize("sent", [b"", b"GET /stream HTTP/1.1\r\nHost:"])
async def test_a_connection_on_which_nothing_was_asked_ends(port: int, sent: bytes) -> None:
    assert await answer_to(port, sent) == b""


async def test_a_connection_may_be_used_again_before_it_is_half_closed(port: int, handlers: Handlers) -> None:
    handlers.may_end.set()
    async with connected(port) as (reader, writer):
        writer.write(post(b"one"))
        assert await asyncio.wait_for(reader.readuntil(b"one"), LIMIT_S)
        writer.write(post(b"two"))
        writer.write_eof()
        assert (await all_of(reader)).endswith(b"\r\n\r\ntwo")


@pytest.mark.parametrize(("version", "has_interim"), [(b"1.1", True), (b"1.0", False)])
async def test_where_work_for_nobody_ends_a_caller_who_still_reads_is_answered(
    tmp_path: Path, handlers: Handlers, version: bytes, has_interim: bool
) -> None:
    async with served(tmp_path, handlers, ends_abandoned=True) as port:
        asking = asyncio.create_task(answer_to(port, post(b"hello").replace(b"HTTP/1.1", b"HTTP/" + version)))
        await handlers.began.wait()
        await asyncio.sleep(4 * LOOK_S)
        handlers.may_end.set()
        interim, answer = (await asking).rsplit(b"HTTP/" + version + b" 200", 1)
        assert interim.replace(b"HTTP/1.1 102 Processing\r\n\r\n", b"") == b""
        assert bool(interim) is has_interim
        assert answer.endswith(b"\r\n\r\nhello")


async def test_where_work_for_nobody_ends_that_of_a_caller_who_has_gone_does(
    tmp_path: Path, handlers: Handlers
) -> None:
    async with served(tmp_path, handlers, ends_abandoned=True) as port:
        async with connected(port) as (_, writer):
            writer.write(post(b"hello"))
            await handlers.began.wait()
        await eventually(lambda: handlers.failed == ["CancelledError"])
