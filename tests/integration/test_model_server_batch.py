"""Several pictures in one request: each has its own answer and its own place."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shared.embedded.blobs import DirectoryBlobs
from tests.eventually import LIMIT_S, eventually
from tests.integration.test_model_server import Gate, in_hand
from tests.unit.model_server.pictures import encoded, face, noise
from tests.unit.model_server.serving import Answered, Running, form, running
from tests.unit.model_server.tiny_model import put_model
from tests.unit.shared.portraits import drawn_file

MAX_BYTES = 300_000
JPEG = encoded(face())
LARGE = encoded(noise(600), "PNG")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1", at=datetime(2026, 1, 1, tzinfo=UTC))
    async with running(tmp_path, max_image_bytes=MAX_BYTES) as started:
        yield started


def form_of(pictures: Sequence[bytes], field: str = "image") -> aiohttp.FormData:
    made = aiohttp.FormData()
    for picture in pictures:
        made.add_field(field, io.BytesIO(picture), filename="selfie.jpg")
    return made


async def ask(server: Running, data: Any, query: str = "") -> Answered:
    return await server.ask("POST", f"/v1/predictions/batch{query}", data=data)


async def test_each_picture_gets_the_answer_it_gets_by_itself_in_the_order_sent(server: Running) -> None:
    pictures = [JPEG, drawn_file(), encoded(face(200, 240), "WEBP")]
    answer = await ask(server, form_of(pictures), "?heatmap=1")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.json["model_version"] == "v1"
    assert len(answer.json["pictures"]) == 3
    for picture, told in zip(pictures, answer.json["pictures"], strict=True):
        alone = (await server.predict(picture, query="?heatmap=1")).json
        assert set(told) == {"prediction"}
        assert {**told["prediction"], "timing_ms": None} == {**alone, "timing_ms": None}


async def test_a_picture_that_is_refused_does_not_stop_the_others(server: Running) -> None:
    bad = {"image_too_large": LARGE, "image_empty": b"", "image_unsupported": b"text", "image_broken": JPEG[:3000]}
    told = (await ask(server, form_of([JPEG, *bad.values(), JPEG]))).json["pictures"]
    assert [set(one) for one in told] == [{"prediction"}, *[{"problem"}] * len(bad), {"prediction"}]
    for one, picture in zip(told[1:-1], bad.values(), strict=True):
        assert one["problem"] == (await server.predict(picture)).json
    assert [one["problem"]["code"] for one in told[1:-1]] == list(bad)
    assert server.metric("evenskin_predictions_total", outcome="ok") == 2
    assert [server.metric("evenskin_predictions_total", outcome=code) for code in bad] == [2.0] * len(bad)


async def test_a_portrait_that_is_refused_says_why_in_a_batch_too(tmp_path: Path) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path, face_policy="require") as server:
        first, second = (await ask(server, form_of([JPEG, drawn_file()]))).json["pictures"]
        assert first["problem"] == (await server.predict(JPEG)).json
        assert (first["problem"]["code"], second["prediction"]["advice"]) == ("no_face", [])


async def test_thirty_two_are_answered_and_one_more_is_refused(server: Running) -> None:
    small = encoded(face(100, 120))
    answer = await ask(server, form_of([small] * 32))
    assert ["prediction" in one for one in answer.json["pictures"]] == [True] * 32
    refused = await ask(server, form_of([small] * 33))
    assert (refused.status, refused.code) == (422, "invalid_request")
    assert server.metric("evenskin_predictions_in_hand") == 0


async def test_more_than_there_are_places_for_is_a_wrong_request_not_a_full_queue(tmp_path: Path) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path, predict_workers=1, predict_queue=1) as server:
        assert (await ask(server, form_of([JPEG] * 2))).status == 200
        assert (await ask(server, form_of([JPEG] * 3))).code == "invalid_request"


async def test_each_picture_takes_a_place_of_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    gate = Gate(monkeypatch)
    async with running(tmp_path, predict_workers=1, predict_queue=3) as server:
        waiting = asyncio.create_task(ask(server, form_of([JPEG] * 3)))
        await in_hand(server, 3)
        refused = await ask(server, form_of([JPEG] * 2))
        assert (refused.status, refused.code) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) > 0
        assert server.metric("evenskin_predictions_in_hand") == 3  # the place that the refused one had is free again
        alone = asyncio.create_task(server.predict(JPEG))
        await in_hand(server, 4)
        assert (await server.predict(JPEG)).code == "overloaded"
        gate.open.set()
        assert (await waiting).status == 200
        assert (await alone).status == 200
        assert server.metric("evenskin_predictions_in_hand") == 0


async def test_one_model_answers_a_whole_batch(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    waiting = asyncio.create_task(ask(server, form_of([JPEG] * 6)))
    await in_hand(server, 6)
    await server.promote(await put_model(server.blobs, "v2", generation=1))
    await eventually(lambda: server.metric("evenskin_model_info", version="v2", dataset_version="d1") == 1)
    gate.open.set()
    answer = (await waiting).json
    assert {answer["model_version"], *(one["prediction"]["model_version"] for one in answer["pictures"])} == {"v1"}


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (JPEG, 415, "unsupported_media_type"),
        (form(JPEG, "file"), 422, "invalid_request"),
        (form_of([b"x"] * 60, "other"), 422, "invalid_request"),
    ],
    ids=["no form", "another field", "many other fields"],
)
async def test_a_bad_request_is_told_so(server: Running, data: Any, status: int, code: str) -> None:
    answer = await ask(server, data)
    assert (answer.status, answer.code) == (status, code)


async def test_a_batch_whose_parts_all_come_slowly_is_ended_as_a_whole(tmp_path: Path) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path, upload_timeout_s=0.3) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.service.port)
        part = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc\r\n'
        head = b"Host: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        parts, end = 28, b"--b--\r\n"
        length = b"Content-Length: %d\r\n\r\n" % (parts * len(part) + len(end))
        writer.write(b"POST /v1/predictions/batch HTTP/1.1\r\n" + head + length)
        answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        for piece in [part] * parts + [end]:
            writer.write(piece)
            if (await asyncio.wait([answer], timeout=0.1))[0]:
                break
        assert (await asyncio.wait_for(answer, LIMIT_S)).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await eventually(lambda: server.metric("evenskin_predictions_in_hand") == 0)


async def test_a_picture_that_stalls_frees_the_places_of_all(tmp_path: Path) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path, upload_timeout_s=0.2) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.service.port)
        part = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc'
        writer.write(
            b"POST /v1/predictions/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + part + b"\r\n" + part
        )
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await eventually(lambda: server.metric("evenskin_predictions_in_hand") == 0)
