"""The OpenAI Images API as a provider. The client's own retries are off; ours are counted and bounded (`calls.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeGuard, cast

import httpx2
import openai
from openai import AsyncOpenAI

from services.generator.error_documents import ErrorDocument, error_document
from services.generator.picture_data import is_data_url, picture_bytes
from services.generator.picture_url import NotFetched, PictureUrls, bound
from services.generator.profiles import PROFILES
from services.generator.prompts import Prompts, our_prompts
from services.generator.provider import NotDone, Order, OutcomeUnknown, PaidInVain, Picture
from services.generator.retry_after import retry_after_s
from shared.events import FailureReason
from shared.image_settings import LOCAL_PROFILES, ProviderProfile
from shared.pictures.provenance import SourceType
from shared.prices import price_list
from shared.tracing import TRACE_HEADER, Span, current_traceparent

FIRST_WAIT_S = 2.0  # seconds before the second request
CONNECT_S = 10.0  # seconds for a connection: without one, nothing was sent
MAX_TOKENS = 10_000_000  # of one answer: a thousand times those of a picture
_ADVICE = {"size": "Set EVENSKIN_IMAGE_SIZE.", "quality": "Set EVENSKIN_IMAGE_QUALITY."}  # by parameter
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
    tokens decides what it cost. `profile`: what the server knows. `prompts`: absent, ours.
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
        image_hosts: Sequence[str] = (),
        profile: ProviderProfile = "openai",
        prompts: Prompts | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.images_per_minute: float | None = images_per_minute
        self.price_usd = price_usd
        self.first_wait_s = first_wait_s
        self._prompts = prompts or our_prompts()
        self._profile = PROFILES[profile]
        self._is_local = profile in LOCAL_PROFILES
        self._model = model
        self._size = size
        self._quality = quality
        self._token_prices = token_prices
        self._timeout_s = timeout_s
        # The client's limits are of one connect and one read each; the whole call has its own in `generate`.
        timeout = openai.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        self._http = openai.DefaultAsyncHttpx2Client(event_hooks={"response": [bound]}, timeout=timeout)
        self._client = AsyncOpenAI(
            api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout, http_client=self._http
        )
        self._urls = PictureUrls(self._http, self._client.base_url, image_hosts)

    async def generate(self, order: Order) -> Picture:
        """Ask once for one picture. Raises NotDone, OutcomeUnknown, PaidInVain."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._picture(self._prompts.prompt_of(order), order.quality or self._quality)
        except NotDone as error:
            error.wording = self._prompts.wording_of(order)
            is_blocked = error.reason is FailureReason.MODERATION_BLOCKED
            error.has_calmer_wording = is_blocked and error.wording + 1 < len(self._prompts.wordings_for(order))
            raise
        except TimeoutError as error:
            raise OutcomeUnknown(f"No answer within {self._timeout_s:g} s.", FailureReason.TIMEOUT) from error

    async def _picture(self, prompt: str, quality: str | None) -> Picture:
        try:
            response = await self._answer(prompt, quality)
        except UnicodeEncodeError as error:
            raise _no_header() from error
        except (openai.APIResponseValidationError, ValueError):  # of a body that is not JSON, or not in its shape
            response = None
        except openai.APIError as error:
            if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, _UNREACHABLE):
                raise self._not_reached(error.__cause__) from error
            raise self._with_end_of_model(_ended(error, is_local=self._is_local)) from error
        data = await self._data_in(response)
        # The client puts it on what it parsed, under this name; other servers may send none.
        request_id = getattr(response, "_request_id", None)
        return Picture(
            data,
            prompt,
            self._model,
            self._cost_usd(response),
            request_id,
            self._prompts.sha256,
            source_type=SourceType.TRAINED,
        )

    async def _data_in(self, response: object) -> bytes:
        """The picture's bytes. The client does not check that an answer has the shape it promises.

        An answer without a picture is billed all the same, and nobody asks for another: PaidInVain. One that tells of
        an error instead is a refusal, whatever its status says: NotDone.
        """
        pictures = getattr(response, "data", None)
        first = pictures[0] if isinstance(pictures, list) and pictures else None
        text, url = getattr(first, "b64_json", None), getattr(first, "url", None)
        if not text and isinstance(url, str) and is_data_url(url):
            text = url
        if text:
            data = picture_bytes(text)
            if data is None:
                raise PaidInVain("The answer's picture is not in base64.", cost_usd=self._cost_usd(response))
            return data
        if isinstance(url, str) and url.strip():
            try:
                return await self._urls.fetch(url)
            except NotFetched as error:
                raise PaidInVain(error.message, cost_usd=self._cost_usd(response)) from error
        error_told = getattr(response, "error", None)
        if error_told:
            told = error_document(error_told)
            raise _refused(told, told.status(otherwise=500), "")
        raise PaidInVain("The answer has no picture.", cost_usd=self._cost_usd(response))

    def _cost_usd(self, response: object) -> float:
        if self._token_prices is None:
            return self.price_usd
        cost_usd = self._token_prices.cost_usd(getattr(response, "usage", None))
        return self.price_usd if cost_usd is None else cost_usd

    async def _answer(self, prompt: str, quality: str | None) -> object:
        parameters = self._profile.request(
            model=self._model,
            prompt=prompt,
            n=1,
            size=self._size,
            output_format="png",
            response_format="b64_json",
            quality=quality,
        )
        with Span("generate image", kind="client"):
            return await self._client.images.generate(
                **cast(Any, parameters),  # whatever the model has; the client knows today's
                extra_headers={TRACE_HEADER: current_traceparent()},
            )

    def _with_end_of_model(self, ended: NotDone | OutcomeUnknown) -> NotDone | OutcomeUnknown:
        """The same; a model that is not there since it was shut down is told so, with what to set."""
        end = price_list().end_of(self._model, datetime.now(UTC).date())
        if ended.reason is FailureReason.MODEL_UNAVAILABLE and end is not None:
            return NotDone(f"{ended.message} {end}", ended.reason)
        return ended

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


def _advice(error: ErrorDocument) -> str | None:
    if error.is_about_unknown_parameter:
        return "Set EVENSKIN_PROVIDER_PROFILE to what the server is."
    return _ADVICE.get(str(error.param))


def _refused(error: ErrorDocument, status: int, told: str, wait_s: float | None = None) -> NotDone:
    """A request that the API itself refused. `told`: the status, as people read it."""
    reason = error.reason(status)
    advice = _advice(error) if reason is FailureReason.SETTINGS_REFUSED else None
    return NotDone(
        f"{told}{error.message}" + (f" {advice}" if advice else ""),
        reason,
        may_help=error.may_pass(status),
        retry_after_s=wait_s,
    )


def _ended(error: openai.APIError, *, is_local: bool) -> NotDone | OutcomeUnknown:
    """How a request without a picture ended. `is_local`: whether any error in JSON is the server's own.

    It was surely not done where no connection was made, or the API itself refused it. Anything else, a gateway's
    error, a connection that is lost or silent, says nothing about whether the picture was made and billed.
    """
    if isinstance(error, openai.APIStatusError):
        told = error_document(_body_of(error))
        if error.status_code < 500 or _is_own_error(error, is_local=is_local):
            headers = error.response.headers
            refused = _refused(told, error.status_code, f"{error.status_code} ", retry_after_s(headers))
            if headers.get("x-should-retry", "").strip().casefold() == "false":
                refused.may_help = False
            return refused
        return OutcomeUnknown(f"{error.status_code} {told.message}", FailureReason.PROVIDER_ERROR)
    if isinstance(error.__cause__, httpx2.LocalProtocolError):  # the client itself refused to send it
        return _no_header()
    if isinstance(error.__cause__, httpx2.PoolTimeout):
        return NotDone(error.message, FailureReason.PROVIDER_ERROR, may_help=True)
    timed_out = isinstance(error, openai.APITimeoutError)
    reason = FailureReason.TIMEOUT if timed_out else FailureReason.PROVIDER_ERROR
    return OutcomeUnknown(error.message, reason)


def _body_of(error: openai.APIStatusError) -> object:
    try:
        return error.response.json()
    except ValueError:  # a gateway's page, say
        return error.body


def _no_header() -> NotDone:
    return NotDone("OPENAI_API_KEY has characters that no header holds.", FailureReason.KEY_REJECTED)


def _is_own_error(error: openai.APIStatusError, *, is_local: bool) -> bool:
    """Whether an error of the server is told by the API, in its document, and not by something in between."""
    if error.status_code not in _OWN_ERRORS:
        return False
    return is_local or (isinstance(error.body, dict) and "message" in error.body)
