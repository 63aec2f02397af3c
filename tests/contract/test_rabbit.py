"""What only the bus on RabbitMQ has to show: its topology, and that a lost connection costs nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import aio_pika
import pytest

from shared.bus import RetryLater, Subscription, Undeliverable
from shared.errors import BusUnavailable, ConfigurationError
from shared.events import ImageAugmented, QuotaMet, RebalanceRequested
from shared.message import Message
from shared.remote import publisher
from shared.remote.bus import RabbitBus
from shared.remote.consumer import DIED_AT, ERROR, QUEUE, TRIES
from shared.remote.topology import DELIVERY_LIMIT
from tests.contract.support import eventually, never
from tests.servers.process import free_port
from tests.servers.proxy import Proxy, proxied
from tests.servers.rabbitmq import Management

NAME = "tests.ImageAugmented"


def an_event() -> Message:
    return Message(ImageAugmented(image_id=uuid4(), variants=()), source="tests")


def subscription(handler: Callable[[Message], Awaitable[None]], **changes: Any) -> Subscription:
    return Subscription("tests", ImageAugmented, handler, **{"retry_delay_s": 0.1, **changes})


async def next_of(queue: aio_pika.abc.AbstractQueue) -> aio_pika.abc.AbstractIncomingMessage:
    """The next message of a queue, once there is one."""
    for _ in range(1000):
        if (message := await queue.get(fail=False)) is not None:
            return message
        await asyncio.sleep(0.01)
    pytest.fail(f"No message in {queue.name} in time.")


async def ignore(message: Message) -> None:
    """Be done at once."""


@pytest.fixture
async def proxy(amqp_url: str) -> AsyncIterator[Proxy]:
    async with proxied(urlsplit(amqp_url).port or 5672) as proxy:
        yield proxy


@pytest.fixture
async def bus(amqp_url: str, proxy: Proxy) -> AsyncIterator[RabbitBus]:
    """A bus whose connections go through the proxy."""
    bus = RabbitBus(_through(amqp_url, proxy.port), connection_name="tests")
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """Somebody else's channel to the same virtual host."""
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        yield channel


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"{user}@127.0.0.1:{port}", parts.path, parts.query, ""))


# Topology


async def test_a_consumer_has_three_quorum_queues(bus: RabbitBus, amqp_url: str, rabbit_management: Management) -> None:
    await bus.subscribe(subscription(ignore))
    vhost = quote(urlsplit(amqp_url).path[1:], safe="")
    queues = {queue["name"]: queue for queue in rabbit_management.call("GET", f"queues/{vhost}")}
    assert set(queues) == {NAME, f"{NAME}.retry", f"{NAME}.dead"}
    assert all(queue["type"] == "quorum" and queue["durable"] for queue in queues.values())
    assert queues[NAME]["arguments"] == {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{NAME}.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    retry = queues[f"{NAME}.retry"]["arguments"]
    assert retry["x-dead-letter-routing-key"] == NAME
    assert (retry["x-dead-letter-strategy"], retry["x-overflow"]) == ("at-least-once", "reject-publish")
    (exchange,) = [
        found for found in rabbit_management.call("GET", f"exchanges/{vhost}") if found["name"] == "evenskin"
    ]
    assert (exchange["type"], exchange["durable"]) == ("topic", True)
    bindings = rabbit_management.call("GET", f"exchanges/{vhost}/evenskin/bindings/source")
    assert [(binding["destination"], binding["routing_key"]) for binding in bindings] == [(NAME, "ImageAugmented")]


async def test_the_topology_may_be_declared_again_with_other_settings(bus: RabbitBus, amqp_url: str) -> None:
    await bus.subscribe(subscription(ignore))
    other = RabbitBus(amqp_url, connection_name="tests")
    await other.start()
    await other.subscribe(subscription(ignore, retry_delay_s=77.0, prefetch=1, max_tries=9))
    await other.close()


async def test_a_queue_with_other_arguments_is_a_matter_of_configuration(
    bus: RabbitBus, channel: aio_pika.abc.AbstractChannel
) -> None:
    await channel.declare_queue(f"{NAME}.retry", durable=True)
    with pytest.raises(ConfigurationError) as caught:
        await bus.subscribe(subscription(ignore))
    assert f"{NAME}.retry" in caught.value.message


async def test_messages_are_persistent_cloudevents(bus: RabbitBus, channel: aio_pika.abc.AbstractChannel) -> None:
    await bus.subscribe(Subscription("tests", RebalanceRequested, ignore))
    spy = await channel.declare_queue(exclusive=True)
    await spy.bind("evenskin", "#")
    sent = Message(RebalanceRequested(target_per_condition=3), source="tests")
    await bus.publish(sent)
    seen = await next_of(spy)
    assert (seen.delivery_mode, seen.routing_key) == (aio_pika.DeliveryMode.PERSISTENT, "RebalanceRequested")
    assert seen.content_type == "application/cloudevents+json"
    body = json.loads(seen.body)
    assert (body["id"], body["type"], body["specversion"]) == (sent.id, "RebalanceRequested", "1.0")
    assert body["data"]["target_per_condition"] == 3


async def test_a_retry_waits_in_the_retry_queue_and_comes_back(bus: RabbitBus) -> None:
    seen: list[Message] = []

    async def fail_once(message: Message) -> None:
        seen.append(message)
        if len(seen) == 1:
            raise RetryLater("once more")

    await bus.subscribe(subscription(fail_once, retry_delay_s=1.0))
    await bus.publish(an_event())
    for _ in range(200):
        if await bus.depth(f"{NAME}.retry") == 1:
            break
        await asyncio.sleep(0.01)
    assert await bus.depth(f"{NAME}.retry") == 1
    assert await bus.depth(NAME) == 0
    await eventually(lambda: len(seen) == 2)
    assert seen[0] == seen[1]


async def test_a_dead_letter_carries_its_error_in_headers(
    bus: RabbitBus, channel: aio_pika.abc.AbstractChannel
) -> None:
    async def refuse(message: Message) -> None:
        raise Undeliverable("never")

    await bus.subscribe(subscription(refuse))
    sent = an_event()
    await bus.publish(sent)
    dead = await channel.get_queue(f"{NAME}.dead")
    letter = await next_of(dead)
    await letter.nack()
    assert {key: letter.headers[key] for key in (ERROR, TRIES, QUEUE)} == {
        ERROR: "Undeliverable: never",
        TRIES: 1,
        QUEUE: NAME,
    }
    assert DIED_AT in letter.headers
    assert json.loads(letter.body)["id"] == sent.id


async def test_a_message_whose_consumer_always_dies_is_buried_by_the_broker(bus: RabbitBus, amqp_url: str) -> None:
    await bus.subscribe(subscription(ignore))
    await bus.drain(1.0)
    sent = an_event()
    await bus.publish(sent)
    async with await aio_pika.connect(amqp_url) as connection:
        for _ in range(DELIVERY_LIMIT + 1):
            async with connection.channel() as channel:  # closed with the message in hand, as by a crash
                await next_of(await channel.get_queue(NAME, ensure=False))
    for _ in range(200):
        if letters := await bus.dead_letters(NAME):
            break
        await asyncio.sleep(0.02)
    (letter,) = letters
    assert json.loads(letter.body)["id"] == sent.id
    assert "went away" in letter.error
    assert await bus.depth(NAME) == 0


async def test_dead_letters_may_be_read_far_more_often_than_a_message_may_be_delivered(bus: RabbitBus) -> None:
    async def refuse(message: Message) -> None:
        raise Undeliverable("never")

    await bus.subscribe(subscription(refuse))
    await bus.publish(an_event())
    await eventually_dead(bus, 1)
    for _ in range(DELIVERY_LIMIT + 10):
        assert len(await bus.dead_letters(NAME)) == 1


async def eventually_dead(bus: RabbitBus, count: int) -> None:
    for _ in range(500):
        if len(await bus.dead_letters(NAME)) >= count:
            return
        await asyncio.sleep(0.02)
    pytest.fail("No dead letter in time.")


# Loss and return of the connection


async def test_wrong_credentials_are_told_at_once(amqp_url: str) -> None:
    parts = urlsplit(amqp_url)
    host = parts.netloc.rpartition("@")[2]
    for url in (
        f"amqp://nobody:secret-word@{host}{parts.path}",
        urlunsplit((parts.scheme, parts.netloc, "/no-such-vhost", "", "")),
    ):
        bus = RabbitBus(url, connection_name="tests")
        with pytest.raises(ConfigurationError) as caught:
            await asyncio.wait_for(bus.start(), 10)
        assert "secret-word" not in str(caught.value)
        await bus.close()


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://localhost", "amqp://", "redis://localhost:1", "amqp://h:port/"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        RabbitBus(url, connection_name="tests")


async def test_start_waits_for_the_broker(amqp_url: str, proxy: Proxy) -> None:
    proxy.is_shut = True
    bus = RabbitBus(_through(amqp_url, proxy.port), connection_name="tests")
    starting = asyncio.create_task(bus.start())
    await asyncio.sleep(0.4)
    assert not starting.done()
    proxy.is_shut = False
    await asyncio.wait_for(starting, 15)
    await bus.check()
    await bus.close()


async def test_start_can_be_given_up() -> None:
    bus = RabbitBus(f"amqp://guest:guest@127.0.0.1:{free_port()}/", connection_name="tests")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bus.start(), 0.3)
    await bus.close()


async def test_consumers_come_back_after_a_lost_connection(bus: RabbitBus, proxy: Proxy) -> None:
    heard: list[str] = []
    announced: list[str] = []

    async def hear(message: Message) -> None:
        heard.append(message.id)

    async def hear_too(message: Message) -> None:
        announced.append(message.id)

    await bus.subscribe(subscription(hear))
    await bus.subscribe(subscription(hear_too, every_replica=True))
    for _ in range(3):
        proxy.cut()
        sent = an_event()
        await bus.publish(sent)  # waits for the connection
        await eventually(partial(heard.__contains__, sent.id))
    await asyncio.sleep(0.5)  # until the announcements' queue is there again
    sent = an_event()
    await bus.publish(sent)
    await eventually(lambda: sent.id in announced)


async def test_publishing_survives_cuts_in_full_flow(bus: RabbitBus, proxy: Proxy) -> None:
    heard: set[str] = set()

    async def hear(message: Message) -> None:
        heard.add(message.id)

    await bus.subscribe(subscription(hear))
    sent = [an_event() for _ in range(200)]

    async def publish_all() -> None:
        slots = asyncio.Semaphore(20)

        async def publish(message: Message) -> None:
            async with slots:
                await bus.publish(message)

        await asyncio.gather(*(publish(message) for message in sent))

    publishing = asyncio.create_task(publish_all())
    for _ in range(3):
        await asyncio.sleep(0.05)
        proxy.cut()
    await publishing
    await eventually(lambda: heard == {message.id for message in sent})


async def test_work_outlives_its_channel_and_is_not_started_twice(bus: RabbitBus, proxy: Proxy) -> None:
    started: list[str] = []
    finished: list[str] = []
    release = asyncio.Event()

    async def work(message: Message) -> None:
        started.append(message.id)
        await release.wait()
        finished.append(message.id)

    await bus.subscribe(subscription(work))
    sent = an_event()
    await bus.publish(sent)
    await eventually(lambda: started)
    proxy.cut()
    await eventually(lambda: proxy.connections == 2)
    await never(lambda: len(started) > 1, for_s=1.0)  # delivered again meanwhile: it joins
    release.set()
    await eventually(lambda: finished == [sent.id])
    await asyncio.sleep(0.2)
    await bus.drain(1.0)
    assert started == [sent.id]
    assert await bus.depth(NAME) == 0  # acknowledged by its second delivery


async def test_work_that_ends_while_disconnected_comes_again(bus: RabbitBus, proxy: Proxy) -> None:
    started: list[str] = []
    release = asyncio.Event()

    async def work(message: Message) -> None:
        started.append(message.id)
        await release.wait()

    await bus.subscribe(subscription(work))
    sent = an_event()
    await bus.publish(sent)
    await eventually(lambda: started)
    proxy.is_shut = True
    proxy.cut()
    await asyncio.sleep(0.1)
    release.set()  # its acknowledgement cannot be sent
    await asyncio.sleep(0.1)
    proxy.is_shut = False
    await eventually(lambda: len(started) == 2)  # at least once: the handler is idempotent
    await asyncio.sleep(0.2)
    await bus.drain(1.0)
    assert await bus.depth(NAME) == 0


async def test_one_event_delivered_twice_at_once_is_worked_on_once(bus: RabbitBus) -> None:
    started: list[str] = []
    release = asyncio.Event()

    async def work(message: Message) -> None:
        started.append(message.id)
        await release.wait()

    await bus.subscribe(subscription(work))
    sent = an_event()
    await bus.publish(sent)
    await bus.publish(sent)
    await never(lambda: len(started) > 1)
    release.set()
    await asyncio.sleep(0.2)
    await bus.drain(1.0)
    assert started == [sent.id]
    assert await bus.depth(NAME) == 0


async def test_a_consumer_whose_queue_is_deleted_declares_it_again(
    bus: RabbitBus, channel: aio_pika.abc.AbstractChannel
) -> None:
    heard: list[str] = []

    async def hear(message: Message) -> None:
        heard.append(message.id)

    await bus.subscribe(subscription(hear))
    for name in (f"{NAME}.retry", f"{NAME}.dead", NAME):
        await channel.queue_delete(name)
    await asyncio.sleep(1.0)
    sent = an_event()
    await bus.publish(sent)
    await eventually(lambda: heard == [sent.id])
    assert await bus.depth(f"{NAME}.retry") == 0


async def test_a_failed_event_is_kept_while_its_retry_queue_is_gone(
    bus: RabbitBus, channel: aio_pika.abc.AbstractChannel
) -> None:
    seen: list[str] = []

    async def fail_twice(message: Message) -> None:
        seen.append(message.id)
        if len(seen) < 3:
            await channel.queue_delete(f"{NAME}.retry")
            raise RetryLater("once more")

    await bus.subscribe(subscription(fail_twice))
    await bus.publish(an_event())
    await eventually(lambda: len(seen) >= 3)
    assert len(set(seen)) == 1


async def test_a_broker_that_does_not_confirm_is_unavailable(
    bus: RabbitBus, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bus.subscribe(Subscription("tests", QuotaMet, ignore))
    await bus.subscribe(subscription(ignore))
    await bus.publish(an_event())
    monkeypatch.setattr(publisher, "PUBLISH_S", 0.5)
    proxy.hold()
    with pytest.raises(BusUnavailable):
        await bus.publish(an_event())
    proxy.release()
    await bus.publish(an_event())


async def test_a_publish_without_a_broker_is_unavailable(
    bus: RabbitBus, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bus.subscribe(subscription(ignore))
    monkeypatch.setattr(publisher, "PUBLISH_S", 0.5)
    proxy.is_shut = True
    proxy.cut()
    with pytest.raises(BusUnavailable):
        await bus.publish(an_event())
    with pytest.raises(BusUnavailable):
        await bus.check()
    proxy.is_shut = False
    await eventually(lambda: proxy.connections == 2)
    await bus.publish(an_event())
    await bus.check()


async def test_close_while_disconnected_ends_soon(amqp_url: str, proxy: Proxy) -> None:
    bus = RabbitBus(_through(amqp_url, proxy.port), connection_name="tests")
    await bus.start()
    await bus.subscribe(subscription(ignore))
    proxy.is_shut = True
    proxy.cut()
    await asyncio.sleep(0.1)
    await asyncio.wait_for(bus.close(), 5)
