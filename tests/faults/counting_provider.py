"""A provider that counts its calls. Every call gives a new picture, and costs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from itertools import count

from aiohttp import web

from tests.fakes.openai_server import OpenAIServer, billed, openai_server
from tests.fakes.pictures import encoded, noise

ANSWER_S = 0.3  # of one call: long enough that a fault finds calls under way


@contextlib.asynccontextmanager
async def counting_provider(*, slow: dict[int, float] | None = None) -> AsyncIterator[OpenAIServer]:
    """A server on a free port; `calls` counts. `slow`: seconds that the calls with these numbers (from 0) take."""
    numbers = count()

    async def answer(_: web.Request) -> web.StreamResponse:
        number = next(numbers)
        data = await asyncio.to_thread(lambda: encoded(noise(number), "JPEG", quality=75))
        await asyncio.sleep((slow or {}).get(number, ANSWER_S))
        return web.json_response({"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]})

    async with openai_server(billed(answer)) as server:
        yield server
