"""What the bus declares on RabbitMQ, and what lies in its queues."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import ChannelPreconditionFailed

from shared.bus import RetryLater, Subscription, Undeliverable
from shared.errors import ConfigurationError
from shared.events import RebalanceRequested
from shared.message import Message
from shared.remote.bus import RabbitBus
from shared.remote.consumer import DIED_AT, ERROR, QUEUE, TRIES
from shared.remote.topology import DELIVERY_LIMIT
from tests.contract.support import QUEUE as NAME
from tests.contract.support import an_event, dead_letters, ignore, next_of, subscription
from tests.eventually import eventually

EXPECTED_QUEUES: dict[str, dict[str, Any]] = {
    NAME: {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{NAME}.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    },
    f"{NAME}.retry": {
        "x-queue-type": "quorum",
        "x-message-ttl": 3_600_000,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": NAME,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    },
    f"{NAME}.dead": {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000},
}


@pytest.mark.parametrize("name", EXPECTED_QUEUES)
async def test_a_consumer_has_three_quorum_queues(
    rabbit: RabbitBus, channel: aio_pika.abc.AbstractChannel, amqp_url: str, name: str
) -> None:
    """The broker tells arguments only by refusing others."""
    await rabbit.subscribe(subscription(ignore))
    arguments = EXPECTED_QUEUES[name]
    await channel.declare_queue(name, durable=True, arguments=arguments)
    for argument, other in (("x-queue-type", "classic"), ("x-dead-letter-routing-key", "elsewhere")):
        if argument in arguments:
            async with await aio_pika.connect(amqp_url) as connection, connection.channel() as another:
                with pytest.raises(ChannelPreconditionFailed):
                    await another.declare_queue(name, durable=True, arguments={**arguments, argument: other})


async def test_events_go_through_one_durable_topic_exchange(
    rabbit: RabbitBus, channel: aio_pika.abc.AbstractChannel
) -> None:
    await rabbit.subscribe(subscription(ignore))
    await channel.declare_exchange("evenskin", "topic", durable=True)


async def test_the_topology_may_be_declared_again_with_other_settings(rabbit: RabbitBus, amqp_url: str) -> None:
    await rabbit.subscribe(subscription(ignore))
    other = RabbitBus(amqp_url, connection_name="tests")
    await other.start()
    await other.subscribe(subscription(ignore, retry_delay_s=77.0, prefetch=1, max_tries=9))
    await other.close()


async def test_a_queue_with_other_arguments_is_a_matter_of_configuration(
    rabbit: RabbitBus, channel: aio_pika.abc.AbstractChannel
) -> None:
    await channel.declare_queue(f"{NAME}.retry", durable=True)
    with pytest.raises(ConfigurationError) as caught:
        await rabbit.subscribe(subscription(ignore))
    assert f"{NAME}.retry" in caught.value.message


async def test_messages_are_persistent_cloudevents(rabbit: RabbitBus, channel: aio_pika.abc.AbstractChannel) -> None:
    await rabbit.subscribe(Subscription("tests", RebalanceRequested, ignore))
    spy = await channel.declare_queue(exclusive=True)
    await spy.bind("evenskin", "#")
    sent = Message(RebalanceRequested(target_per_condition=3), source="tests")
    await rabbit.publish(sent)
    seen = await next_of(spy)
    assert (seen.delivery_mode, seen.routing_key) == (aio_pika.DeliveryMode.PERSISTENT, "RebalanceRequested")
    assert seen.content_type == "application/cloudevents+json"
    body = json.loads(seen.body)
    assert (body["id"], body["type"], body["specversion"]) == (sent.id, "RebalanceRequested", "1.0")
    assert body["data"]["target_per_condition"] == 3


async def test_a_retry_waits_in_the_retry_queue_and_comes_back(rabbit: RabbitBus) -> None:
    sent = an_event()
    seen_waiting = False
    came_back = asyncio.Event()

    async def fail_until_seen(message: Message) -> None:
        assert message == sent
        if not seen_waiting:
            raise RetryLater("once more", counted=False)
        came_back.set()

    async def waits() -> bool:
        return [await rabbit.depth(name) for name in (f"{NAME}.retry", NAME)] == [1, 0]

    await rabbit.subscribe(subscription(fail_until_seen, retry_delay_s=0.5))
    await rabbit.publish(sent)
    seen_waiting = await eventually(waits)
    await came_back.wait()


async def test_a_dead_letter_carries_its_error_in_headers(
    rabbit: RabbitBus, channel: aio_pika.abc.AbstractChannel
) -> None:
    async def refuse(message: Message) -> None:
        raise Undeliverable("never")

    await rabbit.subscribe(subscription(refuse))
    sent = an_event()
    await rabbit.publish(sent)
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


async def test_a_message_whose_consumer_always_dies_is_buried_by_the_broker(rabbit: RabbitBus, amqp_url: str) -> None:
    await rabbit.subscribe(subscription(ignore))
    await rabbit.drain(1.0)
    sent = an_event()
    await rabbit.publish(sent)
    async with await aio_pika.connect(amqp_url) as connection:
        for _ in range(DELIVERY_LIMIT + 1):
            async with connection.channel() as channel:  # closed with the message in hand, as by a crash
                await next_of(await channel.get_queue(NAME, ensure=False))
    (letter,) = await dead_letters(rabbit, 1)
    assert json.loads(letter.body)["id"] == sent.id
    assert "went away" in letter.error
    assert await rabbit.depth(NAME) == 0


async def test_dead_letters_may_be_read_far_more_often_than_a_message_may_be_delivered(rabbit: RabbitBus) -> None:
    async def refuse(message: Message) -> None:
        raise Undeliverable("never")

    await rabbit.subscribe(subscription(refuse))
    await rabbit.publish(an_event())
    await dead_letters(rabbit, 1)
    for _ in range(DELIVERY_LIMIT + 10):
        assert len(await rabbit.dead_letters(NAME)) == 1
