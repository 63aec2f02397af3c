"""What only the S3 store has to show: its bucket, its client, a server that fails."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from shared.errors import ConfigurationError, PreconditionFailed, StoreFull, StoreUnavailable
from shared.remote.blobs import S3Blobs
from tests.servers.process import free_port

pytestmark = pytest.mark.usefixtures("s3_endpoint_url")  # for the credentials
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeS3:
    """A server that answers as it is told; it counts requests."""

    def __init__(self) -> None:
        self.answer: Answer = self.refuse(500, "InternalError")
        self.requests: list[tuple[str, str]] = []
        self.endpoint_url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.requests.append((request.method, request.path))
        return await self.answer(request)

    @staticmethod
    def refuse(status: int, code: str) -> Answer:
        async def answer(request: web.Request) -> web.Response:
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
            return web.Response(status=status, text=body, content_type="application/xml")

        return answer


@pytest.fixture
async def fake() -> AsyncIterator[FakeS3]:
    server = FakeS3()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.endpoint_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def blobs(fake: FakeS3) -> AsyncIterator[S3Blobs]:
    store = S3Blobs("bucket", endpoint_url=fake.endpoint_url)
    yield store
    await store.close()


Open = Callable[..., S3Blobs]


@pytest.fixture
async def open_blobs(s3_endpoint_url: str, s3_bucket: str) -> AsyncIterator[Open]:
    """Opens stores in one bucket that is not there yet, and closes them."""
    async with contextlib.AsyncExitStack() as stack:

        def opened(*, prefix: str = "") -> S3Blobs:
            store = S3Blobs(s3_bucket, prefix=prefix, endpoint_url=s3_endpoint_url)
            stack.push_async_callback(store.close)
            return store

        yield opened


async def test_a_missing_bucket_is_created_when_first_written(open_blobs: Open) -> None:
    blobs = open_blobs()
    assert await blobs.head("key") is None
    await blobs.put("key", b"x")
    assert (await blobs.get("key")).data == b"x"


async def test_two_that_create_the_bucket_at_once_both_go_on(open_blobs: Open) -> None:
    await asyncio.gather(*(open_blobs().check() for _ in range(2)))


async def test_the_prefix_keeps_two_stores_in_a_bucket_apart(open_blobs: Open) -> None:
    one, other = (open_blobs(prefix=prefix) for prefix in ("a", "ab"))
    await one.put("key", b"one")
    await other.put("key", b"other")
    assert [info.key async for info in one.list("")] == ["key"]
    assert (await one.get("key")).data == b"one"


async def test_listing_goes_on_past_one_page(blobs: S3Blobs, fake: FakeS3) -> None:
    entry = "<Contents><Key>{}</Key><Size>1</Size><ETag>&quot;e&quot;</ETag></Contents>"

    async def two_pages(request: web.Request) -> web.StreamResponse:
        is_first = "continuation-token" not in request.query
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>" if is_first else ""
        page = f"<ListBucketResult>{entry.format('k/1' if is_first else 'k/2')}{more}</ListBucketResult>"
        return web.Response(text=page, content_type="application/xml")

    fake.answer = two_pages
    assert [info.key async for info in blobs.list("k/")] == ["k/1", "k/2"]


async def test_an_unreachable_store_is_unavailable() -> None:
    blobs = S3Blobs("bucket", endpoint_url=f"http://127.0.0.1:{free_port()}")
    for attempt in (blobs.put("key", b"x"), blobs.check()):
        with pytest.raises(StoreUnavailable):
            await attempt
    await blobs.close()


async def test_a_check_waits_no_longer_than_its_limit(
    blobs: S3Blobs, fake: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    fake.answer = never
    monkeypatch.setattr("shared.remote.blobs.CHECK_S", 0.2)
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await blobs.check()


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (403, "AccessDenied")])
async def test_a_server_error_is_unavailable(blobs: S3Blobs, fake: FakeS3, status: int, code: str) -> None:
    fake.answer = fake.refuse(status, code)
    with pytest.raises(StoreUnavailable) as caught:
        await blobs.put("key", b"x")
    assert code in caught.value.message
    assert not isinstance(caught.value, StoreFull)
    assert len(fake.requests) <= 3


@pytest.mark.parametrize(("status", "code"), [(507, "InsufficientStorage"), (403, "QuotaExceeded")])
async def test_a_full_store_says_so(blobs: S3Blobs, fake: FakeS3, status: int, code: str) -> None:
    fake.answer = fake.refuse(status, code)
    with pytest.raises(StoreFull):
        await blobs.put("key", b"x")


async def test_a_short_failure_is_not_noticed(blobs: S3Blobs, fake: FakeS3) -> None:
    async def second_time_right(request: web.Request) -> web.StreamResponse:
        if len(fake.requests) < 2:
            return await fake.refuse(503, "SlowDown")(request)
        return web.Response(body=b"data", headers={"ETag": '"e"'})

    fake.answer = second_time_right
    assert (await blobs.get("key")).data == b"data"


async def test_a_conditional_put_whose_answer_was_lost_has_succeeded(blobs: S3Blobs, fake: FakeS3) -> None:
    etag = hashlib.md5(b"data", usedforsecurity=False).hexdigest()

    async def lose_the_first(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"ETag": f'"{etag}"', "Content-Length": "4"})
        return await fake.refuse(*((500, "InternalError") if len(fake.requests) == 1 else (412, "PreconditionFailed")))(
            request
        )

    fake.answer = lose_the_first
    assert await blobs.put("key", b"data", if_absent=True) == etag


async def test_a_put_that_was_refused_at_once_was_somebody_elses(blobs: S3Blobs, fake: FakeS3) -> None:
    fake.answer = fake.refuse(412, "PreconditionFailed")
    with pytest.raises(PreconditionFailed):
        await blobs.put("key", b"data", if_absent=True)
    assert fake.requests == [("PUT", "/bucket/key")]


async def test_a_put_that_meets_another_one_is_tried_again(blobs: S3Blobs, fake: FakeS3) -> None:
    async def busy_once(request: web.Request) -> web.StreamResponse:
        if len(fake.requests) == 1:
            return await fake.refuse(409, "ConditionalRequestConflict")(request)
        return web.Response(headers={"ETag": '"e"'})

    fake.answer = busy_once
    assert await blobs.put("key", b"data", if_absent=True) == "e"


async def test_an_answer_that_breaks_off_is_unavailable(blobs: S3Blobs, fake: FakeS3) -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": '"e"', "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"only this")
        assert request.transport is not None
        request.transport.abort()
        return response

    fake.answer = break_off
    with pytest.raises(StoreUnavailable):
        await blobs.get("key")


async def test_missing_credentials_are_a_matter_of_configuration(
    fake: FakeS3, blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigurationError):
        await blobs.put("key", b"x")
    assert fake.requests == []
