"""A lost connection to RabbitMQ costs nothing, a wrong one is told."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import pytest
from structlog.testing import capture_logs

from shared.bus import RetryLater, Subscription
from shared.errors import BusUnavailable, ConfigurationError, UnroutableEvent
from shared.events import QuotaMet
from shared.message import Message
from shared.remote import publisher
from shared.remote.bus import RabbitBus
from tests.contract.support import QUEUE as NAME
from tests.contract.support import an_event, ignore, subscription, through
from tests.eventually import LIMIT_S, eventually
from tests.servers.process import free_port
from tests.servers.proxy import Proxy


async def test_wrong_credentials_are_told_at_once(amqp_url: str) -> None:
    parts = urlsplit(amqp_url)
    host = parts.netloc.rpartition("@")[2]
    for url in (
        f"amqp://nobody:secret-word@{host}{parts.path}",
        urlunsplit((parts.scheme, parts.netloc, "/no-such-vhost", "", "")),
    ):
        bus = RabbitBus(url, connection_name="tests")
        with pytest.raises(ConfigurationError) as caught:
            await asyncio.wait_for(bus.start(), LIMIT_S)
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
    bus = RabbitBus(through(amqp_url, proxy.port), connection_name="tests")
    starting = asyncio.create_task(bus.start())
    await eventually(lambda: proxy.refused >= 2)
    assert not starting.done()
    proxy.is_shut = False
    await asyncio.wait_for(starting, LIMIT_S)
    await bus.check()
    await bus.close()


async def test_start_can_be_given_up() -> None:
    bus = RabbitBus(f"amqp://guest:guest@127.0.0.1:{free_port()}/", connection_name="tests")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bus.start(), 0.3)
    await bus.close()


async def test_consumers_come_back_after_a_lost_connection(rabbit: RabbitBus, proxy: Proxy) -> None:
    heard: list[str] = []
    announced: list[str] = []

    async def hear(message: Message) -> None:
        heard.append(message.id)

    async def hear_too(message: Message) -> None:
        announced.append(message.id)

    await rabbit.subscribe(subscription(hear))
    await rabbit.subscribe(subscription(hear_too, every_replica=True))
    for _ in range(3):
        proxy.cut()
        sent = an_event()
        await rabbit.publish(sent)  # waits for the connection
        await eventually(partial(heard.__contains__, sent.id))
    later: set[str] = set()

    async def heard_too() -> bool:
        """Those of before its queue is there again are lost, as they may be."""
        sent = an_event()
        later.add(sent.id)
        await rabbit.publish(sent)
        return not later.isdisjoint(announced)

    await eventually(heard_too, every_s=0.05)


async def test_publishing_survives_cuts_in_full_flow(rabbit: RabbitBus, proxy: Proxy) -> None:
    heard: set[str] = set()

    async def hear(message: Message) -> None:
        heard.add(message.id)

    await rabbit.subscribe(subscription(hear))
    sent = [an_event() for _ in range(200)]

    async def publish_all() -> None:
        slots = asyncio.Semaphore(20)

        async def publish(message: Message) -> None:
            async with slots:
                await rabbit.publish(message)

        await asyncio.gather(*(publish(message) for message in sent))

    publishing = asyncio.create_task(publish_all())
    for _ in range(3):
        await asyncio.sleep(0.05)
        proxy.cut()
    await publishing
    await eventually(lambda: heard == {message.id for message in sent})


async def test_a_cut_right_behind_the_confirms_holds_up_no_publish(
    rabbit: RabbitBus, proxy: Proxy, channel: aio_pika.abc.AbstractChannel
) -> None:
    """Whoever these confirms let on publishes to a connection whose loss is not known everywhere yet."""
    await rabbit.subscribe(subscription(ignore))
    await rabbit.drain(LIMIT_S)
    await rabbit.publish(an_event())
    slots = asyncio.Semaphore(20)

    async def publish() -> None:
        async with slots:
            await rabbit.publish(an_event())

    async def all_taken() -> bool:
        return (await channel.declare_queue(NAME, passive=True)).declaration_result.message_count == 21

    proxy.hold_answers()
    publishing = asyncio.gather(*(publish() for _ in range(60)))
    await eventually(all_taken)
    await asyncio.sleep(0.1)  # until the broker has confirmed
    proxy.cut_after_answers()
    await publishing
    assert await rabbit.depth(NAME) >= 61


@pytest.mark.parametrize("turns", range(8))
async def test_work_that_ends_at_the_moment_of_a_cut_holds_up_no_consumer(
    rabbit: RabbitBus, proxy: Proxy, turns: int
) -> None:
    """Acknowledgements of a connection whose loss becomes known, turn by turn of the event loop."""
    started: list[str] = []
    release = asyncio.Event()

    async def work(message: Message) -> None:
        started.append(message.id)
        if len(started) <= 40 and len(started) % 2:  # the others are acknowledged one by one, not all together
            await asyncio.sleep(0.5)
        else:
            await release.wait()

    await rabbit.subscribe(subscription(work, prefetch=50))
    await asyncio.gather(*(rabbit.publish(an_event()) for _ in range(40)))
    await eventually(lambda: len(started) == 40)
    proxy.cut()
    for _ in range(turns):
        await asyncio.sleep(0)
    release.set()
    sent = an_event()
    await rabbit.publish(sent)
    await eventually(lambda: sent.id in started)
    await rabbit.drain(5.0)
    assert await rabbit.depth(NAME) == 0  # all are acknowledged, by their second delivery where the first was lost


async def test_work_outlives_its_channel_and_is_not_started_twice(rabbit: RabbitBus, proxy: Proxy) -> None:
    started: list[str] = []
    finished: list[str] = []
    release = asyncio.Event()

    async def work(message: Message) -> None:
        started.append(message.id)
        await release.wait()
        finished.append(message.id)

    await rabbit.subscribe(subscription(work))
    sent = an_event()
    await rabbit.publish(sent)
    await eventually(lambda: started)
    with capture_logs() as logs:
        proxy.cut()
        await eventually(lambda: "delivery_joined" in [entry["event"] for entry in logs])
    release.set()
    await eventually(lambda: finished == [sent.id])
    await rabbit.drain(LIMIT_S)
    assert started == [sent.id]
    assert await rabbit.depth(NAME) == 0  # acknowledged by its second delivery


async def test_a_delivery_that_joins_work_at_its_last_moment_is_acknowledged_too(rabbit: RabbitBus) -> None:
    seen: set[str] = set()

    async def work(message: Message) -> None:
        await asyncio.sleep(0)
        seen.add(message.id)

    await rabbit.subscribe(subscription(work))
    sent = [an_event() for _ in range(50)]
    for _ in range(20):  # each many times over, so that copies come at every moment of the work
        await asyncio.gather(*(rabbit.publish(message) for message in sent for _ in range(4)))
    await rabbit.publish(last := an_event())
    await eventually(lambda: last.id in seen)  # and so was delivered all that was published before
    await rabbit.drain(LIMIT_S)  # whatever is in hand still returns to the queue
    assert await rabbit.depth(NAME) == 0


async def test_work_that_ends_while_disconnected_comes_again(rabbit: RabbitBus, proxy: Proxy) -> None:
    started: list[str] = []
    finished: list[str] = []
    release = asyncio.Event()

    async def work(message: Message) -> None:
        started.append(message.id)
        await release.wait()
        finished.append(message.id)

    await rabbit.subscribe(subscription(work))
    sent = an_event()
    await rabbit.publish(sent)
    await eventually(lambda: started)
    proxy.is_shut = True
    proxy.cut()
    await eventually(lambda: proxy.refused)  # it is known: somebody tries to connect again
    release.set()  # its acknowledgement cannot be sent
    await eventually(lambda: finished)
    proxy.is_shut = False
    await eventually(lambda: len(started) == 2)  # at least once: the handler is idempotent
    await rabbit.drain(LIMIT_S)
    assert await rabbit.depth(NAME) == 0


async def test_one_event_delivered_twice_at_once_is_worked_on_once(rabbit: RabbitBus) -> None:
    started: list[str] = []
    release = asyncio.Event()

    async def work(message: Message) -> None:
        started.append(message.id)
        await release.wait()

    await rabbit.subscribe(subscription(work))
    sent = an_event()
    with capture_logs() as logs:
        await rabbit.publish(sent)
        await rabbit.publish(sent)
        await eventually(lambda: "delivery_joined" in [entry["event"] for entry in logs])
    release.set()
    await rabbit.drain(LIMIT_S)
    assert started == [sent.id]
    assert await rabbit.depth(NAME) == 0


async def test_a_copy_that_comes_back_before_its_original_is_settled_is_not_lost(
    rabbit: RabbitBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    came_back = asyncio.Event()
    send = rabbit._publisher.send

    async def send_slowly(message: aio_pika.Message, queue: str) -> None:
        await send(message, queue)
        await came_back.wait()

    async def fail_first(message: Message) -> None:
        heard.append(message.id)
        if len(heard) == 1:
            raise RetryLater("once more", counted=False)
        came_back.set()

    monkeypatch.setattr(rabbit._publisher, "send", send_slowly)
    await rabbit.subscribe(subscription(fail_first, retry_delay_s=0.01))
    sent = an_event()
    await rabbit.publish(sent)
    await eventually(lambda: heard == [sent.id] * 2)
    await rabbit.drain(LIMIT_S)
    assert await rabbit.depth(NAME) == 0


async def test_a_consumer_whose_queue_is_deleted_declares_it_again(
    rabbit: RabbitBus, channel: aio_pika.abc.AbstractChannel
) -> None:
    heard: list[str] = []

    async def hear(message: Message) -> None:
        heard.append(message.id)

    await rabbit.subscribe(subscription(hear))
    for name in (f"{NAME}.retry", f"{NAME}.dead", NAME):
        await channel.queue_delete(name)
    sent = an_event()

    async def taken() -> bool:
        with contextlib.suppress(UnroutableEvent):
            await rabbit.publish(sent)
            return True
        return False

    await eventually(taken, every_s=0.05)
    await eventually(lambda: heard == [sent.id])
    assert await rabbit.depth(f"{NAME}.retry") == 0


async def test_a_failed_event_is_kept_while_its_retry_queue_is_gone(
    rabbit: RabbitBus, channel: aio_pika.abc.AbstractChannel
) -> None:
    seen: list[str] = []

    async def fail_twice(message: Message) -> None:
        seen.append(message.id)
        if len(seen) < 3:
            await channel.queue_delete(f"{NAME}.retry")
            raise RetryLater("once more")

    await rabbit.subscribe(subscription(fail_twice))
    await rabbit.publish(an_event())
    await eventually(lambda: len(seen) >= 3)
    assert len(set(seen)) == 1


async def test_a_broker_that_does_not_confirm_is_unavailable(
    rabbit: RabbitBus, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rabbit.subscribe(Subscription("tests", QuotaMet, ignore))
    await rabbit.subscribe(subscription(ignore))
    await rabbit.publish(an_event())
    proxy.hold()
    with monkeypatch.context() as impatient:
        impatient.setattr(publisher, "PUBLISH_S", 0.5)
        with pytest.raises(BusUnavailable):
            await rabbit.publish(an_event())
    proxy.release()
    await rabbit.publish(an_event())


async def test_a_publish_without_a_broker_is_unavailable(
    rabbit: RabbitBus, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rabbit.subscribe(subscription(ignore))
    proxy.is_shut = True
    proxy.cut()
    with monkeypatch.context() as impatient:
        impatient.setattr(publisher, "PUBLISH_S", 0.5)
        with pytest.raises(BusUnavailable):
            await rabbit.publish(an_event())
    with pytest.raises(BusUnavailable):
        await rabbit.check()
    proxy.is_shut = False
    await rabbit.publish(an_event())
    await rabbit.check()


@pytest.fixture
def _endless_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for one of these waits too long."""
    for limit in ("publisher.PUBLISH_S", "bus.PUBLISH_S", "link.CONNECT_S"):
        monkeypatch.setattr(f"shared.remote.{limit}", 2 * LIMIT_S)


@pytest.mark.usefixtures("_endless_limits")
async def test_close_while_disconnected_waits_for_nothing(amqp_url: str, proxy: Proxy) -> None:
    bus = RabbitBus(through(amqp_url, proxy.port), connection_name="tests")
    await bus.start()
    await bus.subscribe(subscription(ignore))
    proxy.is_shut = True
    proxy.cut()
    await eventually(lambda: proxy.refused)
    await asyncio.wait_for(bus.close(), LIMIT_S)


@pytest.mark.usefixtures("_endless_limits")
async def test_a_subscription_that_waits_for_the_broker_ends_with_the_bus(amqp_url: str, proxy: Proxy) -> None:
    bus = RabbitBus(through(amqp_url, proxy.port), connection_name="tests")
    await bus.start()
    proxy.is_shut = True
    proxy.cut()
    await eventually(lambda: proxy.refused)
    subscribing = asyncio.create_task(bus.subscribe(subscription(ignore)))
    await eventually(lambda: proxy.refused >= 3)
    await asyncio.wait_for(bus.close(), LIMIT_S)
    with pytest.raises(BusUnavailable):
        await asyncio.wait_for(subscribing, LIMIT_S)
