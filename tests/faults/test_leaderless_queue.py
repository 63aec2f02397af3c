"""A quorum queue without a leader is told with its remedy, disturbs no other consumer, and is mended by the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.bus import Subscription
from shared.errors import BusUnavailable, QueueWithoutLeader
from shared.events import QuotaMet
from shared.logs import configure_logs
from shared.message import Message
from shared.remote import consumer
from shared.remote.bus import RabbitBus
from tests.contract.support import QUEUE, an_event, ignore, subscription
from tests.eventually import eventually
from tests.faults.connections import close_connections
from tests.faults.private_servers import private_broker
from tests.servers.rabbitmq import Management, RabbitServer


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RabbitServer]:
    """A broker whose queues may be broken."""
    with private_broker(tmp_path / "broker") as server:
        yield server


async def test_a_queue_without_a_leader_is_told_and_mended_by_deleting_it(
    broker: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "ANSWER_S", 5.0)
    configure_logs("tests", level="WARNING")
    heard: list[str] = []

    async def hear(message: Message) -> None:
        heard.append(message.id)

    bus = RabbitBus(broker.facts["url"], connection_name="tests")
    await bus.start()
    await bus.subscribe(subscription(hear))
    await bus.subscribe(Subscription("tests", QuotaMet, ignore))
    await bus.check()
    await asyncio.to_thread(_lose_leader, broker, QUEUE)
    await asyncio.to_thread(close_connections, Management(broker.facts["management"]), processes=1)

    async def problem() -> BusUnavailable | None:
        try:
            await bus.check()
        except BusUnavailable as error:
            return error
        return None

    async def is_told() -> bool:
        return isinstance(await problem(), QueueWithoutLeader)

    async def is_well() -> bool:
        return await problem() is None

    with capture_logs() as logs:
        await eventually(is_told)
        told = await problem()
        assert told is not None
        assert QUEUE in told.message
        assert f"rabbitmqctl delete_queue {QUEUE}" in told.advice
        await eventually(lambda: _tries_since_it_was_told(logs) >= 2)
        assert "consumer_lost" not in _events_since_it_was_told(logs)  # of the other queue
        await asyncio.to_thread(broker.control, "delete_queue", QUEUE)
        await eventually(is_well)
    sent = an_event()
    await bus.publish(sent)
    await eventually(lambda: heard == [sent.id])
    await bus.close()


def _events_since_it_was_told(logs: Sequence[MutableMapping[str, Any]]) -> list[str]:
    events = [entry["event"] for entry in logs]
    return events[events.index("queue_without_leader") + 1 :]


def _tries_since_it_was_told(logs: Sequence[MutableMapping[str, Any]]) -> int:
    return _events_since_it_was_told(logs).count("consumer_retried")


def _lose_leader(broker: RabbitServer, queue: str) -> None:
    """What is left of a queue's only member where its broker was killed before its log was on disk."""
    broker.control("eval", f"ra:force_delete_server(quorum_queues, {{'%2F_{queue}', node()}}).")
