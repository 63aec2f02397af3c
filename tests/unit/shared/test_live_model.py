"""The pointer to the live model: changed by one way only, and never by two at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.embedded.blobs import DirectoryBlobs
from shared.errors import PreconditionFailed
from shared.live_model import make_live, read_live
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


async def test_a_first_one_is_not_overwritten(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    results = await asyncio.gather(*(promote(blobs, f"v{n}") for n in range(5)), return_exceptions=True)
    assert sum(isinstance(result, LiveModel) and result.previous is None for result in results) == 1
    with pytest.raises(PreconditionFailed):
        await blobs.put(LIVE_KEY, b"{}", if_absent=True)
