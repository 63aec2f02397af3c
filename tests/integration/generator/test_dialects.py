"""What servers answer that speak the Images API in their own ways: pictures, refusals, waits."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import deque
from pathlib import Path
from typing import Any

import httpx2
import pytest

from services.generator import picture_url, prompts
from services.generator.app import open_provider
from services.generator.keeping import record_key
from services.generator.settings import GeneratorSettings
from shared.events import ACCOUNT_FAILURES, FailureReason, ImageFailed, ImageGenerated
from tests.fakes.blobs import FlakyBlobs
from tests.fakes.openai_server import (
    KEY,
    Answer,
    OpenAIServer,
    billed,
    document,
    error,
    file,
    gateway_error,
    openai_server,
    picture,
    picture_at,
    problem,
    redirect,
    reset,
    silence,
)
from tests.fakes.pictures import unmarked
from tests.integration.generator.serving import PRICE, png, provider_for, requested, running

DATA = base64.b64encode(png()).decode()


async def outcome(tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, **provider: Any) -> Any:
    """What becomes of one request."""
    async with running(tmp_path, blobs, provider_for(server, **provider)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
        assert not await generator.bus.dead_letters()
    if isinstance(event, ImageGenerated):
        assert unmarked((await blobs.get(event.key)).data) == png()
    return event


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("b64_json", f"data:image/png;base64,{DATA}"),
        ("b64_json", base64.encodebytes(png()).decode()),
        ("b64_json", base64.urlsafe_b64encode(png()).decode().rstrip("=")),
        ("url", f"data:image/png;base64,{DATA}"),
    ],
    ids=["data-url", "lines", "url-safe", "url"],
)
async def test_a_picture_comes_through_however_it_is_written(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, name: str, text: str
) -> None:
    server.otherwise = document({"data": [{name: text}]})
    event = await outcome(tmp_path, server, blobs)
    assert isinstance(event, ImageGenerated)
    assert event.cost_usd == PRICE


@pytest.mark.parametrize("url", ["{}/files/a.png", "/files/a.png"])
async def test_a_picture_is_fetched_from_the_server_s_own_host(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, url: str
) -> None:
    server.otherwise = picture_at(url)
    server.files["/files/a.png"] = deque([redirect("/files/b.png")])
    server.files["/files/b.png"] = deque([gateway_error(502), reset, file(png())])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_url, "WAIT_S", 0.0)
        event = await outcome(tmp_path, server, blobs)
    assert isinstance(event, ImageGenerated)
    assert event.cost_usd == PRICE
    assert all("Authorization" not in request.headers for request in server.fetches)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:{port}/files/a.png", "EVENSKIN_IMAGE_HOSTS"),
        ("http://169.254.169.254/latest/meta-data", "EVENSKIN_IMAGE_HOSTS"),
        ("file:///etc/passwd", "file"),
        ("ftp://127.0.0.1/a.png", "ftp"),
        ("http://127.0.0.1:port/a.png", "URL"),
        ("{{}}/files/missing.png", "404"),
        ("{{}}/files/away.png", "EVENSKIN_IMAGE_HOSTS"),
        ("{{}}/files/round.png", "302"),
        ("{{}}/files/large.png", "bytes"),
    ],
)
async def test_a_picture_that_may_not_or_cannot_be_fetched_was_paid_for(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, url: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_url, "ANSWER_BYTES", 10_000)
    async with openai_server(picture(png())) as other:
        port = other.url.split(":")[2].split("/")[0]
        server.otherwise = picture_at(url.format(port=port))
        other.files["/files/a.png"] = deque([file(png())])
        server.files["/files/away.png"] = deque([redirect(f"http://127.0.0.1:{port}/files/a.png")])
        server.files["/files/round.png"] = deque([redirect("/files/round.png")])
        server.files["/files/large.png"] = deque([file(bytes(20_000))])
        event = await outcome(tmp_path, server, blobs)
        assert not other.fetches
    assert isinstance(event, ImageFailed)
    assert (event.reason, event.cost_usd) == (FailureReason.INVALID_RESPONSE, PRICE)
    assert told in event.detail
    assert server.calls == 1


@pytest.mark.parametrize("named", ["127.0.0.1", "127.0.0.1:{port}", "elsewhere.example, 127.0.0.1"])
async def test_a_host_that_is_named_is_fetched_from(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, named: str
) -> None:
    async with openai_server(picture(png())) as other:
        port = other.url.split(":")[2].split("/")[0]
        other.files["/files/a.png"] = deque([file(png())])
        server.otherwise = picture_at(f"http://127.0.0.1:{port}/files/a.png")
        event = await outcome(tmp_path, server, blobs, image_hosts=named.format(port=port).split(","))
        assert len(other.fetches) == 1
    assert isinstance(event, ImageGenerated)


@pytest.mark.parametrize(
    ("address", "is_fetched"), [("10.0.0.7", False), ("::ffff:10.0.0.7", False), ("fd00::7", False), ("8.8.8.8", True)]
)
async def test_a_name_with_a_private_address_is_not_fetched_unless_the_provider_has_one(
    tmp_path: Path,
    server: OpenAIServer,
    blobs: FlakyBlobs,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    is_fetched: bool,
) -> None:
    addresses = {"pictures.example": address, "api.example": "1.1.1.1"}

    async def resolved(host: str, port: int) -> list[str]:
        return [addresses[host]]

    monkeypatch.setattr(picture_url, "_addresses", resolved)
    asked: list[str] = []

    class Client:
        def build_request(self, method: str, url: Any, headers: dict[str, str], extensions: dict[str, str]) -> Any:
            asked.append(url.host)
            assert headers["Host"] == extensions["sni_hostname"] == "pictures.example"

        async def send(self, request: Any, *, follow_redirects: bool) -> Any:
            return httpx2.Response(200, content=b"a picture")

    base = httpx2.URL("https://api.example/v1/")
    urls = picture_url.PictureUrls(Client(), base, ["pictures.example"])  # type: ignore[arg-type]
    if is_fetched:
        assert await urls.fetch("https://pictures.example/a.png") == b"a picture"
        assert asked == [address]
    else:
        with pytest.raises(picture_url.NotFetched, match="private"):
            await urls.fetch("https://pictures.example/a.png")
        assert not asked
    with pytest.raises(picture_url.NotFetched, match="by http"):
        await urls.fetch("http://pictures.example/a.png")


async def test_a_picture_that_never_comes_is_booked(tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs) -> None:
    server.otherwise = picture_at("/files/a.png")
    server.files["/files/a.png"] = deque([silence])
    event = await outcome(tmp_path, server, blobs, timeout_s=0.5)
    assert isinstance(event, ImageFailed)
    assert (event.reason, event.unknown_calls, event.cost_usd) == (FailureReason.TIMEOUT, 1, PRICE)


async def test_an_answer_without_an_end_of_bytes_is_given_up_and_booked(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_url, "ANSWER_BYTES", 1000)
    event = await outcome(tmp_path, server, blobs)
    assert isinstance(event, ImageFailed)
    assert (event.unknown_calls, event.cost_usd, server.calls) == (1, PRICE, 1)


@pytest.mark.parametrize(
    ("body", "reason", "calls"),
    [
        ({"error": {"message": "no", "code": "content_filter"}}, FailureReason.MODERATION_BLOCKED, 3),
        ({"created": 1, "data": [], "error": {"message": "no", "code": 400}}, FailureReason.INVALID_REQUEST, 1),
        ({"error": "CUDA out of memory"}, FailureReason.PROVIDER_ERROR, 5),
        ({"error": {"message": "no", "code": "insufficient_quota"}}, FailureReason.QUOTA_EXHAUSTED, 1),
    ],
)
async def test_an_error_with_status_200_is_not_billed(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, body: object, reason: FailureReason, calls: int
) -> None:
    server.otherwise = document(body)
    event = await outcome(tmp_path, server, blobs)
    assert isinstance(event, ImageFailed)
    assert (event.reason, event.cost_usd, event.unknown_calls) == (reason, 0, 0)
    assert server.calls == calls


async def test_a_picture_beside_an_empty_error_is_a_picture(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.otherwise = billed(document({"data": [{"b64_json": DATA}], "error": None}))
    assert isinstance(await outcome(tmp_path, server, blobs), ImageGenerated)


@pytest.mark.parametrize(
    ("answer", "reason", "told"),
    [
        (error(400, {"error": "prompt is required"}), FailureReason.INVALID_REQUEST, "400 prompt is required"),
        (error(400, {"detail": "prompt is required"}), FailureReason.INVALID_REQUEST, "400 prompt is required"),
        (
            error(422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "quality"], "msg": "no"}]}),
            FailureReason.SETTINGS_REFUSED,
            "422 no (quality) Set EVENSKIN_PROVIDER_PROFILE to what the server is.",
        ),
        (
            error(400, {"error": {"code": "contentFilter", "message": "filtered"}}),
            FailureReason.MODERATION_BLOCKED,
            "400 filtered",
        ),
        (
            error(404, {"error": {"code": "DeploymentNotFound", "message": "no such deployment"}}),
            FailureReason.MODEL_UNAVAILABLE,
            "404 no such deployment",
        ),
    ],
)
async def test_errors_of_other_servers_are_read(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, answer: Answer, reason: FailureReason, told: str
) -> None:
    server.otherwise = answer
    event = await outcome(tmp_path, server, blobs)
    assert isinstance(event, ImageFailed)
    assert (event.reason, event.detail, event.cost_usd) == (reason, told, 0)
    assert server.calls == (3 if reason is FailureReason.MODERATION_BLOCKED else 1)


@pytest.mark.parametrize(
    "headers", [{"retry-after-ms": "150"}, {"Retry-After": "0.15"}, {"retry-after-ms": "150", "Retry-After": "9999"}]
)
@pytest.mark.parametrize("status", [429, 503])
async def test_the_wait_that_is_asked_for_is_waited_in_every_form(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, status: int, headers: dict[str, str]
) -> None:
    server.answers.append(problem(status, "slow_down", headers=headers))
    event = await outcome(tmp_path, server, blobs)
    assert isinstance(event, ImageGenerated)
    assert server.times[1] - server.times[0] >= 0.15


async def test_waits_use_up_no_attempt_and_pause_nothing(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.answers.extend([problem(429, "rate_limit_exceeded", retry_after="0.001")] * 7)
    event = await outcome(tmp_path, server, blobs)
    assert isinstance(event, ImageGenerated)
    assert server.calls == 8


async def test_a_provider_that_stays_busy_is_the_account_s_failure(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.otherwise = problem(429, "rate_limit_exceeded")
    async with running(tmp_path, blobs, provider_for(server), provider_wait_s=0.1) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert event.reason is FailureReason.RATE_LIMITED
    assert event.reason in ACCOUNT_FAILURES
    assert (event.cost_usd, event.unknown_calls) == (0, 0)
    assert server.calls > 3
    assert event.detail.startswith("429 told to fail")
    assert "EVENSKIN_PROVIDER_WAIT_S" in event.detail


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_wants_no_second_request_gets_none(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, status: int
) -> None:
    server.otherwise = problem(status, "no", headers={"x-should-retry": "false", "Retry-After": "0"})
    event = await outcome(tmp_path, server, blobs)
    assert isinstance(event, ImageFailed)
    assert (server.calls, event.cost_usd) == (1, 0)


async def test_addresses_are_those_of_the_name() -> None:
    found = await picture_url._addresses("localhost", 80)
    assert set(found) <= {"127.0.0.1", "::1"}
    with pytest.raises(picture_url.NotFetched, match="no address"):
        await picture_url._addresses("no-such-host.invalid", 80)


async def test_a_refused_prompt_is_worded_more_calmly_and_counted(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.answers.extend([problem(400, "moderation_blocked")] * 2)
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
        labels = {"provider": "openai", "condition": "redness", "severity": "moderate"}
        counted = [
            generator.metric("evenskin_prompts_refused_total", **labels, wording=str(wording)) for wording in range(3)
        ]
    assert isinstance(event, ImageGenerated)
    assert event.cost_usd == PRICE  # a refusal costs nothing
    assert counted == [1, 1, 0]
    sent = [request["prompt"] for request in server.requests]
    assert len(set(sent)) == 3
    assert event.prompt == sent[2]
    assert "adult woman" in event.prompt
    assert "clothed" in event.prompt


async def test_an_operator_s_prompts_are_sent_and_their_hash_is_kept(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    path = tmp_path / "prompts.toml"
    ours = Path(prompts.__file__).with_name("prompts.toml").read_text()
    path.write_text(ours.replace("A realistic, unretouched", "A plain"))
    settings = GeneratorSettings.load(
        provider="openai",
        openai_base_url=server.url,
        openai_api_key=KEY,
        image_price_usd=PRICE,
        images_per_minute=60_000,
        prompt_file=path,
    )
    async with running(tmp_path, blobs, open_provider(settings, blobs)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert server.requests[0]["prompt"].startswith("A plain close-up")
    assert event.prompts_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    record = json.loads((await blobs.get(record_key(event.image_id))).data)
    assert record["prompts_sha256"] == event.prompts_sha256


async def test_a_replica_that_is_refused_too_often_slows_down(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.answers.extend([problem(429, "rate_limit_exceeded")] * 7)
    async with running(tmp_path, blobs, provider_for(server, images_per_minute=60_000)) as generator:
        assert generator.metric("evenskin_provider_pace_per_second") == 1000
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
        assert 800 <= generator.metric("evenskin_provider_pace_per_second") < 1000
    assert isinstance(event, ImageGenerated)
