"""Error documents of servers that speak the OpenAI API, in their dialects. Pure.

OpenAI: `{"error": {"message", "type", "param", "code"}}`. Azure nests what its filter found under `innererror` or
`inner_error`, LiteLLM under `provider_specific_fields`. stable-diffusion.cpp says `{"error": "text"}`, FastAPI (vLLM,
SGLang) `{"detail": "text"}` or `{"detail": [{"loc", "msg", "type"}]}`, older vLLM leaves the outer `error` out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.events import FailureReason

_BLOCKED = {"moderationblocked", "contentpolicyviolation", "contentfilter", "responsibleaipolicyviolation"}
_BLOCKED_CLASS = "ContentPolicyViolationError"  # LiteLLM's; its proxy says no more than this in its message
_EXHAUSTED = {"insufficientquota", "billinghardlimitreached", "billingnotactive"}
_NO_MODEL = {"modelnotfound", "modeldeprecated", "deploymentnotfound"}
_UNKNOWN_PARAMETER = {"unknownparameter", "extraforbidden"}  # OpenAI's, pydantic's
_PROMPT = (None, "prompt")
_DEPTH = 5  # levels that are read
_LONGEST = 500  # characters of a message


@dataclass(frozen=True)
class ErrorDocument:
    """What an error says. `codes`: every code and type in it, in small letters without separators."""

    message: str
    codes: frozenset[str]
    param: str | None

    @property
    def is_blocked(self) -> bool:
        """Whether a content filter refused the prompt, or the picture that was made of it."""
        return bool(self.codes & _BLOCKED) or _BLOCKED_CLASS in self.message

    @property
    def is_about_unknown_parameter(self) -> bool:
        """Whether a parameter is refused because the server does not know it."""
        return bool(self.codes & _UNKNOWN_PARAMETER)

    def status(self, otherwise: int) -> int:
        """The HTTP status that a code repeats, where the answer itself had none of an error."""
        told = [int(code) for code in self.codes if code.isdecimal() and 400 <= int(code) < 600]
        return max(told, default=otherwise)

    def reason(self, status: int) -> FailureReason:
        """Why a request was refused with this HTTP status (platform.openai.com/docs/guides/error-codes)."""
        by_code = self._reason_by_code(status)
        if by_code is not None:
            return by_code
        by_status = {
            401: FailureReason.KEY_REJECTED,
            402: FailureReason.QUOTA_EXHAUSTED,
            403: FailureReason.PERMISSION_DENIED,
            404: FailureReason.MODEL_UNAVAILABLE,
            429: FailureReason.RATE_LIMITED,
        }
        if status in by_status:
            return by_status[status]
        # All but the prompt is the same for every image.
        if status in (400, 422) and (self.is_about_unknown_parameter or self.param not in _PROMPT):
            return FailureReason.SETTINGS_REFUSED
        return FailureReason.INVALID_REQUEST if status < 500 else FailureReason.PROVIDER_ERROR

    def _reason_by_code(self, status: int) -> FailureReason | None:
        if self.is_blocked:
            return FailureReason.MODERATION_BLOCKED
        if self.codes & _EXHAUSTED:
            return FailureReason.QUOTA_EXHAUSTED
        if self.codes & _NO_MODEL or (status == 400 and self.param == "model"):
            return FailureReason.MODEL_UNAVAILABLE
        return None

    def may_pass(self, status: int) -> bool:
        """Whether the same request may succeed later."""
        if self.is_blocked or self.codes & _EXHAUSTED:
            return False
        return status >= 500 or status in (408, 409, 429)


def error_document(body: object) -> ErrorDocument:
    """What an error's JSON body says, whatever it looks like; its text, where it is none."""
    parts = list(_dictionaries(body))
    return ErrorDocument(
        message=(_message(body) or "no reason given")[:_LONGEST],
        codes=frozenset(
            _plain(part[name])
            for part in parts
            for name in ("code", "type")
            if isinstance(part.get(name), str | int) and part[name] != ""
        ),
        param=next((param for part in parts if (param := _param(part)) is not None), None),
    )


def _plain(code: object) -> str:
    return str(code).replace("_", "").replace("-", "").casefold()


def _dictionaries(body: object, depth: int = _DEPTH) -> Iterator[dict[str, object]]:
    """The body's dictionaries, outer ones first."""
    if depth and isinstance(body, dict):
        yield body
        for value in body.values():
            yield from _dictionaries(value, depth - 1)
    elif depth and isinstance(body, list):
        for value in body[:10]:
            yield from _dictionaries(value, depth - 1)


def _message(body: object, depth: int = _DEPTH) -> str | None:
    """The first text that is told of the error."""
    if isinstance(body, str):
        return body.strip() or None
    if depth and isinstance(body, list):
        told = [text for value in body[:10] if (text := _message(value, depth - 1))]
        return "; ".join(told) or None
    if depth and isinstance(body, dict):
        for name in ("error", "message", "msg", "detail", "errors", "title", "code"):
            text = _message(body.get(name), depth - 1)
            if text:
                return f"{text} ({param})" if (param := _param(body)) else text
    return None


def _param(part: dict[str, object]) -> str | None:
    """The parameter that an error is about: OpenAI's `param`, the end of pydantic's `loc`."""
    param = part.get("param")
    if isinstance(param, str):
        return param
    where = part.get("loc")
    if isinstance(where, list) and len(where) > 1 and where[0] == "body" and isinstance(where[-1], str):
        return where[-1]
    return None
