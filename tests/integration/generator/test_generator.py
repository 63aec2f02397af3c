"""The generator with OpenAI's provider, against a local server in its shape: paid once, counted, told in words."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image
from pydantic import ValidationError

from services.generator import handlers, keeping
from services.generator.app import open_provider
from services.generator.calls import TRIES, TRIES_TO_REACH
from services.generator.keeping import record_key
from services.generator.openai_provider import TokenPrices
from services.generator.procedural import draw
from services.generator.procedural_provider import ProceduralProvider, seed_of
from services.generator.prompts import our_prompts
from services.generator.settings import GeneratorSettings
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import ConfigurationError
from shared.events import ACCOUNT_FAILURES, FailureReason, ImageFailed, ImageGenerated, ImageRequested
from shared.imaging import open_checked
from shared.pictures.provenance import Marks, marks_of
from shared.taxonomy import CLEAR
from shared.tracing import trace_id
from tests.eventually import LIMIT_S, eventually
from tests.fakes.blobs import FlakyBlobs
from tests.fakes.openai_server import (
    Answer,
    OpenAIServer,
    billed,
    cut,
    document,
    gateway_error,
    openai_server,
    picture,
    problem,
    reset,
    silence,
    text,
    trickle,
    when,
)
from tests.fakes.pictures import png as noise
from tests.fakes.pictures import unmarked
from tests.integration.generator.serving import PRICE, SUBJECT, image_id_of, png, provider_for, requested, running

WORDINGS = len(our_prompts().wordings)
REPOSITORY = Path(__file__).parents[3]


async def test_a_picture_is_made_stored_and_told(tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs) -> None:
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert (event.width, event.height, event.media_type) == (72, 80, "image/png")
    assert event.key == f"images/{image_id_of(message)}/original.png"
    stored = (await blobs.get(event.key)).data
    assert unmarked(stored) == png()
    assert event.sha256 == hashlib.sha256(stored).hexdigest()
    assert (event.provider, event.model, event.provider_request_id) == ("openai", "gpt-image-2", "req_1")
    assert event.cost_usd == PRICE
    assert event.quality["provider_calls"] == 1
    assert generator.said[0].correlation_id == message.correlation_id
    labels = {"provider": "openai", "condition": "redness", "outcome": "generated"}
    assert generator.metric("evenskin_images_generated_total", **labels) == 1
    assert generator.metric("evenskin_generation_cost_usd_total", provider="openai") == pytest.approx(PRICE)
    assert generator.metric("evenskin_provider_requests_total", provider="openai") == 1
    assert generator.metric("evenskin_provider_seconds_count", provider="openai") == 1
    assert generator.metric("evenskin_events_published_total", event="ImageGenerated") == 1
    assert generator.metric("evenskin_images_in_progress") == 0
    (carried,) = server.traceparents
    assert trace_id(carried or "") == trace_id(generator.said[0].traceparent) == trace_id(message.traceparent)
    (sent,) = server.requests
    assert sent == {
        "model": "gpt-image-2",
        "prompt": event.prompt,
        "n": 1,
        "size": "1024x1024",
        "output_format": "png",
    }
    assert "moderate redness" in event.prompt
    assert event.prompts_sha256 == our_prompts().sha256


@pytest.mark.parametrize(("kind", "ending"), [("JPEG", "jpg"), ("WEBP", "webp")])
async def test_what_the_bytes_are_counts_not_what_was_asked_for(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, kind: str, ending: str
) -> None:
    server.otherwise = picture(png(kind))
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.key.endswith(f"original.{ending}")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_s_file_says_how_it_was_made(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, kind: str
) -> None:
    server.otherwise = picture(png(kind))
    message = requested()
    found = []
    for number, store in enumerate((blobs, FlakyBlobs(tmp_path / "another"))):
        async with running(tmp_path / str(number), store, provider_for(server)) as generator:
            await generator.bus.publish(message)
            (event,) = await generator.answers(1)
        assert isinstance(event, ImageGenerated)
        assert not event.c2pa
        found.append((await store.get(event.key)).data)
    assert found[0] == found[1]  # whoever answers the request, and however often
    assert isinstance(message.event, ImageRequested)
    assert isinstance(event, ImageGenerated)
    assert marks_of(open_checked(found[0]).parts) == Marks(
        "trainedAlgorithmicMedia",
        model="gpt-image-2",
        campaign_id=str(message.event.campaign_id),
        prompt_sha256=hashlib.sha256(event.prompt.encode()).hexdigest(),
    )
    with Image.open(io.BytesIO(found[0])) as kept, Image.open(io.BytesIO(png(kind))) as given:
        assert (kept.mode, kept.tobytes()) == (given.mode, given.tobytes())


async def test_a_picture_with_a_manifest_stays_as_it_came(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    plain, manifest = png(), b"caBX\0\0\0\x1ejumdc2pa and what was signed"
    chunk = (len(manifest) - 4).to_bytes(4, "big") + manifest + zlib.crc32(manifest).to_bytes(4, "big")
    signed = plain[:33] + chunk + plain[33:]
    server.otherwise = picture(signed)
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.c2pa
    assert (await blobs.get(event.key)).data == signed
    assert event.sha256 == hashlib.sha256(signed).hexdigest()
    assert json.loads((await blobs.get(record_key(event.image_id))).data)["c2pa"] is True


async def test_the_same_request_delivered_twice_at_once_is_paid_once(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    released = asyncio.Event()
    server.otherwise = when(released, picture(png()))
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        for _ in range(3):
            await generator.bus.publish(message)
        await eventually(lambda: server.calls)
        released.set()
        events = await generator.answers(3)
        assert len({said.id for said in generator.said}) == 1  # one happening, however often it is told
    assert server.calls == 1
    assert len({event.model_dump_json() for event in events}) == 1


@pytest.mark.parametrize("answer", [picture(png()), problem(400, "moderation_blocked"), document({"data": []})])
async def test_a_request_that_comes_again_after_a_restart_is_answered_from_the_record(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, answer: Answer
) -> None:
    server.otherwise = answer
    message = requested()
    said, calls = [], []
    for _ in range(2):
        async with running(tmp_path, blobs, provider_for(server)) as generator:
            await generator.bus.publish(message)
            await generator.answers(1)
            said += generator.said
            calls.append(server.calls)
    assert calls[0] == calls[1]
    assert said[0].event == said[1].event
    assert said[0].id == said[1].id


async def test_replicas_that_make_the_same_image_at_once_tell_of_the_same_picture(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    released = asyncio.Event()
    server.answers.extend(when(released, picture(noise(seed))) for seed in (1, 2))
    message = requested()
    async with (
        running(tmp_path, blobs, provider_for(server)) as one,
        running(tmp_path, blobs, provider_for(server)) as other,
    ):
        for replica in (one, other):
            await replica.bus.publish(message)
        await eventually(lambda: one.handled("retried") + other.handled("retried") >= 2)
        released.set()
        (told,), (told_too,) = await one.answers(1), await other.answers(1)
    assert isinstance(told, ImageGenerated)
    assert told == told_too
    assert hashlib.sha256((await blobs.get(told.key)).data).hexdigest() == told.sha256
    assert server.calls == 1
    assert told.cost_usd == PRICE


async def test_a_picture_without_a_record_is_what_a_killed_generator_left_and_stays(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    message = requested()
    key = f"images/{image_id_of(message)}/original.png"
    await blobs.put(key, noise(1))
    server.answers.append(picture(noise(2)))
    async with running(tmp_path, blobs, provider_for(server)) as replica:
        await replica.bus.publish(message)
        (told,) = await replica.answers(1)
    assert isinstance(told, ImageGenerated)
    assert (await blobs.get(key)).data == noise(1)
    assert (told.key, told.sha256) == (key, hashlib.sha256(noise(1)).hexdigest())


async def test_the_first_outcome_of_an_image_stands(tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs) -> None:
    released = asyncio.Event()
    server.answers.append(when(released, picture(png())))
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as replica:
        await replica.bus.publish(message)
        await eventually(lambda: server.calls == 1)
        request = message.event
        assert isinstance(request, ImageRequested)
        ids = request.model_dump(include={"campaign_id", "slot_id", "attempt", "image_id"})
        failed = ImageFailed(**ids, reason=FailureReason.TIMEOUT, detail="another replica's")
        await blobs.put(record_key(request.image_id), failed.model_dump_json().encode())
        released.set()
        assert await replica.answers(1) == [failed]
    assert not blobs.holds(f"images/{request.image_id}/original.png")  # nobody would ever ask for it


async def test_another_attempt_is_another_picture(tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs) -> None:
    slot = uuid4()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested(slot, attempt=1))
        await generator.bus.publish(requested(slot, attempt=2))
        first, second = await generator.answers(2)
    assert server.calls == 2
    assert isinstance(first, ImageGenerated)
    assert isinstance(second, ImageGenerated)
    assert first.key != second.key


@pytest.mark.parametrize(
    "trouble",
    [
        problem(429, "rate_limit_exceeded"),
        problem(429, "rate_limit_exceeded", retry_after="0.01"),
        problem(429, "rate_limit_exceeded", retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
        problem(500, "server_error"),
        problem(503, "overloaded"),
    ],
    ids=["429", "429-seconds", "429-date", "500", "503"],
)
async def test_passing_trouble_is_tried_again_and_the_tries_are_counted(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, trouble: Answer
) -> None:
    server.answers.extend([trouble, trouble])
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.quality["provider_calls"] == server.calls == 3
    assert event.cost_usd == PRICE  # what failed costs nothing


async def test_the_time_that_the_server_asks_for_is_waited(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.answers.append(problem(429, "rate_limit_exceeded", retry_after="0.15"))
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        await generator.answers(1)
    assert server.times[1] - server.times[0] >= 0.15


@pytest.mark.parametrize(
    ("answer", "reason", "calls"),
    [
        (problem(429, "rate_limit_exceeded", retry_after="3601"), FailureReason.RATE_LIMITED, 1),
        (problem(429, "insufficient_quota", type="insufficient_quota"), FailureReason.QUOTA_EXHAUSTED, 1),
        (problem(429, None, type="insufficient_quota"), FailureReason.QUOTA_EXHAUSTED, 1),
        (problem(400, "billing_hard_limit_reached"), FailureReason.QUOTA_EXHAUSTED, 1),
        (problem(400, "moderation_blocked"), FailureReason.MODERATION_BLOCKED, WORDINGS),
        (problem(400, "content_policy_violation"), FailureReason.MODERATION_BLOCKED, WORDINGS),
        (problem(400, "invalid_size"), FailureReason.INVALID_REQUEST, 1),
        (problem(401, "invalid_api_key"), FailureReason.KEY_REJECTED, 1),
        (problem(402, None), FailureReason.QUOTA_EXHAUSTED, 1),
        (problem(403, "organization_must_be_verified"), FailureReason.PERMISSION_DENIED, 1),
        (problem(404, "model_not_found"), FailureReason.MODEL_UNAVAILABLE, 1),
        (problem(400, "invalid_value", param="model"), FailureReason.MODEL_UNAVAILABLE, 1),
        *(
            (problem(status, "invalid_value", param=name), FailureReason.SETTINGS_REFUSED, 1)
            for name in ("size", "quality", "background", "output_format", "n")
            for status in (400, 422)
        ),
        (problem(400, "unknown_parameter"), FailureReason.SETTINGS_REFUSED, 1),
        (problem(400, "invalid_value", param="prompt"), FailureReason.INVALID_REQUEST, 1),
        (problem(400, "moderation_blocked", param="size"), FailureReason.MODERATION_BLOCKED, WORDINGS),
        (problem(500, "server_error"), FailureReason.PROVIDER_ERROR, TRIES),
        (problem(503, "overloaded"), FailureReason.PROVIDER_ERROR, TRIES),
    ],
)
async def test_each_lasting_trouble_has_its_reason_and_a_bounded_number_of_calls(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, answer: Answer, reason: FailureReason, calls: int
) -> None:
    server.otherwise = answer
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
        assert not await generator.bus.dead_letters()
    assert isinstance(event, ImageFailed)
    assert event.reason is reason
    assert event.image_id == image_id_of(message)
    assert event.detail
    assert (event.cost_usd, event.unknown_calls) == (0, 0)
    assert server.calls == calls


UNKNOWN = [
    (billed(silence), FailureReason.TIMEOUT),
    (billed(trickle), FailureReason.TIMEOUT),  # no read of it takes long
    (billed(reset), FailureReason.PROVIDER_ERROR),
    (billed(cut), FailureReason.PROVIDER_ERROR),
    (billed(gateway_error(502)), FailureReason.PROVIDER_ERROR),
    (billed(gateway_error(503)), FailureReason.PROVIDER_ERROR),
    (billed(gateway_error(504)), FailureReason.PROVIDER_ERROR),
    (billed(problem(504, "upstream_timeout")), FailureReason.PROVIDER_ERROR),
    (billed(problem(520, None)), FailureReason.PROVIDER_ERROR),
]
_UNKNOWN_NAMES = ["silence", "trickle", "reset", "cut", "502", "503-html", "504", "504-json", "520"]


@pytest.mark.parametrize(("answer", "reason"), UNKNOWN, ids=_UNKNOWN_NAMES)
async def test_what_may_have_been_paid_is_booked_and_not_repeated(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, answer: Answer, reason: FailureReason
) -> None:
    server.otherwise = answer
    async with running(tmp_path, blobs, provider_for(server, timeout_s=0.5)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
        assert generator.metric("evenskin_provider_unknown_requests_total", provider="openai") == 1
    assert isinstance(event, ImageFailed)
    assert event.reason is reason
    assert server.calls == len(server.bill) == event.unknown_calls == 1
    assert event.cost_usd == PRICE


async def test_what_may_have_been_paid_after_a_refusal_ends_the_attempt_too(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.answers.extend([problem(429, "rate_limit_exceeded"), billed(gateway_error(504))])
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert (server.calls, event.unknown_calls, event.cost_usd) == (2, 1, PRICE)


async def test_a_picture_that_comes_after_the_client_s_patience_is_booked(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    released = asyncio.Event()
    late = when(released, document({"data": []}))
    server.answers.append(billed(late))
    message = requested()
    async with running(tmp_path, blobs, provider_for(server, timeout_s=0.5)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
        released.set()
    assert isinstance(event, ImageFailed)
    assert (event.reason, event.unknown_calls, event.cost_usd) == (FailureReason.TIMEOUT, 1, PRICE)
    assert len(server.bill) == 1


async def test_a_server_that_cannot_be_reached_costs_nothing(tmp_path: Path, blobs: FlakyBlobs) -> None:
    async with openai_server(picture(png())) as gone:
        pass
    async with running(tmp_path, blobs, provider_for(gone)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
        assert generator.metric("evenskin_provider_requests_total", provider="openai") == TRIES_TO_REACH
    assert isinstance(event, ImageFailed)
    assert (event.reason, event.cost_usd, event.unknown_calls) == (FailureReason.PROVIDER_UNREACHABLE, 0, 0)
    assert event.reason in ACCOUNT_FAILURES
    assert gone.url.split("/")[2] in event.detail
    assert "OPENAI_BASE_URL" in event.detail


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:{port}/v1", "http://no-such-host.invalid/v1"], ids=["no-tls", "no-name"]
)
async def test_a_server_that_is_not_there_as_the_settings_say_costs_nothing(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, url: str
) -> None:
    message = requested()
    wrong = replace(server, url=url.format(port=server.url.split("/")[2].partition(":")[2]))
    async with running(tmp_path, blobs, provider_for(wrong)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert (event.reason, event.cost_usd, event.unknown_calls) == (FailureReason.PROVIDER_UNREACHABLE, 0, 0)
    assert not blobs.holds(record_key(image_id_of(message)))  # once the settings are mended, it is made


async def test_a_server_that_is_away_for_a_moment_is_waited_for(tmp_path: Path, blobs: FlakyBlobs) -> None:
    async with openai_server(picture(png())) as gone:
        port = int(gone.url.split("/")[2].partition(":")[2])
    async with running(tmp_path, blobs, provider_for(gone, first_wait_s=0.2)) as generator:
        await generator.bus.publish(requested())
        await eventually(lambda: generator.metric("evenskin_provider_requests_total", provider="openai") >= 2)
        async with openai_server(picture(png()), port=port):
            (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)


@pytest.mark.parametrize(("name", "setting"), [("size", "EVENSKIN_IMAGE_SIZE"), ("quality", "EVENSKIN_IMAGE_QUALITY")])
async def test_a_setting_that_is_refused_is_named(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, name: str, setting: str
) -> None:
    server.otherwise = problem(400, "invalid_value", param=name)
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert event.detail.endswith(f" Set {setting}.")


async def test_a_key_that_no_header_holds_is_the_account_s_failure(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    for key in ("sk-größe", "sk-one\nsk-two"):
        async with running(tmp_path, blobs, provider_for(server, key=key)) as generator:
            await generator.bus.publish(requested())
            (event,) = await generator.answers(1)
        assert isinstance(event, ImageFailed)
        assert (event.reason, event.cost_usd) == (FailureReason.KEY_REJECTED, 0)
    assert server.calls == 0


async def test_what_the_account_is_to_blame_for_is_asked_for_again_and_told_each_time(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.answers.extend([problem(401, "invalid_api_key")] * 2)
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        for count, again in enumerate((message, replace(message, id="again"), replace(message, id="mended")), 1):
            await generator.bus.publish(again)
            await generator.answers(count)
        first, second, third = generator.said
    assert isinstance(first.event, ImageFailed)
    assert first.event.reason in ACCOUNT_FAILURES
    assert second.event == first.event
    assert second.id != first.id  # or the ledger, which takes each message once, would never hear it
    assert isinstance(third.event, ImageGenerated)
    assert server.calls == 3


@pytest.mark.parametrize("seed", range(6))
async def test_the_bill_is_never_above_what_is_told(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, seed: int
) -> None:
    """Any mixture of answers: what is told is what was billed, and at most the unknown outcomes more."""
    random = Random(seed)
    free = [problem(429, "rate_limit_exceeded"), problem(500, "server_error"), problem(400, "moderation_blocked")]
    doubtful = [billed(cut), billed(gateway_error(502)), gateway_error(504), reset]
    paid = [picture(png()), billed(document({"data": []}))]
    server.answers.extend(random.choice(random.choice([free, doubtful, paid])) for _ in range(30))
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        for _ in range(12):
            await generator.bus.publish(requested())
        events = await generator.answers(12)
    outcomes = [event for event in events if isinstance(event, ImageGenerated | ImageFailed)]
    told = sum(event.cost_usd for event in outcomes)
    unknown = sum(event.unknown_calls for event in outcomes if isinstance(event, ImageFailed))
    billed_usd = len(server.bill) * PRICE
    assert billed_usd <= told + 1e-9
    assert told <= billed_usd + unknown * PRICE + 1e-9
    assert all(event.cost_usd in (0, PRICE) for event in outcomes)


async def test_a_wrong_key_is_told_without_the_key(tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs) -> None:
    async with running(tmp_path, blobs, provider_for(server, key="sk-wrong-and-secret")) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert event.reason is FailureReason.KEY_REJECTED
    assert "401" in event.detail
    assert "sk-wrong-and-secret" not in event.model_dump_json()
    assert server.calls == 1


@pytest.mark.parametrize(
    "answer",
    [
        document({"created": 1, "data": []}),
        document({"created": 1}),
        document({"created": 1, "data": [{"url": "http://127.0.0.1/elsewhere.png"}]}),
        document({"created": 1, "data": [{"b64_json": "%%% no base64 %%%"}]}),
        document({"created": 1, "data": [{"b64_json": "größer"}]}),
        document({"created": 1, "data": [{"b64_json": 17}]}),
        document({"created": 1, "data": "none"}),
        document({"created": 1, "data": [None]}),
        document([]),
        document(None),
        text("<html>maintenance</html>", "text/html"),
        text('{"created": 1, "data": [{', "application/json"),
        text("", "application/json"),
        picture(b"these bytes are no picture"),
        picture(b""),
        picture(png()[:20]),
    ],
)
async def test_an_answer_without_a_picture_was_paid_and_is_not_asked_for_again(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, answer: Answer
) -> None:
    server.otherwise = answer
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert event.reason is FailureReason.INVALID_RESPONSE
    assert event.cost_usd == PRICE
    assert server.calls == 1


async def test_what_is_paid_is_kept_until_the_store_takes_it(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "STORE_RETRY_S", 0.01)
    message = requested()
    blobs.full = True
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        await eventually(lambda: blobs.refused >= 3)
        await generator.bus.publish(message)  # the broker lost patience and delivers it again
        assert not generator.said
        blobs.full = False
        events = await generator.answers(2)
        assert not await generator.bus.dead_letters()
    assert server.calls == 1
    assert all(isinstance(event, ImageGenerated) for event in events)
    assert unmarked((await blobs.get(f"images/{image_id_of(message)}/original.png")).data) == png()


async def test_nothing_is_paid_while_the_store_is_down_and_waiting_for_it_uses_up_no_try(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    async with running(tmp_path, blobs, provider_for(server), max_tries=2) as generator:
        blobs.down = True
        await generator.bus.publish(requested())
        await eventually(lambda: generator.handled("retried") >= 5)
        assert server.calls == 0
        assert not await generator.bus.dead_letters()
        blobs.down = False
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert server.calls == 1


async def test_a_delivery_that_is_taken_away_does_not_lose_the_picture(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    released = asyncio.Event()
    server.otherwise = when(released, picture(png()))
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        await eventually(lambda: server.calls)
        await generator.bus.drain(0)  # as where the connection to the broker is lost: the delivery is cancelled
        released.set()
        await eventually(lambda: blobs.holds(record_key(image_id_of(message))))
        assert not generator.said
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert server.calls == 1


async def test_a_stop_keeps_what_is_being_paid_for_and_pays_for_nothing_more(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "CLOSING_S", LIMIT_S)
    released = asyncio.Event()
    server.otherwise = when(released, picture(png()))
    messages = [requested(), requested()]  # whichever comes first: the other one's turn comes after that limit
    provider = provider_for(server, images_per_minute=60 / (2 * LIMIT_S))
    async with running(tmp_path, blobs, provider, drain_s=0) as generator:
        for message in messages:
            await generator.bus.publish(message)
        await eventually(lambda: server.calls)
        asyncio.get_running_loop().call_later(0.05, released.set)
    assert sum(blobs.holds(record_key(image_id_of(message))) for message in messages) == 1
    assert server.calls == 1


async def test_a_stop_does_not_wait_for_ever(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "CLOSING_S", 0.02)
    server.otherwise = silence
    async with asyncio.timeout(LIMIT_S):
        async with running(tmp_path, blobs, provider_for(server), drain_s=0) as generator:
            await generator.bus.publish(requested())
            await eventually(lambda: server.calls)


@pytest.mark.parametrize("price_usd", [PRICE - 0.000001, 0.0])
async def test_no_more_is_paid_than_the_ledger_reckons_with(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, price_usd: float
) -> None:
    message = requested(price_usd=price_usd)
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert event.reason is FailureReason.PRICE_EXCEEDED
    assert event.reason in ACCOUNT_FAILURES
    assert "EVENSKIN_IMAGE_PRICE_USD" in event.detail
    assert (event.cost_usd, server.calls) == (0, 0)
    assert not blobs.holds(record_key(image_id_of(message)))  # once the settings are mended, it is made


@pytest.mark.parametrize("price_usd", [None, PRICE, PRICE - 1e-9, 1.0])
async def test_what_the_ledger_reckons_with_is_paid_at_the_generator_s_price(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, price_usd: float | None
) -> None:
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested(price_usd=price_usd))
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.cost_usd == PRICE


@pytest.mark.parametrize(
    ("asked", "own", "sent"), [("high", None, "high"), ("high", "low", "high"), (None, "low", "low")]
)
async def test_the_quality_that_is_asked_for_is_sent(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, asked: str | None, own: str | None, sent: str
) -> None:
    async with running(tmp_path, blobs, provider_for(server, quality=own)) as generator:
        await generator.bus.publish(requested(quality=asked))
        await generator.answers(1)
    assert [request["quality"] for request in server.requests] == [sent]


@pytest.mark.parametrize(
    ("usage", "cost_usd"),
    [
        ({"input_tokens": 200, "output_tokens": 4000, "total_tokens": 4200}, 200 * 5e-6 + 4000 * 40e-6),
        ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, 0.0),
        ({"input_tokens": 200}, PRICE),
        ({"input_tokens": 200, "output_tokens": -1}, PRICE),
        ({"input_tokens": 200, "output_tokens": 10**400}, PRICE),
        ({"input_tokens": "many", "output_tokens": "more"}, PRICE),
        ("none", PRICE),
        (None, PRICE),
    ],
)
async def test_the_tokens_that_an_answer_tells_of_decide_what_it_cost_where_their_prices_are_known(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, usage: object, cost_usd: float
) -> None:
    data = base64.b64encode(png()).decode()
    server.otherwise = document({"created": 1, "data": [{"b64_json": data}], "usage": usage})
    prices = TokenPrices(input_usd=5.0, output_usd=40.0)
    async with running(tmp_path, blobs, provider_for(server, token_prices=prices)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.cost_usd == pytest.approx(cost_usd)


async def test_a_request_whose_outcome_is_unknown_is_booked_at_what_its_like_has_cost(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    data = base64.b64encode(png()).decode()
    usage = {"input_tokens": 0, "output_tokens": 2000}
    server.otherwise = document({"created": 1, "data": [{"b64_json": data}], "usage": usage})
    prices = TokenPrices(input_usd=5.0, output_usd=40.0)
    async with running(tmp_path, blobs, provider_for(server, token_prices=prices)) as generator:
        await generator.bus.publish(requested(price_usd=1.0))
        await generator.answers(1)
        server.otherwise = reset
        await generator.bus.publish(requested(price_usd=1.0))
        _, event = await generator.answers(2)
    assert isinstance(event, ImageFailed)
    assert event.unknown_calls == 1
    assert event.cost_usd == pytest.approx(2000 * 40e-6)
    assert event.cost_usd > PRICE


async def test_without_prices_of_tokens_the_price_stands(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    data = base64.b64encode(png()).decode()
    usage = {"input_tokens": 200, "output_tokens": 4000, "total_tokens": 4200}
    server.otherwise = document({"created": 1, "data": [{"b64_json": data}], "usage": usage})
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.cost_usd == PRICE


async def test_a_stop_under_load_waits_for_what_is_paid_for_and_starts_nothing_more(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    released = asyncio.Event()
    server.otherwise = when(released, picture(png()))
    async with running(tmp_path, blobs, provider_for(server, images_per_minute=60 / 0.4)) as generator:
        for _ in range(30):
            await generator.bus.publish(requested())
        await eventually(lambda: server.calls >= 3)
        draining = asyncio.create_task(generator.service.drain())
        await eventually(lambda: generator.handled("retried"))  # those whose turn had not come go back at once
        released.set()
        await draining
        begun = server.calls
        assert 3 <= begun < 8  # of those in hand

        async def depth_is(count: int) -> bool:
            return await generator.bus.depth("generator.ImageRequested") == count

        await eventually(lambda: depth_is(30 - begun))
        assert generator.metric("evenskin_events_published_total", event="ImageGenerated") == begun
    assert len(server.bill) == begun
    assert len([info async for info in blobs.list("images/") if info.key.endswith("/generation.json")]) == begun


async def test_a_stop_while_another_request_is_waited_for_sends_none_and_owes_nothing(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.otherwise = problem(429, "rate_limit_exceeded", retry_after="50")
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        await eventually(lambda: server.calls)
    assert await generator.bus.depth("generator.ImageRequested") == 1
    assert server.calls == 1
    server.otherwise = picture(png())
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.cost_usd == PRICE


async def test_a_picture_under_way_has_the_generator_s_own_drain_where_its_bus_had_less(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "CLOSING_S", 0.0)
    released = asyncio.Event()
    server.otherwise = when(released, picture(png()))
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        await eventually(lambda: server.calls)
        generator.service.begin_drain()
        await generator.bus.drain(0)  # as where all services share one process and one bus
        asyncio.get_running_loop().call_later(0.05, released.set)
    assert blobs.holds(record_key(image_id_of(message)))


async def test_every_call_keeps_the_pace_repeated_ones_too(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    interval_s = 0.03
    server.answers.extend([problem(500, "server_error")] * 3)
    began = asyncio.get_running_loop().time()
    async with running(tmp_path, blobs, provider_for(server, images_per_minute=60 / interval_s)) as generator:
        for _ in range(4):
            await generator.bus.publish(requested())
        await generator.answers(4)
    assert server.calls == 7
    assert server.times[-1] - began >= (server.calls - 1) * interval_s - 0.001


async def test_the_record_says_what_was_said(tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs) -> None:
    message = requested()
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    record = json.loads((await blobs.get(record_key(image_id_of(message)))).data)
    assert record == event.model_dump(mode="json")


async def test_the_procedural_provider_draws_the_same_picture_for_the_same_image(tmp_path: Path) -> None:
    message = requested()
    drawn = []
    for attempt in range(2):
        blobs = DirectoryBlobs(tmp_path / f"store{attempt}")
        async with running(tmp_path, blobs, ProceduralProvider(processes=1)) as generator:
            await generator.bus.publish(message)
            (event,) = await generator.answers(1)
        assert isinstance(event, ImageGenerated)
        assert (event.provider, event.cost_usd, event.width, event.height) == ("procedural", 0, 512, 512)
        drawn.append((await blobs.get(event.key)).data)
    assert drawn[0] == drawn[1]
    marks = marks_of(open_checked(drawn[0]).parts)
    assert marks is not None
    assert (marks.source_type, marks.model) == ("algorithmicMedia", "evenskin-procedural-1")


async def test_the_procedural_provider_draws_clear_skin(tmp_path: Path, blobs: FlakyBlobs) -> None:
    message = requested()
    clear = message.event.model_copy(update={"condition": CLEAR, "severity": None})
    async with running(tmp_path, blobs, ProceduralProvider(processes=1)) as generator:
        await generator.bus.publish(replace(message, event=clear))
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    kept, bare = (await blobs.get(event.key)).data, draw({}, SUBJECT, seed_of(event.image_id), 512)
    assert Image.open(io.BytesIO(kept)).tobytes() == Image.open(io.BytesIO(bare)).tobytes()


@pytest.mark.parametrize(("condition", "severity"), [("clear", 1), ("acne", None)])
def test_a_condition_has_a_severity_and_clear_skin_has_none(condition: str, severity: int | None) -> None:
    data = requested().event.model_dump() | {"condition": condition, "severity": severity}
    with pytest.raises(ValidationError, match="clear skin has none"):
        ImageRequested.model_validate(data)


def test_openai_without_a_key_is_a_mistake_of_the_settings(blobs: FlakyBlobs) -> None:
    settings = GeneratorSettings.load(provider="openai", openai_api_key=None)
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as caught:
        open_provider(settings, blobs)
    assert "procedural" in caught.value.advice


@pytest.mark.parametrize(
    "url", ["", "localhost:8000/v1", "ftp://host/v1", "http:///v1", "http://host:99999/v1", "http://[host/v1"]
)
def test_a_base_url_that_is_none_is_a_mistake_of_the_settings(url: str, blobs: FlakyBlobs) -> None:
    settings = GeneratorSettings.load(provider="openai", openai_api_key="sk-test", openai_base_url=url)
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL"):
        open_provider(settings, blobs)


async def test_the_settings_choose_the_provider(tmp_path: Path, blobs: FlakyBlobs) -> None:
    settings: dict[str, dict[str, Any]] = {
        "procedural": {},
        "openai": {"openai_api_key": "sk-test"},
        "folder": {"picture_folder": tmp_path},
    }
    for name, extra in settings.items():
        provider = open_provider(GeneratorSettings.load(provider=name, **extra), blobs)
        assert provider.name == name
        await provider.close()


def test_the_process_without_a_key_ends_with_status_2_and_one_error(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EVENSKIN", "OPENAI"))}
    environment |= {"PYTHONPATH": str(REPOSITORY), "EVENSKIN_PROVIDER": "openai", "EVENSKIN_PORT": "0"}
    with contextlib.chdir(tmp_path):
        ended = subprocess.run(
            [sys.executable, "-m", "services.generator"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error[configuration_error]: ")
    assert "OPENAI_API_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout
