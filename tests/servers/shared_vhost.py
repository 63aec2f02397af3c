"""A virtual host of a given RabbitMQ, which we may not create: one test at a time uses it."""

from __future__ import annotations

import asyncio
import fcntl
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import aio_pika

from shared.events import EVENTS
from shared.remote.topology import EXCHANGE, dead_name, retry_name
from shared.schemas import known_queues


@contextmanager
def exclusive_vhost(url: str) -> Iterator[None]:
    """Hold the virtual host, with our queues gone from it, for as long as the block runs."""
    with (Path(tempfile.gettempdir()) / "evenskin-test-vhost.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as thread:  # this one may be running a loop already
            thread.submit(asyncio.run, _forget(url)).result()
        yield


async def _forget(url: str) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for queue in [f"{service}.{event}" for service in ("tests", "others") for event in EVENTS] + known_queues():
            for name in (queue, retry_name(queue), dead_name(queue)):
                await channel.queue_delete(name)
        await channel.exchange_delete(EXCHANGE)
