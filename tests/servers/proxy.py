"""A TCP proxy in front of a server, to cut its connections and to hold them up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator


class Proxy:
    """Forwards to a port of 127.0.0.1. `cut` breaks what is connected; while `is_shut`, nobody gets through."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._answers: dict[asyncio.StreamWriter, bytearray] | None = None  # while they are held
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.is_shut = False
        self.refused = 0  # connections, while it was shut
        self.port = 0

    @property
    def connections(self) -> int:
        """How many are connected now."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break all connections, as a failing network does."""
        for writer in self._connections.values():
            writer.transport.abort()

    def hold_answers(self) -> None:
        """Keep back what the server sends."""
        self._answers = defaultdict(bytearray)

    def cut_after_answers(self) -> None:
        """Send what was kept back and break all connections behind it, in one go."""
        answers, self._answers = self._answers or {}, None
        for writer, data in answers.items():
            writer.write(data)
        for writer in self._connections.values():
            writer.close()

    def hold(self) -> None:
        """Let nothing through, without a word: connections stay open."""
        self._flowing.clear()

    def release(self) -> None:
        """Let everything through again."""
        self._flowing.set()

    async def close(self) -> None:
        """Stop listening and break all connections."""
        if self._server is not None:
            self._server.close()
        self.release()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self.is_shut:
            self.refused += 1
            writer.transport.abort()
            return
        self._connections[task] = writer
        try:
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", self._target)
                await asyncio.gather(self._forward(reader, back), self._forward(there, writer))
        finally:
            del self._connections[task]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                if self._answers is not None and writer in self._connections.values():
                    self._answers[writer] += data
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    """A proxy in front of a port, for as long as the block runs."""
    proxy = Proxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
