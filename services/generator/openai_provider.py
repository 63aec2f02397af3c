"""The OpenAI Images API as a provider. The client's own retries are off; ours are counted and bounded."""

from __future__ import annotations

import asyncio
import base64
import random

import openai
import structlog
from openai import AsyncOpenAI

from services.generator.prompts import prompt_of
from services.generator.provider import Order, Picture, ProviderFailed, Turn
from shared.events import FailureReason
from shared.tracing import TRACE_HEADER, Span, current_traceparent

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
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.concurrency = concurrency
        self.images_per_minute: float | None = images_per_minute
        self._model = model
        self._size = size
        self._price_usd = price_usd
        self._first_wait_s = first_wait_s
        self._client = AsyncOpenAI(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout_s)

    async def generate(self, order: Order, turn: Turn) -> Picture:
        """Ask for one picture, which comes as base64. Raises ProviderFailed, and what `turn` raises."""
        prompt = prompt_of(order)
        for call in range(1, TRIES + 1):
            await turn()
            try:
                # GPT image models always answer with b64_json and refuse `response_format`.
                with Span("generate image", kind="client", attributes={"call": call}):
                    response = await self._client.images.generate(
                        model=self._model,
                        prompt=prompt,
                        n=1,
                        size=self._size,
                        output_format="png",
                        extra_headers={TRACE_HEADER: current_traceparent()},
                    )
            except openai.APIError as error:
                failure, wait_s = _failure_reason(error), self._wait_s(error, call)
                if wait_s is None or call == TRIES:
                    raise ProviderFailed(_message_of(error), failure) from error
                log.warning("provider_retried", call=call, wait_s=round(wait_s, 2), reason=failure.value)
                await asyncio.sleep(wait_s)
                continue
            except ValueError as error:  # what the client lets through of a body that is not JSON
                raise self._no_picture() from error
            data = _picture_in(response)
            if not data:
                raise self._no_picture()
            # The client puts it on what it parsed, under this name; other servers may send none.
            request_id = getattr(response, "_request_id", None)
            return Picture(data, prompt, self._model, self._price_usd, request_id, calls=call)
        raise AssertionError("unreachable: the last call returns or raises")

    def _no_picture(self) -> ProviderFailed:
        """The failure of an answer without a picture, which is billed all the same."""
        return ProviderFailed("The answer holds no picture.", FailureReason.INVALID_RESPONSE, cost_usd=self._price_usd)

    def _wait_s(self, error: openai.APIError, call: int) -> float | None:
        """Seconds to wait before the next call, or None where another call would not help."""
        if isinstance(error, openai.APIStatusError):
            if _codes(error) & (_EXHAUSTED_CODES | _BLOCKED_CODES) or (
                error.status_code < 500 and error.status_code not in (408, 409, 429)
            ):
                return None
            asked_s = _retry_after_s(error.response.headers.get("retry-after", ""))
            if asked_s is not None:
                return asked_s if asked_s <= LONGEST_WAIT_S else None
        backoff: float = min(LONGEST_WAIT_S, self._first_wait_s * 2 ** (call - 1))
        return backoff * random.uniform(0.75, 1.25)

    async def close(self) -> None:
        """Close the client's connections."""
        await self._client.close()


def _picture_in(response: object) -> bytes:
    """The picture's bytes, or none: the client does not check that an answer has the shape it promises."""
    pictures = getattr(response, "data", None)
    text = getattr(pictures[0], "b64_json", None) if isinstance(pictures, list) and pictures else None
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _retry_after_s(text: str) -> float | None:
    """Retry-After in seconds; None where it is absent, a date, or nonsense."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if seconds >= 0 else None  # not a number is not either


def _codes(error: openai.APIError) -> set[str]:
    return {str(error.code), str(error.type)}


def _failure_reason(error: openai.APIError) -> FailureReason:
    if isinstance(error, openai.APITimeoutError):
        return FailureReason.TIMEOUT
    if _codes(error) & _BLOCKED_CODES:
        return FailureReason.MODERATION_BLOCKED
    if _codes(error) & _EXHAUSTED_CODES:
        return FailureReason.QUOTA_EXHAUSTED
    if isinstance(error, openai.RateLimitError):
        return FailureReason.RATE_LIMITED
    if isinstance(error, openai.APIStatusError) and error.status_code < 500:
        return FailureReason.INVALID_REQUEST
    return FailureReason.PROVIDER_ERROR


def _message_of(error: openai.APIError) -> str:
    status = f"{error.status_code} " if isinstance(error, openai.APIStatusError) else ""
    return f"{status}{error.message}"[:500]
