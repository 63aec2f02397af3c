"""What every bus does, embedded or on RabbitMQ: deliver, share, retry, bury, replay, refuse."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared.bus import Bus, RetryLater, Subscription, Undeliverable
from shared.errors import BusUnavailable, StoreUnavailable, UnroutableEvent
from shared.events import ImageAugmented, ModelPromoted, RebalanceRequested
from shared.message import Message
from tests.contract.support import (
    QUEUE,
    Always,
    BusSetup,
    Recorder,
    an_event,
    dead_letters,
    never,
    nothing_comes_again,
    subscription,
)
from tests.eventually import LIMIT_S, eventually


async def test_a_published_event_is_handled_with_its_envelope(bus: Bus) -> None:
    heard = Recorder()
    await bus.subscribe(subscription(heard))
    sent = replace(an_event(), traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    await bus.publish(sent)
    await heard.got(1)
    assert heard.messages == [sent]


async def test_the_correlation_id_is_carried_on_by_what_an_event_causes(bus: Bus) -> None:
    heard = Recorder()

    async def cause(message: Message) -> None:
        await bus.publish(message.caused(RebalanceRequested(target_per_condition=1), source="tests"))

    await bus.subscribe(subscription(cause))
    await bus.subscribe(Subscription("tests", RebalanceRequested, heard))
    sent = an_event()
    await bus.publish(sent)
    await heard.got(1)
    assert heard.messages[0].correlation_id == sent.correlation_id
    assert heard.messages[0].id != sent.id


async def test_every_service_hears_an_event_that_several_take(bus: Bus) -> None:
    one, other = Recorder(), Recorder()
    await bus.subscribe(subscription(one))
    await bus.subscribe(subscription(other, service="others"))
    sent = an_event()
    await bus.publish(sent)
    await one.got(1)
    await other.got(1)
    assert one.ids == other.ids == [sent.id]


async def test_replicas_share_the_events_of_a_queue(buses: BusSetup) -> None:
    heard: list[tuple[int, str]] = []
    for number in range(2):
        replica = await buses.replica()

        async def handle(message: Message, number: int = number) -> None:
            heard.append((number, message.id))
            await asyncio.sleep(0.01)

        await replica.subscribe(subscription(handle, prefetch=1))
    sent = [an_event() for _ in range(20)]
    for message in sent:
        await replica.publish(message)
    await eventually(lambda: len(heard) >= 20)
    assert sorted(id for _, id in heard) == sorted(message.id for message in sent)
    assert {number for number, _ in heard} == {0, 1}


async def test_every_replica_hears_an_announcement(buses: BusSetup) -> None:
    replicas = [await buses.replica() for _ in range(2)]
    recorders = [Recorder(), Recorder()]
    for replica, heard in zip(replicas, recorders, strict=True):
        await replica.subscribe(subscription(heard, every_replica=True))
    sent = an_event()
    await replicas[0].publish(sent)
    for heard in recorders:
        await heard.got(1)
        assert heard.ids == [sent.id]


async def test_an_announcement_that_fails_is_neither_retried_nor_kept(bus: Bus) -> None:
    heard = Always(RuntimeError("no"))
    await bus.subscribe(subscription(heard, every_replica=True))
    await bus.publish(an_event())
    await heard.got(1)
    await never(lambda: len(heard.messages) > 1)
    assert await bus.dead_letters(QUEUE) == []


async def test_a_failed_event_comes_again_after_the_delay(bus: Bus) -> None:
    heard = Recorder(StoreUnavailable("down"), RetryLater("still down"))
    await bus.subscribe(subscription(heard))
    sent = an_event()
    started = asyncio.get_running_loop().time()
    await bus.publish(sent)
    await heard.got(3)
    assert asyncio.get_running_loop().time() - started >= 0.2
    assert heard.messages == [sent] * 3
    await nothing_comes_again(bus)
    assert heard.messages == [sent] * 3
    assert await bus.dead_letters(QUEUE) == []


async def test_waiting_for_something_that_is_down_uses_up_no_try(bus: Bus) -> None:
    heard = Recorder(*[RetryLater("down", counted=False)] * 5)
    await bus.subscribe(subscription(heard, max_tries=2, retry_delay_s=0.05))
    await bus.publish(an_event())
    await heard.got(6)
    assert await bus.dead_letters(QUEUE) == []


async def test_an_event_that_always_fails_ends_as_a_dead_letter(bus: Bus) -> None:
    heard = Always(ValueError("cannot be"))
    await bus.subscribe(subscription(heard))
    sent = an_event()
    await bus.publish(sent)
    (letter,) = await dead_letters(bus, 1)
    assert len(heard.messages) == 3
    assert (letter.queue, letter.event, letter.error) == (QUEUE, "ImageAugmented", "ValueError: cannot be")
    assert letter.tries == 3
    assert json.loads(letter.body)["id"] == sent.id
    await nothing_comes_again(bus)
    assert len(heard.messages) == 3


async def test_an_undeliverable_event_is_tried_once(bus: Bus) -> None:
    heard = Always(Undeliverable("never"))
    await bus.subscribe(subscription(heard))
    await bus.publish(an_event())
    (letter,) = await dead_letters(bus, 1)
    assert (len(heard.messages), letter.tries) == (1, 1)


STRUCTURED = "application/cloudevents+json"


def structured(type: str, data: object) -> bytes:
    return json.dumps({"specversion": "1.0", "type": type, "source": "/x", "id": "1", "data": data}).encode()


POISON: dict[str, tuple[bytes, str, dict[str, object]]] = {
    "empty": (b"", "", {}),
    "no text": (b"\xff\x00", "application/json", {}),
    "no JSON": (b"not JSON", STRUCTURED, {}),
    "nested too deeply": (b"[" * 100_000, STRUCTURED, {}),
    "huge": (b"x" * (1024 * 1024 + 1), STRUCTURED, {}),
    "bare but no operator's event": (b'{"image_id": 7}', "application/json", {}),
    "wrong schema": (structured("ImageAugmented", {"image_id": 7}), STRUCTURED, {}),
    "unknown type": (structured("Nothing", {}), STRUCTURED, {}),
    "another event": (structured("RebalanceRequested", {}), STRUCTURED, {}),
    "binary, wrong schema": (
        b"{}",
        "application/json",
        {"ce-type": "ImageAugmented", "ce-id": 1, "ce-x": bytearray(b"x")},
    ),
}


@pytest.mark.parametrize(("body", "content_type", "headers"), POISON.values(), ids=POISON.keys())
async def test_poison_is_buried_at_once_and_the_consumer_goes_on(
    buses: BusSetup, bus: Bus, body: bytes, content_type: str, headers: dict[str, object]
) -> None:
    heard = Recorder()
    await bus.subscribe(subscription(heard))
    await buses.send("ImageAugmented", body, content_type=content_type, headers=headers)
    await bus.publish(an_event())
    (letter,) = await dead_letters(bus, 1)
    assert letter.error.startswith("MalformedEvent: ")
    assert letter.body == body.decode(errors="replace")
    await heard.got(1)


async def test_an_operator_may_send_bare_json(buses: BusSetup, bus: Bus) -> None:
    heard = Recorder()
    await bus.subscribe(Subscription("tests", RebalanceRequested, heard))
    await buses.send("RebalanceRequested", b'{"target_per_condition": 200}')
    await heard.got(1)
    event = heard.messages[0].event
    assert isinstance(event, RebalanceRequested)
    assert (event.target_per_condition, heard.messages[0].source) == (200, "operator")


async def test_binary_mode_is_understood(buses: BusSetup, bus: Bus) -> None:
    heard = Recorder()
    await bus.subscribe(subscription(heard))
    headers = {
        "ce-specversion": "1.0",
        "ce-type": "ImageAugmented",
        "ce-source": "/elsewhere",
        "ce-id": 4711,  # clients send what type they like
        "ce-correlationid": "abc",
    }
    body = json.dumps({"image_id": str(UUID(int=7)), "variants": []}).encode()
    await buses.send("ImageAugmented", body, content_type="application/json", headers=headers)
    await heard.got(1)
    message = heard.messages[0]
    assert message.event == ImageAugmented(image_id=UUID(int=7), variants=())
    assert (message.id, message.source, message.correlation_id) == ("4711", "/elsewhere", "abc")


async def test_binary_mode_survives_a_retry(buses: BusSetup, bus: Bus) -> None:
    heard = Recorder(RetryLater("later"))
    await bus.subscribe(subscription(heard))
    headers = {"ce-specversion": "1.0", "ce-type": "ImageAugmented", "ce-source": "/x", "ce-id": "1"}
    body = json.dumps({"image_id": str(UUID(int=7)), "variants": []}).encode()
    await buses.send("ImageAugmented", body, content_type="application/json", headers=headers)
    await heard.got(2)
    assert heard.ids == ["1", "1"]


async def test_an_event_that_no_queue_takes_is_refused(bus: Bus) -> None:
    with pytest.raises(UnroutableEvent):
        await bus.publish(an_event())
    await bus.subscribe(Subscription("tests", RebalanceRequested, Recorder()))
    with pytest.raises(UnroutableEvent):
        await bus.publish(an_event())


async def test_an_announcement_may_go_unheard(bus: Bus) -> None:
    event = ModelPromoted(version="1", key="k", sha256="s", promoted_at=datetime.now(UTC), reason="test")
    await bus.publish(Message(event, source="tests"))


async def test_prefetch_bounds_what_is_in_hand(bus: Bus) -> None:
    at_work = most = done = 0
    release = asyncio.Event()

    async def handle(message: Message) -> None:
        nonlocal at_work, most, done
        at_work += 1
        most = max(most, at_work)
        await release.wait()
        at_work -= 1
        done += 1

    await bus.subscribe(subscription(handle, prefetch=3))
    for _ in range(8):
        await bus.publish(an_event())
    await eventually(lambda: at_work == 3)
    await never(lambda: at_work > 3, for_s=0.1)
    assert await bus.depth(QUEUE) == 5
    release.set()
    await eventually(lambda: done == 8)
    assert most <= 3
    assert await bus.depth(QUEUE) == 0


async def test_the_depth_of_an_unknown_queue_is_nothing(bus: Bus) -> None:
    assert await bus.depth("tests.Nothing") == 0
    assert await bus.dead_letters("tests.Nothing") == []
    assert await bus.replay("tests.Nothing") == 0


async def test_the_event_of_a_cancelled_handler_comes_again(bus: Bus) -> None:
    seen: list[str] = []

    async def handle(message: Message) -> None:
        seen.append(message.id)
        if len(seen) == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)

    await bus.subscribe(subscription(handle))
    sent = an_event()
    await bus.publish(sent)
    await eventually(lambda: len(seen) == 2)
    assert seen == [sent.id] * 2
    assert await bus.dead_letters(QUEUE) == []


async def test_drain_lets_handlers_finish(bus: Bus) -> None:
    done: list[str] = []
    started = asyncio.Event()

    async def handle(message: Message) -> None:
        started.set()
        await asyncio.sleep(0.2)
        done.append(message.id)

    await bus.subscribe(subscription(handle, prefetch=1))
    first, second = an_event(), an_event()
    await bus.publish(first)
    await bus.publish(second)
    await started.wait()
    await bus.drain(LIMIT_S)
    assert done == [first.id]
    assert await bus.depth(QUEUE) == 1


async def test_what_a_drain_cuts_short_comes_again(buses: BusSetup) -> None:
    bus = await buses.replica()
    started = asyncio.Event()

    async def stuck(message: Message) -> None:
        started.set()
        await asyncio.Event().wait()

    await bus.subscribe(subscription(stuck))
    sent = an_event()
    await bus.publish(sent)
    await started.wait()
    await bus.drain(0.05)
    heard = Recorder()
    other = await buses.replica()
    await other.subscribe(subscription(heard))
    await heard.got(1)
    assert heard.messages == [sent]


async def test_a_retry_that_a_drain_interrupts_is_not_lost(buses: BusSetup) -> None:
    bus = await buses.replica()
    failing = Always(RetryLater("later"))
    await bus.subscribe(subscription(failing, retry_delay_s=0.5))
    await bus.publish(an_event())
    await failing.got(1)
    await bus.drain(1.0)
    heard = Recorder()
    other = await buses.replica()
    await other.subscribe(subscription(heard))
    await heard.got(1)
    assert heard.ids == failing.ids


async def test_a_replayed_dead_letter_has_all_its_tries_again(bus: Bus) -> None:
    heard = Recorder(ValueError("1"), ValueError("2"), ValueError("3"), ValueError("4"), ValueError("5"))
    await bus.subscribe(subscription(heard))
    sent = an_event()
    await bus.publish(sent)
    await dead_letters(bus, 1)
    assert await bus.replay(QUEUE) == 1
    await heard.got(6)
    assert heard.messages == [sent] * 6
    assert await bus.dead_letters(QUEUE) == []
    assert await bus.replay(QUEUE) == 0


async def test_dead_letters_stay_when_read_and_survive_the_process(buses: BusSetup) -> None:
    bus = await buses.replica()
    failing = Always(Undeliverable("never"))
    await bus.subscribe(subscription(failing))
    for number in range(3):
        await bus.publish(an_event())
        await dead_letters(bus, number + 1)
    letters = await dead_letters(bus, 3)
    assert [json.loads(letter.body)["id"] for letter in letters] == failing.ids
    again = await buses.reopened()
    assert await dead_letters(again, 3) == letters
    heard = Recorder()
    await again.subscribe(subscription(heard))
    assert await dead_letters(again, 3, queue=None) == letters
    assert await again.replay() == 3
    await heard.got(3)
    assert sorted(heard.ids) == sorted(failing.ids)
    assert await again.dead_letters() == []


async def test_a_bus_that_is_not_open_says_so(buses: BusSetup) -> None:
    unopened = await buses.unopened()
    for refused in (unopened.publish(an_event()), unopened.check()):
        with pytest.raises(BusUnavailable):
            await refused
    bus = await buses.replica()
    await bus.check()
    await bus.close()
    for refused in (bus.publish(an_event()), bus.check()):
        with pytest.raises(BusUnavailable):
            await refused


async def test_many_events_at_once_all_arrive(bus: Bus) -> None:
    heard = Recorder()
    await bus.subscribe(subscription(heard))
    sent = [an_event() for _ in range(300)]
    await asyncio.gather(*(bus.publish(message) for message in sent))
    await heard.got(300)
    assert sorted(heard.ids) == sorted(message.id for message in sent)
