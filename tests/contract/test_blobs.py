"""What every blob store does, directory or S3: whole objects, conditional puts, keys that stay inside."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from shared.blobs import Blobs
from shared.errors import BlobNotFound, InvalidRequest, PreconditionFailed

BAD_KEYS = [
    "",
    "/",
    "/x",
    "x/",
    "../x",
    "x/../y",
    "x/./y",
    "x//y",
    ".hidden",
    "x/.hidden",
    "x\ny",
    "x\n",
    "x y",
    "ä",
    "x" * 513,
]


async def keys(blobs: Blobs, prefix: str = "") -> list[str]:
    return [info.key async for info in blobs.list(prefix)]


async def test_what_was_put_is_read_back(blobs: Blobs) -> None:
    etag = await blobs.put("images/a/original.png", b"bytes", content_type="image/png")
    blob = await blobs.get("images/a/original.png")
    assert (blob.data, blob.etag) == (b"bytes", etag)
    info = await blobs.head("images/a/original.png")
    assert info is not None
    assert (info.key, info.size, info.etag) == ("images/a/original.png", 5, etag)


async def test_an_empty_object_is_an_object(blobs: Blobs) -> None:
    await blobs.put("empty", b"")
    assert (await blobs.get("empty")).data == b""


async def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    for missing in ("nothing", "no/such/directory"):
        with pytest.raises(BlobNotFound):
            await blobs.get(missing)
        assert await blobs.head(missing) is None
        await blobs.delete(missing)
    assert await keys(blobs) == []


async def test_the_beginning_of_a_key_is_no_object(blobs: Blobs) -> None:
    await blobs.put("images/a/original.png", b"bytes")
    for beginning in ("images", "images/a", "images/a/original.png/more"):
        with pytest.raises(BlobNotFound):
            await blobs.get(beginning)
        assert await blobs.head(beginning) is None


async def test_a_put_replaces(blobs: Blobs) -> None:
    first = await blobs.put("models/live.json", b"one")
    second = await blobs.put("models/live.json", b"two")
    assert first != second
    assert (await blobs.get("models/live.json")).data == b"two"


async def test_delete_removes(blobs: Blobs) -> None:
    await blobs.put("key", b"x")
    await blobs.delete("key")
    assert await blobs.head("key") is None
    await blobs.put("key", b"y", if_absent=True)


async def test_list_gives_what_starts_with_the_prefix_in_order(blobs: Blobs) -> None:
    stored = ["b", "a/b/c", "a/b", "a-1", "a/a/1.json", "images/10/x", "images/1/x"]
    for key in stored:
        if key != "a/b":  # a directory cannot hold both a/b and a/b/c
            await blobs.put(key, key.encode())
    expected = sorted(set(stored) - {"a/b"})
    assert await keys(blobs) == expected
    assert await keys(blobs, "a") == [key for key in expected if key.startswith("a")]
    assert await keys(blobs, "images/1") == ["images/1/x", "images/10/x"]
    assert await keys(blobs, "images/1/") == ["images/1/x"]
    assert await keys(blobs, "nothing/") == []
    async for info in blobs.list("images/"):
        assert info == await blobs.head(info.key)


async def test_if_absent_puts_only_the_first(blobs: Blobs) -> None:
    etag = await blobs.put("key", b"first", if_absent=True)
    with pytest.raises(PreconditionFailed):
        await blobs.put("key", b"second", if_absent=True)
    blob = await blobs.get("key")
    assert (blob.data, blob.etag) == (b"first", etag)


async def test_if_match_puts_only_onto_what_was_read(blobs: Blobs) -> None:
    first = await blobs.put("key", b"first")
    second = await blobs.put("key", b"second", if_match=first)
    for stale in (first, "no-such-etag"):
        with pytest.raises(PreconditionFailed):
            await blobs.put("key", b"third", if_match=stale)
    blob = await blobs.get("key")
    assert (blob.data, blob.etag) == (b"second", second)


async def test_if_match_needs_an_object(blobs: Blobs) -> None:
    with pytest.raises(PreconditionFailed):
        await blobs.put("key", b"x", if_match="no-such-etag")
    assert await blobs.head("key") is None


async def test_of_twenty_that_put_if_absent_one_wins(blobs: Blobs) -> None:
    puts = [blobs.put("key", f"writer {number}".encode(), if_absent=True) for number in range(20)]
    results = await asyncio.gather(*puts, return_exceptions=True)
    winners = [number for number, result in enumerate(results) if isinstance(result, str)]
    assert len(winners) == 1
    assert all(isinstance(result, PreconditionFailed) for result in results if not isinstance(result, str))
    assert (await blobs.get("key")).data == f"writer {winners[0]}".encode()


async def test_of_twenty_that_put_onto_the_same_one_wins(blobs: Blobs) -> None:
    etag = await blobs.put("key", b"before")
    puts = [blobs.put("key", f"writer {number}".encode(), if_match=etag) for number in range(20)]
    results = await asyncio.gather(*puts, return_exceptions=True)
    winners = [number for number, result in enumerate(results) if isinstance(result, str)]
    assert len(winners) == 1
    assert (await blobs.get("key")).data == f"writer {winners[0]}".encode()


async def test_no_update_is_lost_when_many_read_and_write_back(blobs: Blobs) -> None:
    await blobs.put("counter", b"0")

    async def add_one() -> None:
        while True:
            blob = await blobs.get("counter")
            try:
                await blobs.put("counter", str(int(blob.data) + 1).encode(), if_match=blob.etag)
            except PreconditionFailed:
                continue
            return

    await asyncio.gather(*(add_one() for _ in range(8)))
    assert (await blobs.get("counter")).data == b"8"


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_what_is_no_key_is_refused(blobs: Blobs, key: str) -> None:
    with pytest.raises(InvalidRequest):
        await blobs.put(key, b"x")
    with pytest.raises(InvalidRequest):
        await blobs.get(key)
    with pytest.raises(InvalidRequest):
        await blobs.head(key)
    with pytest.raises(InvalidRequest):
        await blobs.delete(key)


@pytest.mark.parametrize("prefix", ["/", "../", "..", "x/../y", "x//", ".incoming"])
async def test_a_listing_stays_inside_too(blobs: Blobs, prefix: str) -> None:
    with pytest.raises(InvalidRequest):
        await keys(blobs, prefix)


async def test_a_large_object_comes_back_whole(blobs: Blobs) -> None:
    data = os.urandom(8 * 1024 * 1024)
    await blobs.put("large", data)
    assert hashlib.sha256((await blobs.get("large")).data).digest() == hashlib.sha256(data).digest()


async def test_a_reader_sees_the_old_or_the_new_never_half(blobs: Blobs) -> None:
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    await blobs.put("key", contents[0])
    is_done = False

    async def write() -> None:
        nonlocal is_done
        for number in range(20):
            await blobs.put("key", contents[number % 2])
        is_done = True

    async def read() -> int:
        reads = 0
        while not is_done:
            assert (await blobs.get("key")).data in contents
            reads += 1
        return reads

    _, *reads = await asyncio.gather(write(), read(), read())
    assert all(reads)


async def test_check_passes_and_leaves_nothing(blobs: Blobs) -> None:
    await blobs.check()
    await blobs.check()
    assert await keys(blobs) == []


async def test_a_closed_store_may_be_closed_again(blobs: Blobs) -> None:
    await blobs.put("key", b"x")
    await blobs.close()
    await blobs.close()
