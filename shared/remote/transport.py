"""The socket below a connection: what is written in quick succession is sent together.

The client writes every message by itself, and a system call each is most of what a small message costs, here and
in the broker, which then also confirms them one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import aio_pika
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

GATHER_S = 0.002  # seconds between two sends under load; who writes less often than that waits for nothing

Data = bytes | bytearray | memoryview


class GatheringWriter(asyncio.StreamWriter):
    """Sends at once after a pause, and otherwise what has gathered since the last time."""

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.StreamReaderProtocol,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(transport, protocol, reader, loop)
        self._clock = loop
        self._gathered: list[Data] = []
        self._sent_at = -GATHER_S  # by the loop's clock

    def write(self, data: Data) -> None:
        """Send soon."""
        if not self._gathered:
            due = self._sent_at + GATHER_S
            if due > self._clock.time():
                self._clock.call_at(due, self._send)
            else:
                self._clock.call_soon(self._send)  # not now: more may come in this turn of the loop
        self._gathered.append(data)

    def writelines(self, data: Iterable[Data]) -> None:
        """Send soon."""
        self.write(b"".join(data))

    def write_eof(self) -> None:
        """Send what there is, and the end."""
        self._send()
        super().write_eof()

    def close(self) -> None:
        """Send what there is, and close."""
        self._send()
        super().close()

    async def drain(self) -> None:
        """Send what there is, and wait until the transport can take more."""
        self._send()
        await super().drain()

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered and not self.is_closing():
            self._sent_at = self._clock.time()
            super().write(b"".join(gathered))


class GatheringTransport(TransportFactory):
    """TCP, and TLS where the URL says so, as the client opens them but with our writer."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect. Raises AMQPConnectionError."""
        ssl = kwargs.pop("ssl_context_provider")
        context = await ssl.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, host=url.host or "", port=url.port or 0, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return reader, GatheringWriter(transport, protocol, reader, loop)


class GatheringConnection(aio_pika.Connection):
    """aio-pika's connection on our transport."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kwargs["transport_factory"] = GatheringTransport()  # `aio_pika.connect` takes no object as argument
