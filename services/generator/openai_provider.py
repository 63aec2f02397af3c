"""The OpenAI Images API as a provider. The client's own retries are off; ours are counted and bounded (`calls.py`)."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import httpx2
import openai
from openai import AsyncOpenAI

from services.generator.prompts import prompt_of
from services.generator.provider import NotDone, Order, OutcomeUnknown, Picture
from shared.events import FailureReason
from shared.tracing import TRACE_HEADER, Span, current_traceparent

FIRST_WAIT_S = 2.0  # seconds before the second request
CONNECT_S = 10.0  # seconds for a connection: without one, nothing was sent
MAX_TOKENS = 10_000_000  # of one answer: a thousand times those of a picture
_BLOCKED_CODES = {"moderation_blocked", "content_policy_violation"}
_EXHAUSTED_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_MODEL_CODES = {"model_not_found", "model_deprecated"}
_UNKNOWN_PARAMETER = "unknown_parameter"
_SETTING_OF = {"size": "EVENSKIN_IMAGE_SIZE", "quality": "EVENSKIN_IMAGE_QUALITY"}  # by parameter
# No connection was made, so nothing was sent: also where a name is not known, or a certificate is not trusted.
_UNREACHABLE = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
_OWN_ERRORS = (500, 503)  # that the API answers itself, with its document, having made nothing


@dataclass(frozen=True)
class TokenPrices:
    """Prices of the tokens that go in, and of those that come out, in US dollars a million."""

    input_usd: float
    output_usd: float

    def cost_usd(self, usage: object) -> float | None:
        """What an answer cost by the tokens that it says it used; None where it does not say so."""
        read, written = getattr(usage, "input_tokens", None), getattr(usage, "output_tokens", None)
        if not _is_number_of_tokens(read) or not _is_number_of_tokens(written):
            return None
        return (read * self.input_usd + written * self.output_usd) / 1e6


class OpenAIProvider:
    """Generates with `images.generate`.

    `timeout_s`: seconds of one request, all in all. `quality`: asked for where an order names none. `price_usd`: what
    one image of this model, size and quality costs. `token_prices`: where they are known, what an answer says of its
    tokens decides what it cost.
    """

    name = "openai"

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None,
        model: str,
        size: str,
        price_usd: float,
        quality: str | None = None,
        token_prices: TokenPrices | None = None,
        images_per_minute: float,
        concurrency: int,
        timeout_s: float,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self.concurrency = concurrency
        self.images_per_minute: float | None = images_per_minute
        self.price_usd = price_usd
        self.first_wait_s = first_wait_s
        self._model = model
        self._size = size
        self._quality = quality
        self._token_prices = token_prices
        self._timeout_s = timeout_s
        # The client's limits are of one connect and one read each; the whole call has its own in `generate`.
        timeout = openai.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        self._client = AsyncOpenAI(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout)

    async def generate(self, order: Order) -> Picture:
        """Ask once for one picture, which comes as base64. Raises NotDone, OutcomeUnknown."""
        prompt = prompt_of(order)
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._answer(prompt, order.quality or self._quality)
        except TimeoutError as error:
            raise OutcomeUnknown(f"No answer within {self._timeout_s:g} s.", FailureReason.TIMEOUT) from error
        except UnicodeEncodeError as error:
            raise _no_header() from error
        except (openai.APIResponseValidationError, ValueError):  # of a body that is not JSON, or not in its shape
            response = None
        except openai.APIError as error:
            if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, _UNREACHABLE):
                raise self._not_reached(error.__cause__) from error
            raise _ended(error) from error
        # The client puts it on what it parsed, under this name; other servers may send none.
        request_id = getattr(response, "_request_id", None)
        # An answer without a picture is billed all the same: it is no usable picture, and nobody asks for another.
        return Picture(_picture_in(response), prompt, self._model, self._cost_usd(response), request_id)

    def _cost_usd(self, response: object) -> float:
        if self._token_prices is None:
            return self.price_usd
        cost_usd = self._token_prices.cost_usd(getattr(response, "usage", None))
        return self.price_usd if cost_usd is None else cost_usd

    async def _answer(self, prompt: str, quality: str | None) -> object:
        # GPT image models always answer with b64_json and refuse `response_format`.
        with Span("generate image", kind="client"):
            return await self._client.images.generate(
                model=self._model,
                prompt=prompt,
                n=1,
                size=self._size,
                output_format="png",
                quality=cast(Any, quality or openai.omit),  # whatever the model has; the client knows today's
                extra_headers={TRACE_HEADER: current_traceparent()},
            )

    def _not_reached(self, cause: BaseException) -> NotDone:
        url = self._client.base_url
        return NotDone(
            f"No connection to {url.host}{'' if url.port is None else f':{url.port}'}: {cause or 'no answer'}. "
            "Check OPENAI_BASE_URL, and that it can be reached from here.",
            FailureReason.PROVIDER_UNREACHABLE,
            may_help=True,
        )

    async def close(self) -> None:
        """Close the client's connections."""
        await self._client.close()


def _is_number_of_tokens(value: object) -> TypeGuard[int]:
    """The client does not check it."""
    return isinstance(value, int) and 0 <= value <= MAX_TOKENS


def _picture_in(response: object) -> bytes:
    """The picture's bytes, or none: the client does not check that an answer has the shape it promises."""
    pictures = getattr(response, "data", None)
    text = getattr(pictures[0], "b64_json", None) if isinstance(pictures, list) and pictures else None
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _ended(error: openai.APIError) -> NotDone | OutcomeUnknown:
    """How a request without a picture ended.

    It was surely not done where no connection was made, or the API itself refused it. Anything else, a gateway's
    error, a connection that is lost or silent, says nothing about whether the picture was made and billed.
    """
    if isinstance(error, openai.APIStatusError) and (error.status_code < 500 or _is_own_error(error)):
        reason = _refusal(error)
        setting = _SETTING_OF.get(str(error.param)) if reason is FailureReason.SETTINGS_REFUSED else None
        return NotDone(
            _message_of(error) + (f" Set {setting}." if setting else ""),
            reason,
            may_help=_may_help(error),
            retry_after_s=_retry_after_s(error.response.headers.get("retry-after", "")),
        )
    if isinstance(error.__cause__, httpx2.LocalProtocolError):  # the client itself refused to send it
        return _no_header()
    if isinstance(error.__cause__, httpx2.PoolTimeout):
        return NotDone(_message_of(error), FailureReason.PROVIDER_ERROR, may_help=True)
    timed_out = isinstance(error, openai.APITimeoutError)
    reason = FailureReason.TIMEOUT if timed_out else FailureReason.PROVIDER_ERROR
    return OutcomeUnknown(_message_of(error), reason)


def _no_header() -> NotDone:
    return NotDone("OPENAI_API_KEY has characters that no header holds.", FailureReason.KEY_REJECTED)


def _is_own_error(error: openai.APIStatusError) -> bool:
    """Whether an error of the server is told by the API, in its document, and not by something in between."""
    return error.status_code in _OWN_ERRORS and isinstance(error.body, dict) and "message" in error.body


def _may_help(error: openai.APIStatusError) -> bool:
    """Whether another request may help."""
    if _codes(error) & (_EXHAUSTED_CODES | _BLOCKED_CODES):
        return False
    return error.status_code >= 500 or error.status_code in (408, 409, 429)


def _retry_after_s(text: str) -> float | None:
    """Retry-After in seconds; None where it is absent, a date, or nonsense."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if seconds >= 0 else None  # not a number is not either


def _codes(error: openai.APIError) -> set[str]:
    return {str(error.code), str(error.type)}


def _refusal(error: openai.APIStatusError) -> FailureReason:
    """Why the API refused a request (platform.openai.com/docs/guides/error-codes)."""
    codes = _codes(error)
    if codes & _BLOCKED_CODES:
        return FailureReason.MODERATION_BLOCKED
    if codes & _EXHAUSTED_CODES or error.status_code == 402:
        return FailureReason.QUOTA_EXHAUSTED
    if codes & _MODEL_CODES or error.status_code == 404 or (error.status_code == 400 and error.param == "model"):
        return FailureReason.MODEL_UNAVAILABLE
    if error.status_code == 401:
        return FailureReason.KEY_REJECTED
    if error.status_code == 403:
        return FailureReason.PERMISSION_DENIED
    if error.status_code == 429:
        return FailureReason.RATE_LIMITED
    # All but the prompt is the same for every image.
    if error.status_code in (400, 422) and (_UNKNOWN_PARAMETER in codes or error.param not in (None, "prompt")):
        return FailureReason.SETTINGS_REFUSED
    return FailureReason.INVALID_REQUEST if error.status_code < 500 else FailureReason.PROVIDER_ERROR


def _message_of(error: openai.APIError) -> str:
    status = f"{error.status_code} " if isinstance(error, openai.APIStatusError) else ""
    return f"{status}{error.message}"[:500]
