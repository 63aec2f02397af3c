"""Base64 as servers and proxies write it."""

from __future__ import annotations

import base64

import pytest

from services.generator.picture_data import picture_bytes

DATA = bytes(range(256)) + b"\xfb\xff"  # with what both alphabets write differently
PLAIN = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
        base64.urlsafe_b64encode(DATA).decode().rstrip("="),
        base64.encodebytes(DATA).decode(),
        base64.encodebytes(DATA).decode().replace("\n", "\r\n"),
        f" {PLAIN}\n",
        f"data:image/png;base64,{PLAIN}",
        f"data:image/png;charset=utf-8;base64,{PLAIN}",
        f"data:;base64,{PLAIN}",
        f"DATA:image/PNG;BASE64,\n{PLAIN}",
    ],
)
def test_every_way_of_writing_it_is_read(text: str) -> None:
    assert picture_bytes(text) == DATA


@pytest.mark.parametrize(
    "text", ["%%% no base64 %%%", "größer", "A", PLAIN[:-4] + "=A==", "data:image/svg+xml,<svg/>", "data:", 17, None]
)
def test_what_is_none_is_not(text: object) -> None:
    assert picture_bytes(text) is None
