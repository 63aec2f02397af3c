"""Requests as no HTTP client sends them, byte for byte: text that is no Unicode, NUL, damaged encodings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

from tests.eventually import LIMIT_S

LONE_SURROGATE = rb"\ud800"  # as JSON escapes it: half of a character
ODD_TEXTS = {"lone surrogate": LONE_SURROGATE, "nul": rb"\u0000", "no utf-8": b"\xff", "long": b"x" * 3000}
ODD_SEGMENTS = ("%00", "%FF", "%ED%A0%80", "%2e%2e", "%2F", "%0a", "%", "x" * 3000)
JSON = b"Content-Type: application/json"
FORM = b"Content-Type: multipart/form-data; boundary=b"
ODD_CODINGS = (b"lz4", b"x-compress", b"compress", b"gzip, gzip", b"gzip, br", b"\xff")
ODD_KEYS = (b"X-API-Key: \xff", b"X-API-Key: \xed\xa0\x80", b"Authorization: Bearer \xff", b"X-API-Key: \xc3\xa9")


@dataclass(frozen=True)
class Raw:
    """An answer."""

    status: int
    media_type: str
    body: bytes
    headers: Mapping[str, str]

    def is_refusal(self) -> bool:
        """Whether it is a problem of the caller's, as a document in proper UTF-8."""
        self.body.decode()
        return 400 <= self.status < 500 and self.media_type == "application/problem+json"


def form(**fields: bytes) -> bytes:
    """The body of a multipart form whose boundary is `b`."""
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + value + b"\r\n"
        for name, value in fields.items()
    ]
    return b"".join(parts) + b"--b--\r\n"


async def send(port: int, method: str, path: str, *headers: bytes, body: bytes = b"") -> Raw:
    """One request over a connection of its own, its bytes as they are given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        start = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        start += f"Content-Length: {len(body)}\r\n"
        writer.write(start.encode() + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body)
        head, _, rest = (await asyncio.wait_for(reader.read(), LIMIT_S)).partition(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    lines = head.decode("latin-1").split("\r\n")
    answered = dict(line.lower().split(": ", 1) for line in lines[1:])
    return Raw(int(lines[0].split()[1]), answered.get("content-type", "").partition(";")[0], rest, answered)


async def assert_codings_and_expectations(port: int, path: str, kind: bytes) -> None:
    """What the body's coding or Expect asks for is done, or refused in our form, with what would be done."""
    for coding in ODD_CODINGS:
        answer = await send(port, "POST", path, kind, b"Content-Encoding: " + coding, body=b"{}")
        assert (answer.status, answer.is_refusal()) == (415, True), (coding, answer)
        assert json.loads(answer.body)["code"] == "unsupported_coding"
        assert answer.headers["accept-encoding"] == "gzip, deflate, br, zstd"
    for method, asked in (("POST", path), ("GET", path), ("GET", "/nothing")):
        answer = await send(port, method, asked, b"Expect: magic")
        assert (answer.status, answer.is_refusal()) == (417, True), (asked, answer)
        assert json.loads(answer.body)["code"] == "expectation_failed"
