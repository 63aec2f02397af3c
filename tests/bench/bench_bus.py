"""Our bus, typed and validated, beside raw aio-pika with the same guarantees, on a private RabbitMQ.

    python -m tests.bench.bench_bus [--messages 1500] [--rounds 9]

Publishing with 200 in flight, consuming with prefetch 50; quorum queue, persistent, confirmed, 1 KB. Prints one
line of JSON, then a table. The contenders take short turns, the order changing from round to round, so that a busy
machine troubles both alike; every figure is the median of the rounds, a ratio the median of the rounds' ratios.
CPU is this process's alone, without the broker's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
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
WARM_UP = 500  # messages before the first round: connections open, the broker's tables and our caches fill


@dataclass(frozen=True)
class Pace:
    """Messages a second, and CPU of this process for each, in microseconds."""

    per_s: float
    cpu_us: float


class Clock:
    """Wall and CPU time from a number of messages to another."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def pace(self, messages: int) -> Pace:
        """The pace since the start."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Pace(messages / wall, cpu / messages * 1e6)


class Countdown:
    """Measures from the first message handled to the last: what it takes to subscribe is not part of it."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._handled = 0
        self._clock: Clock | None = None
        self._pace: asyncio.Future[Pace] = asyncio.get_running_loop().create_future()

    def handled(self) -> None:
        """One more."""
        self._handled += 1
        if self._clock is None:
            self._clock = Clock()
        if self._handled == self._messages:
            self._pace.set_result(self._clock.pace(self._messages - 1))

    async def pace(self) -> Pace:
        """The pace, once all are handled."""
        return await self._pace


class Contender(Protocol):
    """Publishes and consumes."""

    async def publish(self, message: Message) -> None:
        """Return once confirmed."""
        ...

    async def consume(self, messages: int) -> Pace:
        """Handle so many, which wait already."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class Raw:
    """aio-pika alone."""

    def __init__(self, connection: aio_pika.abc.AbstractConnection, exchange: aio_pika.abc.AbstractExchange) -> None:
        self._connection = connection
        self._exchange = exchange
        self._body = b"x" * BYTES

    @classmethod
    async def open(cls, url: str) -> Raw:
        connection = await aio_pika.connect(url)
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.declare_exchange("raw", "topic", durable=True)
        queue = await channel.declare_queue("raw", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(exchange, "raw")
        return cls(connection, exchange)

    async def publish(self, message: Message) -> None:
        raw = aio_pika.Message(self._body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._exchange.publish(raw, "raw", mandatory=True)

    async def consume(self, messages: int) -> Pace:
        countdown = Countdown(messages)

        async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            await message.ack()
            countdown.handled()

        async with await self._connection.channel(publisher_confirms=False) as channel:
            await channel.set_qos(PREFETCH)
            await (await channel.get_queue("raw")).consume(handle)
            return await countdown.pace()

    async def close(self) -> None:
        await self._connection.close()


class Ours:
    """`RabbitBus`."""

    def __init__(self, url: str, bus: RabbitBus) -> None:
        self._url = url
        self._bus = bus

    @classmethod
    async def open(cls, url: str) -> Ours:
        bus = RabbitBus(url, connection_name="bench")
        await bus.start()

        async def nothing(_: Message) -> None:
            """The queue is to be there; nobody takes from it yet."""

        await bus.subscribe(Subscription("bench", ImageGenerated, nothing, prefetch=PREFETCH))
        await bus.drain(0)
        return cls(url, bus)

    async def publish(self, message: Message) -> None:
        await self._bus.publish(message)

    async def consume(self, messages: int) -> Pace:
        countdown = Countdown(messages)

        async def handle(_: Message) -> None:
            countdown.handled()

        bus = RabbitBus(self._url, connection_name="bench")
        await bus.start()
        await bus.subscribe(Subscription("bench", ImageGenerated, handle, prefetch=PREFETCH))
        pace = await countdown.pace()
        await bus.drain(5.0)
        await bus.close()
        return pace

    async def close(self) -> None:
        await self._bus.close()


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


async def in_flight(work: Iterator[Message], publish: Callable[[Message], Awaitable[None]]) -> None:
    """Publish everything, with so many waiting for their confirms at a time."""

    async def worker() -> None:
        for item in work:
            await publish(item)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


async def one_round(contender: Contender, messages: list[Message]) -> tuple[Pace, Pace]:
    """Publish all, then consume all."""
    clock = Clock()
    await in_flight(iter(messages), contender.publish)
    published = clock.pace(len(messages))
    return published, await contender.consume(len(messages))


async def measure(url: str, count: int, rounds: int) -> dict[str, dict[str, float]]:
    """{publishing, consuming: {figure}}."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    messages = events(count)
    raw, ours = await Raw.open(url), await Ours.open(url)
    paces: dict[Contender, list[tuple[Pace, Pace]]] = {raw: [], ours: []}
    for contender in (raw, ours):
        await one_round(contender, messages[:WARM_UP])
    for number in range(rounds):
        for contender in (raw, ours) if number % 2 else (ours, raw):
            paces[contender].append(await one_round(contender, messages))
    await raw.close()
    await ours.close()
    return {
        what: _compared([pair[part] for pair in paces[raw]], [pair[part] for pair in paces[ours]])
        for part, what in enumerate(("publishing", "consuming"))
    }


def _compared(raw: list[Pace], ours: list[Pace]) -> dict[str, float]:
    ratios = [mine.per_s / theirs.per_s for mine, theirs in zip(ours, raw, strict=True)]
    raw_cpu, cpu = (statistics.median(pace.cpu_us for pace in paces) for paces in (raw, ours))
    return {
        "raw_per_s": round(statistics.median(pace.per_s for pace in raw)),
        "per_s": round(statistics.median(pace.per_s for pace in ours)),
        "ratio": round(statistics.median(ratios), 2),
        "worst_ratio": round(min(ratios), 2),
        "best_ratio": round(max(ratios), 2),
        "raw_cpu_us": round(raw_cpu),
        "cpu_us": round(cpu),
        "cpu_ratio": round(raw_cpu / cpu, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1500, help="of one round")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    keeper = Keeper()
    os.environ[SOCKET_VARIABLE] = keeper.address
    try:
        figures = asyncio.run(measure(ask("rabbitmq")["url"], arguments.messages, arguments.rounds))
    finally:
        keeper.close()
    print(json.dumps({"benchmark": "bus", **figures}))
    print(f"{'':12} {'raw/s':>8} {'ours/s':>8} {'ratio':>6}  {'(rounds)':11} {'raw CPU':>8} {'ours':>7} {'ratio':>6}")
    for what, row in figures.items():
        rounds = f"{row['worst_ratio']:.2f}–{row['best_ratio']:.2f}"
        print(
            f"{what:12} {row['raw_per_s']:8.0f} {row['per_s']:8.0f} {row['ratio']:6.2f}  {rounds:11}"
            f" {row['raw_cpu_us']:5.0f} µs {row['cpu_us']:4.0f} µs {row['cpu_ratio']:6.2f}"
        )


if __name__ == "__main__":
    main()
