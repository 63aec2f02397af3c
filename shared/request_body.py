"""A request's body, decoded. aiohttp decodes every coding that we read, but for gzip by its old name."""

from __future__ import annotations

import asyncio
import gzip
import io
import zlib

import aiohttp
from aiohttp import web

from shared.errors import DamagedBody

X_GZIP = "x-gzip"
"""What RFC 9110, section 8.4.1.3, asks to be taken for gzip."""


def coding_of(request: web.Request) -> str:
    """The request's Content-Encoding in small letters; empty where there is none."""
    return request.headers.get("Content-Encoding", "").strip().lower()


async def text_of(request: web.Request) -> str:
    """The body as text. Raises DamagedBody, HTTPRequestEntityTooLarge; LookupError where there is no such charset."""
    if coding_of(request) != X_GZIP:
        return await request.text()
    return (await _unzipped(request, request.client_max_size)).decode(request.charset or "utf-8")


async def content_of(request: web.Request, *, max_bytes: int) -> aiohttp.StreamReader:
    """The body as it comes in, or has come in. Raises DamagedBody; HTTPRequestEntityTooLarge where it holds more bytes.

    Only what is read as a whole here is held to `max_bytes`: whoever reads holds the rest to it.
    """
    if coding_of(request) != X_GZIP:
        return request.content
    data = await _unzipped(request, max_bytes)
    reader = aiohttp.StreamReader(request.protocol, limit=max_bytes, loop=asyncio.get_running_loop())
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def form_of(request: web.Request, *, max_bytes: int) -> aiohttp.MultipartReader:
    """The parts of a multipart body. Raises what `content_of` raises, and ValueError where it is none."""
    if coding_of(request) != X_GZIP:
        return await request.multipart()
    return aiohttp.MultipartReader(request.headers, await content_of(request, max_bytes=max_bytes))


async def _unzipped(request: web.Request, max_bytes: int) -> bytes:
    sent = bytearray()
    async for chunk in request.content.iter_any():
        sent += chunk
        _check_size(len(sent), max_bytes)
    try:
        data = await asyncio.to_thread(gzip.GzipFile(fileobj=io.BytesIO(sent)).read, max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedBody("The request's body is no gzip, or damaged.", advice="Send it again.") from error
    _check_size(len(data), max_bytes)
    return data


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise web.HTTPRequestEntityTooLarge(max_size=max_bytes, actual_size=size)
