"""A publish goes on over the loss of its channel, whatever the client leaves it waiting for."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import aio_pika
import pytest
from aio_pika.tools import CallbackCollection

from shared.remote.link import Link
from shared.remote.publisher import Publisher
from tests.eventually import eventually


class FakeChannel:
    """A channel that confirms or never does; its two exchanges are itself."""

    def __init__(self, *, confirms: bool) -> None:
        self.is_closed = False
        self.close_callbacks: CallbackCollection[FakeChannel, [BaseException | None]] = CallbackCollection(self)
        self.default_exchange = self
        self.published: list[str] = []
        self._confirms = confirms

    async def initialize(self) -> None:
        """Is open."""

    async def declare_exchange(self, name: str, kind: str, *, durable: bool) -> FakeChannel:
        return self

    async def publish(self, message: aio_pika.Message, routing_key: str, *, mandatory: bool) -> None:
        assert mandatory
        self.published.append(routing_key)
        if not self._confirms:
            await asyncio.Event().wait()


class FakeLink:
    """Its connection opens the channels it is given, one after another."""

    def __init__(self, *channels: FakeChannel) -> None:
        self.close_callbacks: CallbackCollection[FakeLink, [BaseException | None]] = CallbackCollection(self)
        self._channels = iter(channels)

    async def connection(self) -> FakeLink:
        return self

    def channel(self, **_: Any) -> FakeChannel:
        return next(self._channels)


@pytest.mark.parametrize("to_queue", [False, True])
async def test_what_is_never_confirmed_is_published_again_once_its_channel_is_gone(to_queue: bool) -> None:
    lost, found = FakeChannel(confirms=False), FakeChannel(confirms=True)
    publisher = Publisher(cast(Link, FakeLink(lost, found)))
    publish = publisher.send if to_queue else publisher.publish
    publishing = [asyncio.create_task(publish(aio_pika.Message(b""), "E")) for _ in range(3)]
    await eventually(lambda: len(lost.published) == 3)
    lost.is_closed = True
    await lost.close_callbacks(None)
    await asyncio.gather(*publishing)
    assert found.published == ["E"] * 3


async def test_a_publish_can_be_given_up() -> None:
    channel = FakeChannel(confirms=False)
    publishing = asyncio.create_task(Publisher(cast(Link, FakeLink(channel))).publish(aio_pika.Message(b""), "E"))
    await eventually(lambda: channel.published)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
