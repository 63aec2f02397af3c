"""The pointer to the live model: changed by one way only, and never by two at once."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.embedded.blobs import DirectoryBlobs
from shared.errors import PreconditionFailed
from shared.live_model import LivePointer, make_live, put_back, read_live, read_pointer
from shared.model_card import LIVE_KEY, LiveModel, model_key
from shared.tracing import Span, current_traceparent, trace_id


async def promote(blobs: DirectoryBlobs, version: str) -> LiveModel:
    """Make a version the live one."""
    return await make_live(blobs, version=version, sha256="0" * 64, reason="a test")


async def test_there_may_be_none(tmp_path: Path) -> None:
    assert await read_live(DirectoryBlobs(tmp_path)) is None


async def test_the_one_before_is_kept(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    first = await promote(blobs, "v1")
    assert (first.version, first.key, first.previous) == ("v1", model_key("v1"), None)
    assert (await promote(blobs, "v2")).previous == "v1"
    assert (await read_live(blobs)) == await promote(blobs, "v2")  # again: nothing changes, not even the time
    back = await promote(blobs, "v1")
    assert (back.version, back.previous) == ("v1", "v2")


async def test_every_change_has_a_number(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    numbers = [(await promote(blobs, version)).generation for version in ("v1", "v2", "v2", "v1")]
    assert numbers == [1, 2, 2, 3]


async def test_a_file_of_an_older_program_has_none_and_is_replaced_by_the_first(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    old = (await promote(blobs, "v1")).model_dump(mode="json", exclude={"generation"})
    await blobs.put(LIVE_KEY, json.dumps(old).encode())
    assert (await promote(blobs, "v1")).generation == 0
    live = await promote(blobs, "v2")
    assert (live.generation, live.previous) == (1, "v1")


async def test_a_later_change_has_the_higher_number_on_a_host_whose_clock_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = DirectoryBlobs(tmp_path)
    now = datetime(2026, 1, 1, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now + ahead

    ahead = timedelta()
    monkeypatch.setattr("shared.live_model.datetime", Clock)
    await promote(blobs, "v1")
    ahead = timedelta(seconds=90)
    promotion = await promote(blobs, "v2")
    ahead = timedelta(seconds=1)
    rollback = await promote(blobs, "v1")
    assert rollback.promoted_at < promotion.promoted_at
    assert rollback.generation > promotion.generation


async def test_only_what_was_read_is_replaced(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    for pointer in (await read_pointer(blobs), await _pointer_to(blobs, "v1")):
        meanwhile = await promote(blobs, f"v{(pointer.live.generation if pointer.live else 0) + 5}")
        with pytest.raises(PreconditionFailed, match="Another model went live") as raised:
            await make_live(blobs, version="v9", sha256="0" * 64, reason="a test", replacing=pointer)
        assert "models list" in raised.value.advice
        assert await read_live(blobs) == meanwhile
    pointer = await read_pointer(blobs)
    live = await make_live(blobs, version="v9", sha256="0" * 64, reason="a test", replacing=pointer)
    assert await read_live(blobs) == live


async def test_what_was_replaced_is_put_back_unless_another_went_live_since(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    nothing = await read_pointer(blobs)
    await put_back(blobs, await promote(blobs, "v1"), nothing)
    assert await read_live(blobs) is None
    before = await _pointer_to(blobs, "v1")
    live = await promote(blobs, "v2")
    later = await promote(blobs, "v3")
    await put_back(blobs, live, before)
    assert await read_live(blobs) == later
    await put_back(blobs, later, before)
    assert before.live is not None
    assert await read_live(blobs) == before.live.model_copy(update={"generation": 4})


async def _pointer_to(blobs: DirectoryBlobs, version: str) -> LivePointer:
    await promote(blobs, version)
    return await read_pointer(blobs)


async def test_a_change_whose_answer_was_lost_is_no_conflict(tmp_path: Path) -> None:
    class Stuttering(DirectoryBlobs):
        async def put(self, key: str, data: bytes, **options: Any) -> str:
            await super().put(key, data, **options)
            return await super().put(key, data, **options)  # as a client does that got no answer

    live = await promote(Stuttering(tmp_path), "v1")
    assert await read_live(DirectoryBlobs(tmp_path)) == live


async def test_it_says_which_request_it_went_live_for(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    with Span("promotion", correlation_id="c-1"):
        await promote(blobs, "v1")
        trace = trace_id(current_traceparent())
    live = await read_live(blobs)
    assert live is not None
    assert live.correlation_id == "c-1"
    assert trace_id(live.traceparent or "") == trace


async def test_two_at_once_are_not_both_taken(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    await promote(blobs, "v0")
    results = await asyncio.gather(*(promote(blobs, f"v{n}") for n in range(1, 6)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(error, PreconditionFailed) for error in refused)
    live = await read_live(blobs)
    taken = [result for result in results if isinstance(result, LiveModel)]
    assert live in taken
    assert sum(result.previous == "v0" for result in taken) == 1
    assert len({result.generation for result in taken}) == len(taken)


async def test_a_first_one_is_not_overwritten(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    results = await asyncio.gather(*(promote(blobs, f"v{n}") for n in range(5)), return_exceptions=True)
    assert sum(isinstance(result, LiveModel) and result.previous is None for result in results) == 1
    with pytest.raises(PreconditionFailed):
        await blobs.put(LIVE_KEY, b"{}", if_absent=True)
