"""What is written to the broker arrives whole and in order, in fewer sends than writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from shared.remote.transport import GatheringTransport
from tests.servers.process import free_port


class Peer(asyncio.Protocol):
    """The other end: keeps what comes."""

    def __init__(self) -> None:
        self.received = b""
        self.changed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def eof_received(self) -> None:
        self.changed.set()

    async def has(self, data: bytes) -> None:
        """Wait until exactly this came."""
        while len(self.received) < len(data):
            self.changed.clear()
            await self.changed.wait()
        assert self.received == data


@contextlib.asynccontextmanager
async def connected(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[asyncio.StreamWriter, Peer, list[bytes]]]:
    """A writer, its peer, and what was sent each time."""
    peer = Peer()
    server = await asyncio.get_running_loop().create_server(lambda: peer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await GatheringTransport().create(URL(f"amqp://127.0.0.1:{port}"), ssl_context_provider=None)
        sends: list[bytes] = []
        send = writer.transport.write

        def recorded(data: bytes | bytearray | memoryview) -> None:
            sends.append(bytes(data))
            send(data)

        monkeypatch.setattr(writer.transport, "write", recorded, raising=False)
        yield writer, peer, sends
        writer.close()
        await writer.wait_closed()


async def test_what_is_written_in_one_turn_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(monkeypatch) as (writer, peer, sends):
        for number in range(100):
            writer.write(b"%d," % number)
        writer.writelines([b"a", b"b"])
        expected = b"".join(b"%d," % number for number in range(100)) + b"ab"
        await peer.has(expected)
        assert sends == [expected]


async def test_everything_arrives_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(monkeypatch) as (writer, peer, sends):
        expected = b""
        for number in range(300):
            expected += b"%d," % number
            writer.write(b"%d," % number)
            await asyncio.sleep(0)
        await peer.has(expected)
        assert b"".join(sends) == expected
        assert len(sends) < 300


async def test_draining_sends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(monkeypatch) as (writer, peer, sends):
        for part in (b"one", b"two"):
            writer.write(part)
            await writer.drain()
        assert sends == [b"one", b"two"]
        await peer.has(b"onetwo")


async def test_closing_sends_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(monkeypatch) as (writer, peer, _):
        writer.write(b"one")
        writer.write_eof()
        await peer.has(b"one")
    async with connected(monkeypatch) as (writer, peer, _):
        writer.write(b"two")
        writer.close()
        await peer.has(b"two")


async def test_a_lost_connection_is_no_error_here(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(monkeypatch) as (writer, _, sends):
        writer.write(b"one")
        writer.transport.abort()
        await writer.wait_closed()
        writer.write(b"two")
        await asyncio.sleep(0.01)
        assert sends == []


async def test_nobody_listens() -> None:
    with pytest.raises(AMQPConnectionError):
        await GatheringTransport().create(URL(f"amqp://127.0.0.1:{free_port()}"), ssl_context_provider=None)
