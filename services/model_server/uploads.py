"""Reads an upload into memory, within limits of bytes and time. Nothing here touches the disk.

aiohttp's own `request.post()` would spool files into temporary ones; a selfie is never stored.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
from aiohttp import HttpVersion11, web

from shared.errors import ImageTooLarge, ImageUnsupported, InvalidRequest, UnsupportedMediaType
from shared.request_body import content_of, form_of
from shared.uploads import reading_upload

FIELD = "image"
CHUNK_BYTES = 64 * 1024
MULTIPART_OVERHEAD_BYTES = 64 * 1024  # boundaries, headers and small other fields around the picture
MAX_PARTS = 16
FORM_TIMEOUTS = 4
"""A form of several pictures may take so many times what each of its parts may."""

_UNINVITED: web.RequestKey[bool] = web.RequestKey("uninvited", bool)


async def uninvited(request: web.Request) -> None:
    """Leave a caller with `Expect: 100-continue` waiting: it is told to send its body where that is read.

    Raises HTTPExpectationFailed for another Expect.
    """
    if request.version == HttpVersion11:
        if request.headers.get("Expect", "").lower() != "100-continue":
            raise web.HTTPExpectationFailed
        request[_UNINVITED] = True


def _invite(request: web.Request) -> None:
    if request.pop(_UNINVITED, False):
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def close_uninvited(request: web.Request, response: web.StreamResponse) -> None:
    """Close the connection after an answer to a caller that still waits: what follows may be body or next request.

    aiohttp calls it before sending.
    """
    if request.get(_UNINVITED, False):
        response.force_close()
        response.headers["Connection"] = "close"


async def read_picture(request: web.Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """Read a picture's encoded bytes: the body of an image or octet-stream request, or the form field `image`.

    Raises ImageTooLarge (before reading where Content-Length says so), ImageUnsupported for another content
    type, InvalidRequest for a multipart body that is broken or lacks the field, HTTPRequestTimeout.
    """
    media_type = request.content_type.lower()
    is_form = media_type == "multipart/form-data"
    if not is_form and not media_type.startswith("image/") and media_type != "application/octet-stream":
        raise ImageUnsupported(
            f"A body of type '{media_type[:80]}' is not read.",
            advice=f"Send it as image/jpeg (or png, webp, heic, avif), or as multipart/form-data with '{FIELD}'.",
        )
    if not is_form:
        return await read_body(request, max_bytes=max_bytes, timeout_s=timeout_s)
    _check_length(request, max_bytes + MULTIPART_OVERHEAD_BYTES, max_bytes)
    _invite(request)
    async with reading_upload(timeout_s):
        return await _form_field(request, max_bytes)


async def read_pictures(
    request: web.Request, *, max_bytes: int, timeout_s: float, most: int, before_next: Callable[[], None]
) -> list[bytes | ImageTooLarge]:
    """Read the encoded bytes of a form's pictures: its fields `image`, one after the other, at most `most`.

    A picture of more than `max_bytes` is dropped while it comes in, and its error stands in its place. `before_next`
    is called before each picture but the first; what it raises ends the reading. Each part may take `timeout_s`,
    and all of them FORM_TIMEOUTS times that. Raises ImageTooLarge where all pictures together cannot be within bounds,
    UnsupportedMediaType for what is no form, InvalidRequest for one that is broken, lacks the field or has it too
    often, HTTPRequestTimeout.
    """
    if request.content_type.lower() != "multipart/form-data":
        raise UnsupportedMediaType(
            f"A body of type '{request.content_type[:80]}' is no batch.",
            advice=f"Send multipart/form-data with a field '{FIELD}' for each picture.",
        )
    allowed = most * max_bytes + MULTIPART_OVERHEAD_BYTES
    _check_length(request, allowed, max_bytes)
    _invite(request)
    deadline = time.monotonic() + FORM_TIMEOUTS * timeout_s
    found: list[bytes | ImageTooLarge] = []
    dropped = 0
    with _malformed_told():
        async with reading_upload(timeout_s):
            reader = await form_of(request, max_bytes=max_bytes + MULTIPART_OVERHEAD_BYTES)
        for _ in range(most + MAX_PARTS):
            async with reading_upload(min(timeout_s, deadline - time.monotonic())):
                part = await _next_part(reader)
                if part is None:
                    break
                if part.name == FIELD:
                    if len(found) == most:
                        raise InvalidRequest(f"The form has more than {most} pictures.", advice="Send fewer at a time.")
                    if found:
                        before_next()
                    with contextlib.suppress(ImageTooLarge):
                        found.append(await _read_all(_chunks(part), max_bytes))
                        continue
                    found.append(_too_large(max_bytes))
                async for chunk in _chunks(part):
                    dropped += len(chunk)
                    if dropped > allowed:
                        raise _too_large(max_bytes)
        else:
            raise InvalidRequest(f"The form has more than {MAX_PARTS} fields other than '{FIELD}'.")
    if not found:
        raise _no_field()
    return found


async def read_body(request: web.Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """Read the request's body. Raises ImageTooLarge, InvalidRequest, HTTPRequestTimeout."""
    _check_length(request, max_bytes, max_bytes)
    _invite(request)
    async with reading_upload(timeout_s):
        return await _read_all(_pieces(await content_of(request, max_bytes=max_bytes)), max_bytes)


def _check_length(request: web.Request, allowed: int, max_bytes: int) -> None:
    if request.content_length is not None and request.content_length > allowed:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"The upload has more than {max_bytes / 1e6:.1f} MB.", advice="Send a smaller picture.")


async def _read_all(chunks: AsyncIterator[bytes], max_bytes: int) -> bytes:
    parts, size = [], 0
    async for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
    return b"".join(parts)


async def _pieces(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The body as it came: nothing is cut, joined and copied on the way."""
    async for piece, _ in content.iter_chunks():
        if not piece and content.at_eof():
            return  # aiohttp has one reader for all empty bodies, whose iterator ends by itself only once a process
        yield piece


async def _form_field(request: web.Request, max_bytes: int) -> bytes:
    skipped = 0
    with _malformed_told():
        reader = await form_of(request, max_bytes=max_bytes + MULTIPART_OVERHEAD_BYTES)
        for _ in range(MAX_PARTS):
            part = await _next_part(reader)
            if part is None:
                break
            if part.name == FIELD:
                return await _read_all(_chunks(part), max_bytes)
            async for chunk in _chunks(part):
                skipped += len(chunk)
                if skipped > MULTIPART_OVERHEAD_BYTES:
                    raise InvalidRequest(f"The form has large fields other than '{FIELD}'.")
    raise _no_field()


async def _next_part(reader: aiohttp.MultipartReader) -> aiohttp.BodyPartReader | None:
    part = await reader.next()
    if part is not None and not isinstance(part, aiohttp.BodyPartReader):
        raise InvalidRequest("The form nests one multipart body in another.")
    return part


@contextlib.contextmanager
def _malformed_told() -> Iterator[None]:
    try:
        yield
    except (ValueError, AssertionError, RuntimeError, LookupError) as error:  # what aiohttp's parser raises
        raise InvalidRequest("The multipart body is malformed.", advice="Let your HTTP client build it.") from error


def _no_field() -> InvalidRequest:
    return InvalidRequest(f"The form has no field '{FIELD}'.", advice=f"Send the picture in the field '{FIELD}'.")


async def _chunks(part: aiohttp.BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK_BYTES):
        yield chunk
