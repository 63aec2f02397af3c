"""What the model-server says to a picture or a request that it cannot read: never a 500."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from shared.embedded.blobs import DirectoryBlobs
from tests.eventually import LIMIT_S, eventually
from tests.unit.model_server.pictures import animated, encoded, face, noise
from tests.unit.model_server.serving import Running, form, in_pieces, running
from tests.unit.model_server.tiny_model import put_model

MAX_BYTES = 300_000
MAX_PIXELS = 1_000_000


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1", at=datetime(2026, 1, 1, tzinfo=UTC))
    async with running(tmp_path, max_image_bytes=MAX_BYTES, max_image_pixels=MAX_PIXELS, infer_max_batch=2) as started:
        yield started


def _huge_png() -> bytes:
    """A PNG of a few bytes that says it has 60,000 × 60,000 pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 99))]
    framed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


JPEG = encoded(face())
BAD_PICTURES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 422, "image_empty"),
    "text": (b"hello", 415, "image_unsupported"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "image_unsupported"),
    "gif": (encoded(face(), "GIF"), 415, "image_unsupported"),
    "cut off": (JPEG[: len(JPEG) // 2], 422, "image_broken"),
    "cut off png": (encoded(face(), "PNG")[:5000], 422, "image_broken"),
    "cut off heic": (encoded(face(), "HEIF")[:900], 422, "image_broken"),
    "animated webp": (animated("WEBP"), 415, "image_animated"),
    "animated png": (animated("PNG"), 415, "image_animated"),
    "too many pixels": (encoded(Image.new("RGB", (2000, 2000)), "PNG"), 422, "image_too_many_pixels"),
    "too many pixels at a time": (
        encoded(Image.new("RGB", (2000, 2000)), progressive=True),
        422,
        "image_too_many_pixels",
    ),
    "absurdly many pixels": (_huge_png(), 422, "image_too_many_pixels"),
    "too small": (encoded(face(40, 40)), 422, "image_too_small"),
    "too many bytes": (encoded(noise(600), "PNG"), 413, "image_too_large"),
}


@pytest.mark.parametrize(("data", "status", "code"), BAD_PICTURES.values(), ids=BAD_PICTURES.keys())
async def test_a_bad_picture_is_told_so_however_it_is_sent(
    server: Running, data: bytes, status: int, code: str
) -> None:
    for answer in (
        await server.predict(data),
        await server.predict(in_pieces(data)),
        await server.predict(form(data), None),
    ):
        assert (answer.status, answer.code) == (status, code)
    assert (await server.predict(JPEG)).status == 200
    assert server.metric("evenskin_predictions_total", outcome=code) == 3


async def test_empty_bodies_are_told_so_however_many_come(server: Running) -> None:
    assert [(await server.predict(b"")).code for _ in range(3)] == ["image_empty"] * 3
    assert (await server.predict(JPEG)).status == 200


async def test_a_jpeg_of_more_pixels_than_are_decoded_is_read_at_a_smaller_scale(server: Running) -> None:
    answer = await server.predict(encoded(Image.new("RGB", (2000, 2000))))
    assert (answer.status, answer.json["image"]["width"]) == (200, 2000)
    assert answer.json["image"]["crop"] == {"left": 0, "top": 0, "width": 2000, "height": 2000}


async def test_what_says_it_is_too_large_is_not_read(server: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.service.port)
    writer.write(
        b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Content-Length: 99999999\r\n\r\n"
    )
    # Answered, though no byte of the body was sent.
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)
    assert head.startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


MULTIPART = "multipart/form-data; boundary=b"
BAD_REQUESTS: dict[str, tuple[str | None, bytes, int, str]] = {
    "a form's encoding": ("application/x-www-form-urlencoded", JPEG, 415, "image_unsupported"),
    "json": ("application/json", b"{}", 415, "image_unsupported"),
    "text": ("text/plain", JPEG, 415, "image_unsupported"),
    "no boundary": ("multipart/form-data", JPEG, 422, "invalid_request"),
    "no parts": (MULTIPART, b"--b--\r\n", 422, "invalid_request"),
    "empty form": (MULTIPART, b"", 422, "invalid_request"),
    "no form at all": (MULTIPART, b"hello\r\nworld", 422, "invalid_request"),
    "part cut off": (
        MULTIPART,
        b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc',
        415,
        "image_unsupported",
    ),
    "header cut off": (MULTIPART, b"--b\r\nContent-Disposition: form-da", 422, "invalid_request"),
    "part without a name": (MULTIPART, b"--b\r\nX: y\r\n\r\nabc\r\n--b--\r\n", 422, "invalid_request"),
    "another field": (
        MULTIPART,
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--b--\r\n',
        422,
        "invalid_request",
    ),
    "large other field": (
        MULTIPART,
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"a" * 200_000 + b"\r\n--b--\r\n",
        422,
        "invalid_request",
    ),
    "too many fields": (
        MULTIPART,
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\na\r\n' * 20 + b"--b--\r\n",
        422,
        "invalid_request",
    ),
    "nested": (
        MULTIPART,
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\na\r\n--c--\r\n\r\n--b--\r\n",
        422,
        "invalid_request",
    ),
}


@pytest.mark.parametrize(("media_type", "data", "status", "code"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
async def test_a_bad_request_is_told_so(
    server: Running, media_type: str | None, data: bytes, status: int, code: str
) -> None:
    answer = await server.predict(data, media_type)
    assert (answer.status, answer.code) == (status, code), answer.body


async def test_a_compressed_body_is_bounded_by_what_it_becomes(server: Running) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    bomb = zlib.compressobj(wbits=31)
    data = bomb.compress(b"\0" * 50_000_000) + bomb.flush()
    assert len(data) < MAX_BYTES
    answer = await server.ask("POST", "/v1/predictions", data=data, headers=headers)
    assert (answer.status, answer.code) == (413, "image_too_large")
    answer = await server.ask("POST", "/v1/predictions", data=b"no gzip", headers=headers)
    assert answer.status in (400, 422)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/predictions", 405, "method_not_allowed"),
        ("POST", "/v1/predictions?heatmap=perhaps", 422, "invalid_request"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/static/", 404, "not_found"),
        ("GET", "/static/none.js", 404, "not_found"),
        ("GET", "/static/..%2fapp.py", 404, "not_found"),
    ],
)
async def test_other_wrong_requests_are_problem_documents(
    server: Running, method: str, path: str, status: int, code: str
) -> None:
    answer = await server.ask(method, path)
    assert (answer.status, answer.code) == (status, code)


async def test_a_stalled_and_a_broken_off_upload_free_their_places(tmp_path: Path) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path, upload_timeout_s=0.2, predict_workers=1, predict_queue=1) as server:
        head = b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        head += b"Content-Length: 1000\r\n\r\nabc"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.service.port)
        _, dropped = await asyncio.open_connection("127.0.0.1", server.service.port)
        for each in (writer, dropped):
            each.write(head)
            await each.drain()
        dropped.close()
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)).startswith(b"HTTP/1.1 408 ")
        writer.close()

        async def answered() -> bool:
            return (await server.predict(JPEG)).status == 200

        await eventually(answered)  # on a busy machine this upload may stall as well
        assert server.metric("evenskin_predictions_in_hand") == 0
