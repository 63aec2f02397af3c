"""The OpenAI Images API as a provider: the client's own retries are off, ours are counted and bounded."""

from __future__ import annotations

import asyncio
import base64
import binascii
import random

import openai
import structlog
from openai import AsyncOpenAI

from services.generator.prompts import prompt_of
from services.generator.provider import Order, Picture, ProviderFailed
from shared.events import FailureReason

log = structlog.get_logger(__name__)

TRIES = 5  # requests for one picture, the first included
FIRST_WAIT_S = 2.0  # seconds before the second request; doubled for each further one, with jitter
LONGEST_WAIT_S = 60.0  # seconds; a longer Retry-After than this is not waited for
TIMEOUT_S = 180.0  # seconds of one request: high-quality images take up to two minutes
_BLOCKED_CODES = {"moderation_blocked", "content_policy_violation"}
_EXHAUSTED_CODES = {"insufficient_quota", "billing_hard_limit_reached"}


class OpenAIProvider:
    """Generates with `images.generate`. `price_usd`: what one image of this model and size costs."""

    name = "openai"

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None,
        model: str,
        size: str,
        price_usd: float,
        images_per_minute: float,
        concurrency: int,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self.concurrency = concurrency
        self.images_per_minute: float | None = images_per_minute
        self._model = model
        self._size = size
        self._price_usd = price_usd
        self._first_wait_s = first_wait_s
        self._client = AsyncOpenAI(api_key=api_key, base_url=base_url, max_retries=0, timeout=TIMEOUT_S)

    async def generate(self, order: Order) -> Picture:
        """One picture, as base64 in the answer. Raises ProviderFailed."""
        prompt = prompt_of(order)
        for call in range(1, TRIES + 1):
            try:
                # GPT image models always answer with b64_json and refuse `response_format`.
                response = await self._client.images.generate(
                    model=self._model, prompt=prompt, n=1, size=self._size, output_format="png"
                )
            except openai.APIError as error:
                failure, wait_s = _classify(error), self._wait_s(error, call)
                if wait_s is None or call == TRIES:
                    raise ProviderFailed(_sentence(error), failure) from error
                log.warning("provider_retried", call=call, wait_s=round(wait_s, 2), reason=failure.value)
                await asyncio.sleep(wait_s)
                continue
            try:
                data = base64.b64decode((response.data or [])[0].b64_json or "", validate=True)
            except (IndexError, binascii.Error):
                data = b""
            if not data:  # answered and billed, but there is no picture in it
                raise ProviderFailed(
                    "The answer holds no picture.", FailureReason.INVALID_RESPONSE, cost_usd=self._price_usd
                )
            request_id = getattr(response, "_request_id", None)
            return Picture(data, prompt, self._model, self._price_usd, request_id, calls=call)
        raise AssertionError("unreachable: the last call returns or raises")

    def _wait_s(self, error: openai.APIError, call: int) -> float | None:
        """Seconds until the next call, or None where another call would not help."""
        if isinstance(error, openai.APIStatusError):
            if _code(error) in _EXHAUSTED_CODES | _BLOCKED_CODES or (
                error.status_code < 500 and error.status_code not in (408, 409, 429)
            ):
                return None
            asked = error.response.headers.get("retry-after", "")
            if asked.replace(".", "", 1).isdigit():
                return float(asked) if float(asked) <= LONGEST_WAIT_S else None
        backoff: float = min(LONGEST_WAIT_S, self._first_wait_s * 2 ** (call - 1))
        return backoff * random.uniform(0.75, 1.25)

    async def close(self) -> None:
        """Close the client's connections."""
        await self._client.close()


def _code(error: openai.APIError) -> str:
    return str(error.code or "")


def _classify(error: openai.APIError) -> FailureReason:
    if isinstance(error, openai.APITimeoutError):
        return FailureReason.TIMEOUT
    if _code(error) in _BLOCKED_CODES:
        return FailureReason.MODERATION_BLOCKED
    if _code(error) in _EXHAUSTED_CODES:
        return FailureReason.QUOTA_EXHAUSTED
    if isinstance(error, openai.RateLimitError):
        return FailureReason.RATE_LIMITED
    if isinstance(error, openai.APIStatusError) and error.status_code < 500:
        return FailureReason.INVALID_REQUEST
    return FailureReason.PROVIDER_ERROR


def _sentence(error: openai.APIError) -> str:
    status = f"{error.status_code} " if isinstance(error, openai.APIStatusError) else ""
    return f"{status}{error.message}"[:500]
