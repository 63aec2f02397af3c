"""What labeler-api says to requests that no client of ours sends: a problem, never a 500, on both databases."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
from backports import zstd

from tests.fakes.pictures import png
from tests.integration.labeler_api.support import Labeler, labeler
from tests.integration.odd_requests import (
    FORM,
    JSON,
    LONE_SURROGATE,
    ODD_KEYS,
    ODD_SEGMENTS,
    ODD_TEXTS,
    assert_codings_and_expectations,
    form,
    send,
)
from tests.unit.model_server.tiny_model import put_model

ODD_BODIES = (
    b"1" * 5000,
    b'{"a": ' * 5000,
    b'{"a": NaN}',
    b'{"a": 1e400}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0",
    b"[]",
)


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS.keys())
async def test_text_that_cannot_be_kept_is_refused(both: Labeler, text: bytes) -> None:
    (image,) = await both.imported(1, condition="acne")
    await put_model(both.blobs, "v1", live=False)
    review = b'"verdict": "rejected", "reviewer": "r"'
    for path, body in (
        ("/v1/rebalances", b'{"target_per_condition": 1, "conditions": ["%b"]}'),
        ("/v1/rebalances", b'{"targets": {"%b": 1}}'),
        ("/v1/rebalances", b'{"target_per_condition": 0, "%b": 1}'),
        ("/v1/rebalances", b'{"target_per_condition": 0, "review": "%b"}'),
        ("/v1/rebalances", b'{"target_per_condition": 0, "campaign_id": "%b"}'),
        (f"/v1/images/{image}/reviews", b'{"verdict": "rejected", "reviewer": "%b"}'),
        (f"/v1/images/{image}/reviews", b'{"reason": "%b", ' + review + b"}"),
        (f"/v1/images/{image}/reviews", b'{"labels": {"%b": 1}, ' + review + b"}"),
        (f"/v1/images/{image}/reviews", b'{"labels": {"acne": "%b"}, ' + review + b"}"),
        ("/v1/reviews/undo", b'{"reviewer": "%b"}'),
        ("/v1/models/v1/promotions", b'{"reason": "%b"}'),
        ("/v1/dead-letters/replay", b'{"queue": "%b"}'),
    ):
        answer = await send(both.service.port or 0, "POST", path, JSON, body=body.replace(b"%b", text))
        assert answer.is_refusal(), (path, body, answer)
    for fields in ({"labels": b'{"%b": 1}'}, {"labels": b'{"acne": "%b"}'}, {"condition": b"%b"}):
        filled = {name: value.replace(b"%b", text) for name, value in fields.items()}
        answer = await send(both.service.port or 0, "POST", "/v1/images", FORM, body=form(file=png(2), **filled))
        assert answer.is_refusal(), (fields, answer)
    assert [image["status"] for image in await both.images()] == ["accepted"]


async def test_a_review_of_what_is_no_id_has_its_own_result(one: Labeler) -> None:
    body = b'{"reviews": [{"image_id": "' + LONE_SURROGATE + b'"}]}'
    assert (await send(one.service.port or 0, "POST", "/v1/reviews", JSON, body=body)).is_refusal()
    body = rb'{"reviews": [{"image_id": "\u0000"}, {"image_id": 1e300}, {"image_id": [[]]}]}'
    assert (await send(one.service.port or 0, "POST", "/v1/reviews", JSON, body=body)).status == 207


@pytest.mark.parametrize("segment", ODD_SEGMENTS)
async def test_odd_paths_and_queries_find_nothing(both: Labeler, segment: str) -> None:
    paths = (
        "/v1/datasets/{}",
        "/v1/images/{}",
        "/v1/images/{}/content",
        "/v1/rebalances/{}",
        "/v1/rebalances/{}/stream",
    )
    queries = (
        *(f"/v1/images?{name}={{}}" for name in ("status", "condition", "cursor", "limit")),
        "/v1/images?condition=acne&severity={}",
        "/v1/export?format={}",
        "/v1/dead-letters?queue={}",
        *(f"/v1/plan?target_per_condition=1&{name}={{}}" for name in ("conditions", "max_attempts")),
        "/v1/plan?target_per_condition={}",
        "/v1/plan?targets={}:1",
        "/v1/plan?targets=acne:{}",
    )
    for path in (*paths, *queries, "/static/{}", "/v1/{}"):
        answer = await send(both.service.port or 0, "GET", path.format(segment))
        assert answer.is_refusal(), (path, answer)
    for path in ("/v1/models/{}/promotions", "/v1/images/{}/reviews"):
        answer = await send(both.service.port or 0, "POST", path.format(segment), JSON, body=b"{}")
        assert answer.is_refusal(), (path, answer)


async def test_bodies_that_are_no_json_objects_are_refused(one: Labeler) -> None:
    for path in ("/v1/rebalances", "/v1/reviews", "/v1/reviews/undo"):
        for body in ODD_BODIES:
            answer = await send(one.service.port or 0, "POST", path, JSON, body=body)
            assert answer.is_refusal(), (path, body[:20], answer)


@pytest.mark.parametrize("encoding", ["identity", "gzip", "GZIP", "x-gzip", "deflate", "br", "zstd"])
async def test_bodies_may_be_compressed(one: Labeler, encoding: str) -> None:
    encode: dict[str, Callable[[bytes], bytes]] = {
        "identity": bytes,
        "gzip": gzip.compress,
        "x-gzip": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),  # RFC 1952 allows members
        "deflate": zlib.compress,
        "br": brotli.compress,
        "zstd": zstd.compress,
    }
    body = encode[encoding.lower()](b'{"target_per_condition": 0, "review": "manual"}')
    kind = b"Content-Encoding: " + encoding.encode()
    answer = await send(one.service.port or 0, "POST", "/v1/rebalances", JSON, kind, body=body)
    assert (answer.status, json.loads(answer.body)["review"]) == (202, "manual")
    body = encode[encoding.lower()](form(file=png(3), condition=b"acne"))
    answer = await send(one.service.port or 0, "POST", "/v1/images", FORM, kind, body=body)
    assert (answer.status, json.loads(answer.body)["labels"]) == (201, {"acne": None})


async def test_codings_and_expectations_that_are_not_known_are_refused(one: Labeler) -> None:
    await assert_codings_and_expectations(one.service.port or 0, "/v1/rebalances", JSON)
    await assert_codings_and_expectations(one.service.port or 0, "/v1/images", FORM)


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip", b"deflate", b"br", b"zstd"])
async def test_damaged_encodings_are_refused(
    one: Labeler, encoding: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off = gzip.compress(b"{}" * 100)[:-9]
    for path, kind in (("/v1/rebalances", JSON), ("/v1/reviews", JSON), ("/v1/images", FORM)):
        coding = b"Content-Encoding: " + encoding
        answer = await send(one.service.port or 0, "POST", path, kind, coding, body=b"not compressed")
        assert (answer.status, answer.is_refusal()) == (400, True), (path, answer)
        assert json.loads(answer.body)["code"] == "body_damaged"
        answer = await send(one.service.port or 0, "POST", path, kind, coding, body=cut_off)
        assert answer.is_refusal(), (path, answer)
    assert "Traceback" not in caplog.text + capsys.readouterr().out


async def test_a_small_gzip_of_a_large_body_is_refused(one: Labeler) -> None:
    body = gzip.compress(bytes(64 * 1024 * 1024))
    for path, kind in (("/v1/rebalances", JSON), ("/v1/images", FORM)):
        answer = await send(one.service.port or 0, "POST", path, kind, b"Content-Encoding: x-gzip", body=body)
        assert (answer.status, answer.is_refusal()) == (413, True), (path, answer)


async def test_odd_charsets_are_refused(one: Labeler) -> None:
    for charset in (b"bogus", b"hex", b"utf-16", b"utf-7", b"undefined", b"\xff"):
        kind = b"Content-Type: application/json; charset=" + charset
        answer = await send(one.service.port or 0, "POST", "/v1/rebalances", kind, body=b'{"a": "+2AA-"}')
        assert answer.is_refusal(), (charset, answer)


async def test_a_key_that_is_no_unicode_is_a_wrong_one(tmp_path: Path) -> None:
    async with labeler(tmp_path, api_key="secret") as running:
        for header in ODD_KEYS:
            answer = await send(running.service.port or 0, "GET", "/v1/balance", header)
            assert (answer.status, answer.is_refusal()) == (401, True), header
