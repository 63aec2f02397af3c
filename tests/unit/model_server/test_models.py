"""The holder: what it serves at start, when it swaps, what it does when a swap fails."""

from __future__ import annotations

import asyncio
import math
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.model_server.handlers import HANDLERS
from services.model_server.metrics import ServerMetrics
from services.model_server.models import ModelHolder
from services.model_server.predictor import Predictor
from shared.blobs import Blob
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import NoModel, StoreUnavailable
from shared.events import ModelPromoted
from shared.message import Message
from shared.metrics import MetricRegistry
from shared.model_card import LIVE_KEY, LiveModel, card_key, model_key
from shared.tracing import add_ids, new_traceparent, trace_id
from tests.eventually import eventually
from tests.unit.model_server.tiny_model import live_model, put_model, tiny_model

EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
LATER = EARLIER + timedelta(hours=1)


class FlakyBlobs(DirectoryBlobs):
    """A store that is down until `up` is set."""

    up = False

    async def get(self, key: str) -> Blob:
        if not self.up:
            raise StoreUnavailable("The store is down.")
        return await super().get(key)


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "store")


@pytest.fixture
def registry() -> MetricRegistry:
    return MetricRegistry()


@pytest.fixture
def holder(blobs: DirectoryBlobs, registry: MetricRegistry) -> ModelHolder:
    return ModelHolder(blobs, ServerMetrics(registry), poll_s=0.001)


def swaps(registry: MetricRegistry, outcome: str) -> float:
    return registry.get_sample_value("evenskin_model_swaps_total", {"outcome": outcome}) or 0.0


async def promoted(holder: ModelHolder, event: ModelPromoted) -> None:
    await HANDLERS[ModelPromoted](holder, Message(event, "trainer"))


async def test_a_hundred_swaps_leave_one_model_in_memory(blobs: DirectoryBlobs, holder: ModelHolder) -> None:
    models = {version: tiny_model(version) for version in ("v1", "v2")}
    await put_model(blobs, "v0", at=EARLIER)
    async with holder:
        first = holder.served  # as a request that is still under way holds it
        gone = [weakref.ref(holder.served.predictor)]
        for number in range(1, 101):
            version = f"v{number % 2 + 1}"
            at = EARLIER + timedelta(seconds=number)
            await promoted(holder, await put_model(blobs, version, models[version], at=at))
            assert holder.served.live.version == version
            gone.append(weakref.ref(holder.served.predictor.session))
        assert gone.pop()() is not None
        assert gone.pop(0)() is first.predictor
        assert [left for left in gone if left() is not None] == []  # at once: no cycle holds a session


async def test_without_a_live_model_there_is_none(holder: ModelHolder) -> None:
    async with holder:
        with pytest.raises(NoModel):
            await holder.check()


async def test_serves_the_live_model_from_the_start(blobs: DirectoryBlobs, holder: ModelHolder) -> None:
    await put_model(blobs, "v1")
    async with holder:
        assert holder.served.live.version == holder.served.predictor.metadata.version == "v1"
        assert holder.served.card is not None


async def test_a_model_without_a_card_is_served(blobs: DirectoryBlobs, holder: ModelHolder) -> None:
    await put_model(blobs, "v1")
    await blobs.delete(card_key("v1"))
    async with holder:
        assert holder.served.card is None


async def test_a_model_found_by_looking_is_served_under_its_requests_id(
    blobs: DirectoryBlobs, holder: ModelHolder
) -> None:
    promoted = (await put_model(blobs, "v1")).model_dump(mode="json")
    traceparent = new_traceparent()
    owned = LiveModel.model_validate({**promoted, "correlation_id": "c-1", "traceparent": traceparent})
    await blobs.put(LIVE_KEY, owned.model_dump_json().encode())
    with capture_logs(processors=[add_ids]) as logs:
        async with holder:
            pass
    (served,) = (entry for entry in logs if entry["event"] == "model_served")
    assert (served["correlation_id"], served["trace_id"]) == ("c-1", trace_id(traceparent))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"version": "v1"}'])
async def test_a_damaged_pointer_is_logged_and_no_model(
    blobs: DirectoryBlobs, holder: ModelHolder, body: bytes
) -> None:
    await blobs.put(LIVE_KEY, body)
    with capture_logs() as logs:
        async with holder:
            with pytest.raises(NoModel):
                await holder.check()
    assert [entry["event"] for entry in logs] == ["live_model_unreadable"]


async def test_a_promotion_swaps_and_only_the_new_model_has_a_series(
    blobs: DirectoryBlobs, holder: ModelHolder, registry: MetricRegistry
) -> None:
    await put_model(blobs, "v1", at=EARLIER)
    async with holder:
        old = holder.served
        await promoted(holder, await put_model(blobs, "v2", at=LATER, live=False))
        assert holder.served.live.version == "v2"
        assert old.predictor.metadata.version == "v1"  # whoever holds it goes on with it
    info = [s for metric in registry.collect() for s in metric.samples if s.name == "evenskin_model_info"]
    assert [sample.labels["version"] for sample in info] == ["v2"]
    assert swaps(registry, "done") == 2


async def test_an_older_promotion_is_passed_over(
    blobs: DirectoryBlobs, holder: ModelHolder, registry: MetricRegistry
) -> None:
    late = await put_model(blobs, "v1", at=EARLIER, live=False)
    await put_model(blobs, "v2", at=LATER)
    async with holder:
        await promoted(holder, late)
        assert holder.served.live.version == "v2"
    assert swaps(registry, "ignored") == 1


async def test_promotions_at_once_end_with_the_newest(blobs: DirectoryBlobs, holder: ModelHolder) -> None:
    events = [await put_model(blobs, f"v{n}", at=EARLIER + timedelta(minutes=n), live=False) for n in range(5)]
    async with holder:
        await asyncio.gather(*(promoted(holder, event) for event in (events[4], *events)))
        assert holder.served.live.version == "v4"


async def test_a_rollback_is_a_newer_promotion_of_an_older_version(blobs: DirectoryBlobs, holder: ModelHolder) -> None:
    await put_model(blobs, "v2", at=EARLIER)
    async with holder:
        await promoted(holder, await put_model(blobs, "v1", at=LATER, live=False))
        assert holder.served.live.version == "v1"


async def test_a_rollback_by_a_host_whose_clock_is_behind_is_served(
    blobs: DirectoryBlobs, holder: ModelHolder, registry: MetricRegistry
) -> None:
    await put_model(blobs, "v1", at=EARLIER, generation=1)
    async with holder:
        ahead = EARLIER + timedelta(seconds=90)
        promotion = await put_model(blobs, "v2", at=ahead, generation=2, live=False)
        await promoted(holder, promotion)
        await promoted(holder, await put_model(blobs, "v1", at=EARLIER + timedelta(seconds=1), generation=3))
        assert holder.served.live.version == "v1"
        await promoted(holder, promotion)  # delivered again, and its clock still says that it is the newest
        assert holder.served.live.version == "v1"
    assert swaps(registry, "ignored") == 1


async def test_a_rollback_that_no_event_told_of_is_found_whatever_the_clocks_say(
    blobs: DirectoryBlobs, holder: ModelHolder
) -> None:
    await put_model(blobs, "v2", at=EARLIER + timedelta(seconds=90), generation=2)
    async with holder:
        await put_model(blobs, "v1", at=EARLIER, generation=3)
        await holder.refresh()
        assert holder.served.live.version == "v1"


async def test_the_file_is_followed_where_an_older_program_wrote_it_or_it_was_restored(
    blobs: DirectoryBlobs, holder: ModelHolder
) -> None:
    await put_model(blobs, "v3", at=LATER, generation=3)
    async with holder:
        for version, generation in (("v2", 0), ("v1", 2)):
            await put_model(blobs, version, at=EARLIER, generation=generation)
            await holder.refresh()
            assert holder.served.live.version == version


async def test_a_numbered_promotion_is_newer_than_one_without_a_number(
    blobs: DirectoryBlobs, holder: ModelHolder
) -> None:
    await put_model(blobs, "v1", at=LATER)
    async with holder:
        await promoted(holder, await put_model(blobs, "v2", at=EARLIER, generation=1, live=False))
        assert holder.served.live.version == "v2"
        old = ModelPromoted.model_validate((await put_model(blobs, "v3", at=LATER, live=False)).model_dump())
        await promoted(holder, old)
        assert holder.served.live.version == "v2"


async def test_the_same_model_promoted_again_is_not_loaded_again(
    blobs: DirectoryBlobs, holder: ModelHolder, registry: MetricRegistry
) -> None:
    event = await put_model(blobs, "v1", at=EARLIER)
    async with holder:
        predictor = holder.served.predictor
        await promoted(holder, event)
        await promoted(holder, event.model_copy(update={"promoted_at": LATER}))
        assert holder.served.predictor is predictor
        assert holder.served.live.promoted_at == LATER
    assert swaps(registry, "done") == 1


async def _wrong(blobs: DirectoryBlobs, case: str) -> ModelPromoted:
    data = tiny_model("v2", bias=math.nan if case == "warm-up" else 0.0)
    event = await put_model(blobs, "v2", data, at=LATER, live=False)
    if case == "missing":
        await blobs.delete(model_key("v2"))
    elif case == "digest":
        await blobs.put(model_key("v2"), tiny_model("v2", seed=9))
    elif case == "cut off":
        await blobs.put(model_key("v2"), data[:300])
        event = event.model_copy(update={"sha256": live_model("v2", data[:300]).sha256})
    elif case == "other version":
        other = tiny_model("v3")
        await blobs.put(model_key("v2"), other)
        event = event.model_copy(update={"sha256": live_model("v2", other).sha256})
    elif case == "bad key":
        event = event.model_copy(update={"key": "../../etc/passwd"})
    return event


@pytest.mark.parametrize("case", ["missing", "digest", "cut off", "warm-up", "other version", "bad key"])
async def test_a_failed_swap_keeps_the_old_model(
    blobs: DirectoryBlobs, holder: ModelHolder, registry: MetricRegistry, case: str
) -> None:
    await put_model(blobs, "v1", at=EARLIER)
    async with holder:
        before = holder.served
        with capture_logs() as logs:
            await promoted(holder, await _wrong(blobs, case))
        assert holder.served is before
    assert [entry["event"] for entry in logs] == ["model_swap_failed"]
    assert swaps(registry, "failed") == 1


async def test_a_fault_of_ours_in_loading_keeps_the_old_model_too(
    blobs: DirectoryBlobs, holder: ModelHolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_model(blobs, "v1", at=EARLIER)
    async with holder:

        def crash(_: Predictor) -> None:
            raise MemoryError

        monkeypatch.setattr(Predictor, "warm_up", crash)
        await promoted(holder, await put_model(blobs, "v2", at=LATER))
        assert holder.served.live.version == "v1"


async def test_the_poll_finds_what_an_event_did_not_tell(blobs: DirectoryBlobs, holder: ModelHolder) -> None:
    await put_model(blobs, "v1", at=EARLIER)
    async with holder:
        watching = asyncio.create_task(holder.watch())
        await put_model(blobs, "v2", at=LATER)
        await eventually(lambda: holder.served.live.version == "v2", "The swap")
        watching.cancel()


async def test_a_store_that_was_down_at_start_heals(tmp_path: Path, registry: MetricRegistry) -> None:
    blobs = FlakyBlobs(tmp_path / "store")
    await put_model(blobs, "v1")
    async with ModelHolder(blobs, ServerMetrics(registry)) as holder:
        with pytest.raises(NoModel):
            await holder.check()
        blobs.up = True
        await holder.refresh()
        assert holder.served.live.version == "v1"


async def test_a_time_without_a_zone_is_utc(blobs: DirectoryBlobs, holder: ModelHolder) -> None:
    await put_model(blobs, "v1", at=EARLIER.replace(tzinfo=None))
    async with holder:
        assert await holder.promote(LiveModel(**(await put_model(blobs, "v2", at=LATER)).model_dump()))
