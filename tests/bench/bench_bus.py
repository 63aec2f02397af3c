"""Our bus, typed and validated, beside raw aio-pika with the same guarantees, on a private RabbitMQ.

    python -m tests.bench.bench_bus [--messages 4000] [--rounds 3]

Publishing with 200 in flight, consuming with prefetch 50; quorum queue, persistent, confirmed, 1 KB. Prints one
line of JSON, then a table. Every figure is the best of the rounds, which the contenders take in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from uuid import uuid4

import aio_pika
import structlog

from shared.bus import Subscription
from shared.events import ImageGenerated
from shared.message import Message, encode
from shared.remote.bus import RabbitBus
from tests.servers.keeper import SOCKET_VARIABLE, Keeper, ask

IN_FLIGHT = 200
PREFETCH = 50
BYTES = 1024


def events(count: int) -> list[Message]:
    """Events of about 1 KB on the wire."""

    def one(prompt: str) -> Message:
        event = ImageGenerated(
            campaign_id=uuid4(), slot_id=uuid4(), attempt=1, image_id=uuid4(), key="images/x/original.png",
            sha256="0" * 64, width=512, height=512, media_type="image/png", prompt=prompt,
            provider="procedural", model="m", cost_usd=0.03, quality={"sharpness": 1.0},
        )  # fmt: skip
        return Message(event, source="generator")

    missing = BYTES - len(encode(one("")).body)
    return [one("p" * missing) for _ in range(count)]


async def in_flight(work: Iterator[Message], publish: Callable[[Message], Awaitable[object]]) -> None:
    """Publish everything, with so many waiting for their confirms at a time."""

    async def worker() -> None:
        for item in work:
            await publish(item)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


async def raw(url: str, messages: list[Message]) -> tuple[float, float]:
    """Messages a second, published and consumed, by aio-pika alone."""
    count = 0
    done = asyncio.Event()

    async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        nonlocal count
        await message.ack()
        count += 1
        if count == len(messages):
            done.set()

    async with await aio_pika.connect(url) as connection:
        publishing = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await publishing.declare_exchange("raw", "topic", durable=True)
        queue = await publishing.declare_queue("raw", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(exchange, "raw")
        body = b"x" * BYTES

        async def publish(_: Message) -> None:
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await exchange.publish(message, "raw", mandatory=True)

        started = time.perf_counter()
        await in_flight(iter(messages), publish)
        published = time.perf_counter() - started
        consuming = await connection.channel(publisher_confirms=False)
        await consuming.set_qos(PREFETCH)
        started = time.perf_counter()
        await (await consuming.get_queue("raw")).consume(handle)
        await done.wait()
        return len(messages) / published, len(messages) / (time.perf_counter() - started)


async def ours(url: str, messages: list[Message]) -> tuple[float, float]:
    """Messages a second, published and consumed, by our bus."""
    count = 0
    done = asyncio.Event()

    async def handle(message: Message) -> None:
        nonlocal count
        count += 1
        if count == len(messages):
            done.set()

    subscription = Subscription("bench", ImageGenerated, handle, prefetch=PREFETCH)
    bus = RabbitBus(url, connection_name="bench")
    await bus.start()
    await bus.subscribe(subscription)
    await bus.drain(0)  # the queue is there, and nobody takes from it
    started = time.perf_counter()
    await in_flight(iter(messages), bus.publish)
    published = time.perf_counter() - started
    await bus.close()
    bus = RabbitBus(url, connection_name="bench")
    await bus.start()
    started = time.perf_counter()
    await bus.subscribe(subscription)
    await done.wait()
    consumed = time.perf_counter() - started
    await bus.close()
    return len(messages) / published, len(messages) / consumed


async def measure(url: str, count: int, rounds: int) -> dict[str, float]:
    """Best figures of all rounds, and their ratios."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    messages = events(count)
    best = {"raw": (0.0, 0.0), "ours": (0.0, 0.0)}
    for _ in range(rounds):
        for name, contender in (("raw", raw), ("ours", ours)):
            published, consumed = await contender(url, messages)
            best[name] = (max(best[name][0], published), max(best[name][1], consumed))
    return {
        "raw_published_per_s": round(best["raw"][0]),
        "published_per_s": round(best["ours"][0]),
        "publishing_ratio": round(best["ours"][0] / best["raw"][0], 2),
        "raw_consumed_per_s": round(best["raw"][1]),
        "consumed_per_s": round(best["ours"][1]),
        "consuming_ratio": round(best["ours"][1] / best["raw"][1], 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    keeper = Keeper()
    os.environ[SOCKET_VARIABLE] = keeper.address
    try:
        figures = asyncio.run(measure(ask("rabbitmq")["url"], arguments.messages, arguments.rounds))
    finally:
        keeper.close()
    print(json.dumps(figures))
    print("              raw/s   ours/s  ratio")
    for what, name in (("publishing", "published"), ("consuming", "consumed")):
        raw_per_s, per_s = figures[f"raw_{name}_per_s"], figures[f"{name}_per_s"]
        print(f"{what:12} {raw_per_s:6.0f}   {per_s:6.0f}   {figures[f'{what}_ratio']:.2f}")


if __name__ == "__main__":
    main()
