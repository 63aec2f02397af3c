"""A link that is closed stays closed, whatever the client makes of a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.errors import BusUnavailable
from shared.remote.link import Link
from tests.eventually import LIMIT_S


class Connection:
    """As much of a connection as a link looks at."""

    def __init__(self) -> None:
        self.close_callbacks: set[Any] = set()
        self.is_closed = False

    def lose(self) -> None:
        """The broker goes."""
        for told in self.close_callbacks:
            told()

    async def close(self) -> None:
        """Disconnect."""
        self.is_closed = True


class Client:
    """Connects at once the first time. Later it waits, and swallows a cancellation: it fails or connects instead."""

    def __init__(self, then: Connection | None) -> None:
        self.first, self._then = Connection(), then
        self.calls, self.waits = 0, asyncio.Event()

    async def connect(self, *_: Any, **__: Any) -> Connection:
        """Connect. Raises ConnectionResetError."""
        self.calls += 1
        if self.calls == 1:
            return self.first
        self.waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # as asyncio.wait_for of Python 3.11 can, when its work ends in that moment
            if self._then is None:
                raise ConnectionResetError from None
            return self._then
        raise AssertionError("nobody sets it")


@pytest.mark.parametrize("connects", [False, True], ids=["and fails", "and connects"])
async def test_closing_ends_a_reconnection_that_swallows_its_cancellation(
    monkeypatch: pytest.MonkeyPatch, connects: bool
) -> None:
    late = Connection()
    client = Client(late if connects else None)
    monkeypatch.setattr("aio_pika.connect", client.connect)
    link = Link("amqp://guest@127.0.0.1:5672/", "test")
    await link.open()
    client.first.lose()
    await asyncio.wait_for(client.waits.wait(), LIMIT_S)
    closing = asyncio.create_task(link.close())
    done, _ = await asyncio.wait({closing}, timeout=LIMIT_S)  # not cancelled: it would wait for what swallows that
    assert done
    with pytest.raises(BusUnavailable):
        await link.connection()
    assert client.calls == 2
    assert late.is_closed is connects
