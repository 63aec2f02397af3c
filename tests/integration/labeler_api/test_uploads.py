"""Uploads: good ones are kept once, bad ones are refused with their code and leave nothing behind."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from PIL import Image

from shared.errors import StoreFull, StoreUnavailable
from shared.imaging import MAX_BYTES, STAND_IN_COMMENT, decode, open_checked, stand_in_mark
from shared.pictures.provenance import Marks, SourceType, marks_of, with_marks
from shared.taxonomy import imported_image_id
from tests.eventually import eventually
from tests.fakes.pictures import encoded, noise, png
from tests.fakes.together import Together
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Labeler, labeler
from tests.unit.shared.middle_square import square

GOOD = png(1)


def moving(format: str) -> bytes:
    """A picture of two frames."""
    buffer = io.BytesIO()
    noise(1).save(buffer, format, save_all=True, append_images=[noise(2)])
    return buffer.getvalue()


def huge() -> bytes:
    """A PNG that says it has 100 megapixels, in a few bytes."""
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def tall() -> Image.Image:
    """A picture that could be looked at in a smaller scale, but not flipped."""
    return Image.new("L", (1000, 50_001))


async def nothing_is_left(labeler: Labeler) -> None:
    """Neither a file nor a row."""
    assert labeler.blobs.files() == []
    for table in ("images", "image_labels", "image_bands", "outbox", "counters"):
        assert await labeler.rows(table) == [], table


BAD_PICTURES: list[tuple[str, Callable[[], bytes], int, str]] = [
    ("empty", lambda: b"", 422, "image_empty"),
    ("text", lambda: b"This is not a picture.", 415, "image_unsupported"),
    ("avif of two frames", lambda: moving("AVIF"), 415, "image_animated"),
    ("jpeg of more pixels than others decode", lambda: encoded(tall(), "JPEG"), 422, "image_too_many_pixels"),
    ("gif", lambda: moving("GIF"), 415, "image_unsupported"),
    ("webp of two frames", lambda: moving("WEBP"), 415, "image_animated"),
    ("png of two frames", lambda: moving("PNG"), 415, "image_animated"),
    ("truncated png", lambda: GOOD[: len(GOOD) // 2], 422, "image_broken"),
    ("truncated jpeg", lambda: encoded(noise(1), "JPEG")[:5000], 422, "image_broken"),
    ("damaged png", lambda: GOOD[:60] + b"\xff" * 200 + GOOD[260:], 422, "image_broken"),
    ("small", lambda: encoded(noise(1, 63, 300)), 422, "image_too_small"),
    ("too many pixels", huge, 422, "image_too_many_pixels"),
    ("too many bytes", lambda: b"\x89PNG" + bytes(MAX_BYTES), 413, "image_too_large"),
]

BAD_FIELDS: list[tuple[dict[str, str], str]] = [
    ({}, "invalid_request"),
    ({"condition": "freckles"}, "unknown_condition"),
    ({"condition": ""}, "unknown_condition"),
    ({"condition": "acne", "severity": "deadly"}, "unknown_severity"),
    ({"condition": "acne", "severity": "0"}, "unknown_severity"),
    ({"severity": "mild"}, "invalid_request"),
    ({"condition": "acne", "labels": "{}"}, "invalid_request"),
    ({"labels": "{}", "severity": "mild"}, "invalid_request"),
    ({"labels": "acne"}, "invalid_request"),
    ({"labels": "[]"}, "invalid_request"),
    ({"labels": "[" * 16_000}, "invalid_request"),
    ({"labels": '{"acne": {"mild": 1}}'}, "unknown_severity"),
    ({"labels": '{"freckles": "mild"}'}, "unknown_condition"),
    ({"labels": '{"acne": 4}'}, "unknown_severity"),
    ({"labels": "{}" + " " * 20_000}, "invalid_request"),
    ({"condition": "acne", "skin_tone": "0"}, "invalid_request"),
    ({"condition": "acne", "skin_tone": "11"}, "invalid_request"),
    ({"condition": "acne", "skin_tone": "dark"}, "invalid_request"),
    ({"condition": "acne", "skin_tone": "1" * 6000}, "invalid_request"),
    ({"condition": "acne", "complete": "maybe"}, "invalid_request"),
    ({"condition": "acne", "colour": "red"}, "invalid_request"),
]


async def test_a_bad_upload_is_refused_and_leaves_nothing(both: Labeler) -> None:
    for name, picture, status, code in BAD_PICTURES:
        answer = await both.upload(picture(), condition="acne", severity="mild")
        assert (answer.status, answer.code) == (status, code), name
    for fields, code in BAD_FIELDS:
        answer = await both.upload(GOOD, **fields)
        assert (answer.status, answer.code) == (422, code), fields
    assert (await both.upload(None, condition="acne")).code == "invalid_request"
    await nothing_is_left(both)
    assert (await both.upload(GOOD, condition="acne")).status == 201  # and the service is up


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b""),
        ("multipart/form-data", b"--x\r\n\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"no boundary in here"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhalf of'),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"'),
        ("multipart/form-data; boundary=x", b"--x\r\nrubbish\r\n\r\nmore\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nnameless\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\ninner\r\n--y--\r\n--x--\r\n",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="condition"\r\n\r\nacne\r\n' * 2 + b"--x--\r\n",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
            b"!!!!\r\n--x--\r\n",
        ),
    ],
)
async def test_a_malformed_form_is_refused(one: Labeler, content_type: str, body: bytes) -> None:
    answer = await one.call("POST", "/v1/images", data=body, headers={"Content-Type": content_type})
    assert answer.status == 422
    assert answer.code in ("invalid_request", "image_empty")
    await nothing_is_left(one)


async def test_a_picture_without_a_form_is_refused(one: Labeler) -> None:
    answer = await one.call("POST", "/v1/images", data=GOOD, headers={"Content-Type": "image/png"})
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
    await nothing_is_left(one)


async def test_the_same_bytes_are_one_image(both: Labeler) -> None:
    first = await both.upload(GOOD, condition="pores", severity="slight", skin_tone="7")
    again = await both.upload(GOOD, condition="pores", severity="slight")
    assert (first.status, again.status) == (201, 200)
    assert again.json["id"] == first.json["id"]
    assert again.json["labels"] == {"pore_size": "mild"}
    assert again.json["skin_tone"] == 7
    answers = await asyncio.gather(*(both.upload(png(2), labels='{"acne": null}', complete="false") for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    await both.settled()
    assert len(await both.images()) == 2
    assert [event.complete for event in both.augmenter.labeled] == [True, False]
    await assert_counters(both)


async def test_an_upload_is_stored_as_it_came(one: Labeler) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for data, key, media_type in [
        (encoded(noise(3), "JPEG", exif=exif), "original.jpg", "image/jpeg"),
        (encoded(noise(4), "WEBP", lossless=True), "original.webp", "image/webp"),
        (png(5), "original.png", "image/png"),
    ]:
        document = (await one.upload(data, labels="{}")).json
        assert (await one.blobs.get(f"images/{document['id']}/{key}")).data == data
        content = await one.call("GET", f"/v1/images/{document['id']}/content")
        assert (content.body, content.headers["Content-Type"]) == (data, media_type)


async def test_a_drawn_face_is_known_as_one_and_a_photograph_is_not(one: Labeler) -> None:
    drawn = encoded(noise(6), "JPEG", comment=STAND_IN_COMMENT)
    assert (await one.upload(drawn, labels="{}")).json["provider"] == "procedural"
    assert (await one.upload(encoded(noise(7), "JPEG"), labels="{}")).json["provider"] is None


async def test_sizes_are_as_displayed(one: Labeler) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(noise(3, 300, 400), "JPEG", exif=exif)
    document = (await one.upload(data, labels="{}")).json
    assert (document["width"], document["height"]) == (400, 300)
    thumbnail = await one.call("GET", f"/v1/images/{document['id']}/thumbnail")
    assert thumbnail.headers["Content-Type"] == "image/webp"
    assert Image.open(io.BytesIO(thumbnail.body)).size == (256, 192)


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
async def test_heic_and_avif_are_kept_as_a_jpeg_that_shows_the_same(one: Labeler, format: str) -> None:
    data = encoded(noise(3, 300, 400), format, quality=90)
    document = (await one.upload(data, condition="aging", severity="severe")).json
    assert document["media_type"] == "image/jpeg"
    content = await one.call("GET", f"/v1/images/{document['id']}/content")
    assert (await one.blobs.get(f"images/{document['id']}/original.jpg")).data == content.body
    stored, original = Image.open(io.BytesIO(content.body)), decode(data).image
    assert (stored.format, stored.size) == ("JPEG", (300, 400))
    assert len(content.body) < len(encoded(original, compress_level=9)) / 2
    assert np.abs(np.asarray(stored, dtype=int) - np.asarray(original, dtype=int)).mean() < 2
    assert np.abs(square(stored, 64).astype(int) - square(original, 64)).max() <= 3
    assert (await one.upload(data, condition="aging", severity="severe")).status == 200


async def test_what_a_heic_becomes_is_decided_once(both: Labeler) -> None:
    data = encoded(noise(3, 300, 400), "HEIF", quality=90)
    key = f"images/{imported_image_id(hashlib.sha256(data).hexdigest())}/original.jpg"
    earlier = encoded(decode(data).image, "JPEG", quality=60)  # as another release wrote it, and was killed
    await both.blobs.put(key, earlier)
    document = (await both.upload(data, condition="aging")).json
    assert document["sha256"] == hashlib.sha256(earlier).hexdigest()
    await both.settled()
    assert (await both.upload(data, condition="aging")).status == 200
    assert (await both.blobs.get(key)).data == earlier


async def test_what_a_heic_says_of_its_making_stays_told(one: Labeler) -> None:
    said = with_marks(encoded(noise(3), "JPEG"), "JPEG", Marks(SourceType.TRAINED, "a model"))
    xmp = open_checked(said).parts.xmp
    document = (await one.upload(encoded(noise(3), "HEIF", xmp=xmp), labels="{}")).json
    content = await one.call("GET", f"/v1/images/{document['id']}/content")
    assert marks_of(open_checked(content.body).parts) == Marks(SourceType.TRAINED, "a model")


async def test_a_drawn_face_that_comes_as_heic_stays_marked(one: Labeler) -> None:
    document = (await one.upload(encoded(noise(3), "HEIF", **stand_in_mark("WEBP")), labels="{}")).json
    assert document["provider"] == "procedural"
    content = await one.call("GET", f"/v1/images/{document['id']}/content")
    assert decode(content.body).is_stand_in


async def test_uploads_are_bounded_in_number(tmp_path: Path) -> None:
    async with labeler(tmp_path, max_uploads=2) as running:
        stalled = [await stalled_upload(running) for _ in range(2)]

        async def refused() -> bool:
            answer = await running.upload(GOOD, condition="acne")
            return answer.status == 503 and answer.code == "overloaded" and "Retry-After" in answer.headers

        await eventually(refused, "Two uploads in hand")
        for writer in stalled:
            writer.close()

        async def taken() -> bool:
            return (await running.upload(GOOD, condition="acne")).status in (200, 201)

        await eventually(taken, "A place")
        assert len(await running.images()) == 1


async def test_uploads_are_bounded_in_time(tmp_path: Path) -> None:
    async with labeler(tmp_path, max_uploads=1, upload_timeout_s=0.2) as running:
        writer = await stalled_upload(running)

        async def taken() -> bool:
            return (await running.upload(GOOD, condition="acne")).status == 201

        await eventually(taken, "The stalled one's place")
        writer.close()


async def stalled_upload(labeler: Labeler) -> asyncio.StreamWriter:
    """An upload that says it has more, and sends nothing."""
    _, writer = await asyncio.open_connection("127.0.0.1", labeler.service.port)
    head = 'POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary="x"\r\n'
    writer.write(head.encode() + b"Content-Length: 100000\r\n\r\n")
    writer.write(b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + GOOD[:5000])
    await writer.drain()
    return writer


async def test_large_pictures_are_looked_at_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = Together()
    for module in ("intake", "gate", "thumbnail"):
        monkeypatch.setattr(f"services.labeler_api.pictures.{module}.decode", at_once.watching(decode))
    async with labeler(tmp_path, decode_pixels=256 * 256) as running:
        campaign = asyncio.create_task(running.rebalance(targets={"aging": 3}))
        answers = await asyncio.gather(*(running.upload(png(seed), condition="acne") for seed in range(1, 4)))
        assert [answer.status for answer in answers] == [201] * 3
        paths = [f"/v1/images/{answer.json['id']}/thumbnail" for answer in answers]
        await asyncio.gather(*(running.call("GET", path) for path in paths))
        await running.reaches(await campaign, "met")
    assert at_once.count >= 9
    assert at_once.most == 1


async def test_pictures_are_cached_by_their_tag(one: Labeler) -> None:
    (image_id,) = await one.imported(1, condition="acne")
    for kind in ("content", "thumbnail"):
        path = f"/v1/images/{image_id}/{kind}"
        first = await one.call("GET", path)
        assert "immutable" in first.headers["Cache-Control"]
        for tag in (first.headers["ETag"], f'W/"other", {first.headers["ETag"]}', "*"):
            again = await one.call("GET", path, headers={"If-None-Match": tag})
            assert (again.status, again.body) == (304, b""), tag
        assert (await one.call("GET", path, headers={"If-None-Match": '"other"'})).body == first.body
        head = await one.call("HEAD", path)
        assert (head.status, head.body) == (200, b"")


async def test_a_picture_that_was_lost_is_not_found(one: Labeler) -> None:
    (image_id,) = await one.imported(1, condition="acne")
    await one.blobs.delete(f"images/{image_id}/original.png")
    for kind in ("content", "thumbnail"):
        answer = await one.call("GET", f"/v1/images/{image_id}/{kind}")
        assert (answer.status, answer.code) == (404, "blob_not_found")


async def test_lists_are_paged_and_filtered(both: Labeler) -> None:
    mild = await both.imported(3, condition="acne", severity="mild")
    severe = await both.imported(2, labels=json.dumps({"acne": "severe", "redness": "mild"}))
    clear = await both.imported(1, labels="{}")
    await both.review(mild[0], "rejected")
    everything = [image["id"] for image in await both.images()]
    assert everything == mild + severe + clear

    seen: list[str] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = await both.get("/v1/images", params={"limit": "2", "cursor": cursor})
        assert len(page["images"]) <= 2
        seen += [image["id"] for image in page["images"]]
        cursor = page["next_cursor"]
    assert seen == everything

    async def ids(**query: str) -> list[str]:
        return [image["id"] for image in await both.images(**query)]

    assert await ids(status="accepted") == everything[1:]
    assert await ids(condition="acne") == mild + severe
    assert await ids(condition="acne", severity="severe") == severe
    assert await ids(condition="redness", severity="slight", status="accepted") == severe
    assert await ids(status="pending") == []
    for query, code in [
        ({"status": "lost"}, "invalid_request"),
        ({"condition": "freckles"}, "unknown_condition"),
        ({"condition": "acne", "severity": "deadly"}, "unknown_severity"),
        ({"severity": "mild"}, "invalid_request"),
        ({"limit": "0"}, "invalid_request"),
        ({"limit": "201"}, "invalid_request"),
        ({"limit": "many"}, "invalid_request"),
        ({"cursor": "x"}, "invalid_request"),
        ({"cursor": "9" * 30}, "invalid_request"),
    ]:
        answer = await both.call("GET", "/v1/images", params=query)
        assert (answer.status, answer.code) == (422, code), query


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(StoreFull("The disk is full."), 507, "store_full"), (StoreUnavailable("No answer."), 503, "store_unavailable")],
)
async def test_a_store_that_takes_nothing(one: Labeler, error: StoreUnavailable, status: int, code: str) -> None:
    one.blobs.on_put = error
    answer = await one.upload(GOOD, condition="acne")
    assert (answer.status, answer.code) == (status, code)
    assert ("Retry-After" in answer.headers) == (status == 503)
    await nothing_is_left(one)
    one.blobs.on_put = None
    document = await one.upload(GOOD, condition="acne")
    assert document.status == 201
    # A thumbnail can be seen even where it cannot be kept.
    one.blobs.on_put = error
    assert (await one.call("GET", f"/v1/images/{document.json['id']}/thumbnail")).status == 200
    # A campaign waits for the store, and is met when it is back.
    campaign_id = await one.rebalance(target_per_condition=0)
    await eventually(lambda: one.blobs.refused > 2, "A try to write the manifest")
    assert (await one.campaign(campaign_id))["state"] == "closing"
    one.blobs.on_put = None
    await one.reaches(campaign_id, "met")


async def test_events_wait_for_the_store_without_using_up_their_tries(one: Labeler) -> None:
    campaign_id = await one.rebalance(targets={"aging": 2})
    one.blobs.on_get = StoreUnavailable("No answer.")
    await eventually(lambda: one.blobs.refused > 4 * one.settings.max_tries, "Many tries")
    assert await one.bus.dead_letters() == []
    assert (await one.call("GET", "/v1/models")).status == 503
    one.blobs.on_get = None
    await one.reaches(campaign_id, "met")
    await assert_counters(one)


async def test_a_client_that_goes_away_leaves_nothing(one: Labeler) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", one.service.port)
    head = 'POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary="x"\r\n'
    writer.write(head.encode() + b"Content-Length: 100000\r\n\r\n")
    writer.write(b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + GOOD[:5000])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""
    await nothing_is_left(one)
    async with aiohttp.ClientSession() as session, session.get(one.url + "/healthz") as response:
        assert response.status == 200
