"""What a message is known by, where its sender gave it no id: however often it is delivered, it is one."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aio_pika
import pytest

from shared.bus import Bus, RetryLater, Subscription, Undeliverable
from shared.events import RebalanceRequested
from shared.message import Message
from shared.remote.bus import RabbitBus
from shared.remote.topology import DELIVERY_LIMIT
from tests.contract.support import BusSetup, Recorder, dead_letters, next_of, subscription
from tests.eventually import LIMIT_S, eventually
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import Management

Send = Callable[[], Awaitable[None]]

BARE = b'{"target_per_condition": 200}'
QUEUE = "tests.RebalanceRequested"
BINARY = {"ce-specversion": "1.0", "ce-type": "ImageAugmented", "ce-source": "/x"}  # without an id
AUGMENTED = json.dumps({"image_id": str(UUID(int=7)), "variants": []}).encode()


def for_operator(handler: Recorder, **changes: Any) -> Subscription:
    """A subscription to what an operator may send as bare JSON."""
    return Subscription("tests", RebalanceRequested, handler, retry_delay_s=0.1, max_tries=3, **changes)


async def test_a_message_id_is_the_senders_word(buses: BusSetup, bus: Bus) -> None:
    heard = Recorder()
    await bus.subscribe(for_operator(heard, prefetch=1))
    other_words = b'{"target_per_condition": 100}'
    for body, message_id in ((BARE, "1"), (BARE, "1"), (BARE, "2"), (other_words, "1")):
        await buses.send("RebalanceRequested", body, message_id=message_id)
    await heard.got(4)
    first, again, another, of_another_tool = heard.ids
    assert first == again
    assert len({first, another, of_another_tool}) == 3


async def test_what_is_sent_twice_on_purpose_stays_two(buses: BusSetup, bus: Bus) -> None:
    heard = Recorder(RetryLater("later"), RetryLater("later"))
    await bus.subscribe(for_operator(heard))
    for _ in range(2):
        await buses.send("RebalanceRequested", BARE)
    await heard.got(4)
    assert len(set(heard.ids)) == 2
    assert sorted(heard.ids[:2]) == sorted(heard.ids[2:])


async def test_it_is_the_same_after_a_retry_and_a_replay(buses: BusSetup, bus: Bus) -> None:
    for message_id in (None, "1"):
        heard = Recorder(RetryLater("later"), ValueError("no"), ValueError("no"), RetryLater("later"))
        await bus.subscribe(subscription(heard, service=f"tests-{message_id}"))
        queue = f"tests-{message_id}.ImageAugmented"
        await buses.send("ImageAugmented", AUGMENTED, headers=BINARY, message_id=message_id)
        await dead_letters(bus, 1, queue)
        assert await bus.replay(queue) == 1
        await heard.got(5)
        assert {(message.source, message.id) for message in heard.messages} == {("/x", heard.ids[0])}
        await bus.drain(LIMIT_S)
        bus = await buses.reopened()


async def test_the_same_words_given_up_twice_are_two_letters(buses: BusSetup, bus: Bus) -> None:
    heard = Recorder(*[Undeliverable("never")] * 4)
    await bus.subscribe(subscription(heard))
    for headers in (BINARY, BINARY, {**BINARY, "ce-id": "1"}, {**BINARY, "ce-id": "2"}):
        await buses.send("ImageAugmented", AUGMENTED, headers=headers)
    letters = await dead_letters(bus, 4)
    assert len({letter.id for letter in letters}) == 4
    assert await bus.replay() == 4
    await heard.got(8)
    assert sorted(heard.ids[:4]) == sorted(heard.ids[4:])


async def test_it_survives_a_restart_as_a_dead_letter(buses: BusSetup) -> None:
    bus = await buses.replica()
    failing = Recorder(Undeliverable("never"))
    await bus.subscribe(for_operator(failing))
    await buses.send("RebalanceRequested", BARE, message_id="1")
    await dead_letters(bus, 1, QUEUE)
    again = await buses.reopened()
    heard = Recorder()
    await again.subscribe(for_operator(heard))
    assert await again.replay(QUEUE) == 1
    await heard.got(1)
    assert heard.ids == failing.ids


@pytest.fixture
def bare(amqp_url: str, amqp_management: Management) -> Send:
    """Sends bare JSON without any property: the driver that the product uses gives every message an id."""
    vhost = urlsplit(amqp_url).path.removeprefix("/")
    message = {"routing_key": "RebalanceRequested", "properties": {}, "payload_encoding": "string"}

    async def send() -> None:
        path = f"exchanges/{vhost}/evenskin/publish"
        body = {**message, "payload": BARE.decode()}
        assert await asyncio.to_thread(amqp_management.call, "POST", path, body) == {"routed": True}

    return send


async def test_bare_requests_stay_one_each_over_retries_and_replays(rabbit: RabbitBus, bare: Send) -> None:
    heard = Recorder(*[ValueError("no")] * 6)
    await rabbit.subscribe(for_operator(heard))
    for _ in range(2):
        await bare()
    await dead_letters(rabbit, 2, QUEUE)
    assert await rabbit.replay(QUEUE) == 2
    await heard.got(8)
    assert sorted(Counter(heard.ids).values()) == [4, 4]


async def test_what_the_broker_delivers_again_is_known_by_what_it_says(
    rabbit: RabbitBus, proxy: Proxy, bare: Send
) -> None:
    heard: list[Message] = []
    finished: list[Message] = []
    release = asyncio.Event()

    async def work(message: Message) -> None:
        heard.append(message)
        if len(heard) == 1:
            await release.wait()
        finished.append(message)

    await rabbit.subscribe(Subscription("tests", RebalanceRequested, work))
    await bare()
    await eventually(lambda: heard)
    proxy.is_shut = True
    proxy.cut()
    await eventually(lambda: proxy.refused)
    release.set()  # its acknowledgement cannot be sent
    await eventually(lambda: finished)
    proxy.is_shut = False
    await eventually(lambda: len(heard) == 2)
    await bare()
    await eventually(lambda: len(heard) == 3)
    first, again, on_purpose = heard
    assert again.id == first.likeness
    assert len({first.id, again.id, on_purpose.id}) == 3


async def test_a_redelivery_joins_the_work_on_what_says_the_same(rabbit: RabbitBus, proxy: Proxy, bare: Send) -> None:
    heard: list[Message] = []
    release = asyncio.Event()

    async def work(message: Message) -> None:
        heard.append(message)
        await release.wait()

    await rabbit.subscribe(Subscription("tests", RebalanceRequested, work))
    await bare()
    await eventually(lambda: heard)
    proxy.cut()
    await bare()  # comes after the redelivery, once the consumer is back
    await eventually(lambda: len(heard) == 2)
    release.set()
    await rabbit.drain(LIMIT_S)
    assert len(heard) == 2
    assert await rabbit.depth(QUEUE) == 0


async def test_a_message_that_the_broker_buried_is_known_by_what_it_says(
    rabbit: RabbitBus, amqp_url: str, bare: Send
) -> None:
    heard = Recorder()
    await rabbit.subscribe(for_operator(Recorder()))
    await rabbit.drain(1.0)
    await bare()
    async with await aio_pika.connect(amqp_url) as connection:
        for _ in range(DELIVERY_LIMIT + 1):
            async with connection.channel() as channel:  # closed with the message in hand, as by a crash
                await next_of(await channel.get_queue(QUEUE, ensure=False))
    await dead_letters(rabbit, 1, QUEUE)
    await rabbit.subscribe(for_operator(heard))
    assert await rabbit.replay(QUEUE) == 1
    await heard.got(1)
    assert heard.messages[0].id == heard.messages[0].likeness
