"""A local server in the shape of OpenAI's images API. It answers as a test tells it, and remembers the requests."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "sk-test"
_OPENAI = {"model", "prompt", "n", "size", "output_format", "quality", "background", "moderation", "user"}
KNOWN = {
    "openai": _OPENAI,  # GPT image models refuse `response_format`
    "azure": _OPENAI,
    "localai": {"model", "prompt", "n", "size", "response_format", "step", "mode", "file"},
    "sdcpp": {"prompt", "n", "size", "output_format", "output_compression"},
    "vllm": {"model", "prompt", "n", "size", "response_format", "user", "negative_prompt", "seed"},
}
"""Parameters that servers know, by profile; these refuse any other one, as some versions of theirs do."""

BILL: web.AppKey[list[str]] = web.AppKey("bill")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def picture(data: bytes) -> Answer:
    """The answer to a request that went well."""
    return billed(document({"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}))


def document(body: object) -> Answer:
    """Any JSON document, with status 200."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    return answer


def text(body: str, media_type: str) -> Answer:
    """Any body, with status 200."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, content_type=media_type)

    return answer


def problem(
    status: int,
    code: str | None,
    *,
    type: str = "error",
    retry_after: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An error as OpenAI tells it. `headers` are sent beside Retry-After."""
    body = {"error": {"message": f"told to fail with {code}", "type": type, "param": param, "code": code}}
    wait = {} if retry_after is None else {"Retry-After": retry_after}
    return error(status, body, headers={**wait, **(headers or {})})


def error(status: int, body: object, *, headers: Mapping[str, str] | None = None) -> Answer:
    """An error as any server tells it, in JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return answer


def picture_at(url: str) -> Answer:
    """The answer of a server that keeps its pictures and says where. A path is its own: `{}` is filled with its URL."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"created": 1, "data": [{"url": url.format(f"http://{request.host}")}]})

    return billed(answer)


def file(data: bytes) -> Answer:
    """A file, as it is."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=data, content_type="image/png")

    return answer


def redirect(url: str) -> Answer:
    """A redirect to a URL; a path is this server's own."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": url})

    return answer


def gateway_error(status: int) -> Answer:
    """An error of something in between, which is not JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Bad gateway</html>", status=status, content_type="text/html")

    return answer


async def reset(request: web.Request) -> web.StreamResponse:
    """Cut the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def silence(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """Cut the connection while the answer is read."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"created": 1, "data": [{"b64_json": "')
    assert request.transport is not None
    request.transport.abort()
    return response


async def trickle(request: web.Request) -> web.StreamResponse:
    """Answer without an end, a byte at a time, so that no single read waits long."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


def billed(answer: Answer) -> Answer:
    """An answer to a request for which a picture was made and billed, whatever the client gets to see of it."""

    async def counted(request: web.Request) -> web.StreamResponse:
        request.app[BILL].append(request.path)
        return await answer(request)

    return counted


def when(released: asyncio.Event, then: Answer) -> Answer:
    """Answer once the event is set."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return await then(request)

    return answer


@dataclass
class OpenAIServer:
    """`answers` are given in turn; once they are used up, `otherwise` is. `requests`: the bodies that came."""

    otherwise: Answer
    speaks: str = "openai"  # the profile whose parameters it knows
    wants_key: bool = True
    answers: deque[Answer] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    traceparents: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # when they came, on the loop's clock
    bill: list[str] = field(default_factory=list)  # a line for every picture that is billed
    files: dict[str, deque[Answer]] = field(default_factory=dict)  # by path; the last one stands
    fetches: list[web.Request] = field(default_factory=list)  # of files
    url: str = ""

    @property
    def calls(self) -> int:
        """How many requests came."""
        return len(self.requests)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/images/generations"""
        body = await request.json()
        self.requests.append(body)
        self.traceparents.append(request.headers.get("traceparent"))
        self.times.append(asyncio.get_running_loop().time())
        if self.wants_key and request.headers.get("Authorization") != f"Bearer {KEY}":
            return await problem(401, "invalid_api_key")(request)
        if not {"prompt", "n", "size"} <= set(body) <= KNOWN[self.speaks]:
            return await problem(400, "unknown_parameter", type="invalid_request_error")(request)
        answer = self.answers.popleft() if self.answers else self.otherwise
        response = await answer(request)
        if not response.prepared:
            response.headers["x-request-id"] = f"req_{self.calls}"
        return response

    async def send_file(self, request: web.Request) -> web.StreamResponse:
        """GET /files/…"""
        self.fetches.append(request)
        answers = self.files.get(request.path)
        if not answers:
            raise web.HTTPNotFound
        return await (answers.popleft() if len(answers) > 1 else answers[0])(request)


@contextlib.asynccontextmanager
async def openai_server(otherwise: Answer, *, port: int = 0) -> AsyncIterator[OpenAIServer]:
    """A server until the context is left. `port` 0: a free one."""
    server = OpenAIServer(otherwise)
    app = web.Application(client_max_size=1024 * 1024)
    app[BILL] = server.bill
    app.router.add_post("/v1/images/generations", server.handle)
    app.router.add_get("/files/{name}", server.send_file)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield server
    finally:
        await runner.cleanup()
