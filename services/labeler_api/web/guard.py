"""Lets in who has the API key or a token of their own, each to what their role may do."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import SecretStr

from shared.errors import Forbidden, Unauthorized
from shared.http import PUBLIC_PATHS, is_page, token_of
from shared.sign_in import Person, Role, SignIn, accounts_in

_SAFE = frozenset({"GET", "HEAD"})
_REVIEWERS_CHANGE = frozenset({"/v1/images/{id}/reviews", "/v1/images/{id}/frame", "/v1/reviews", "/v1/reviews/undo"})
_OPERATORS_READ = frozenset({"/v1/export", "/v1/dead-letters"})
_PERSON: web.RequestKey[Person] = web.RequestKey("person", Person)


def sign_in_guard(reviewers: SecretStr, key: SecretStr | None) -> Any:
    """Middleware that asks for a token of one of these reviewers, or the API key, which is an operator's.

    Pages, health, readiness and metrics are open. Raises ConfigurationError now for reviewers that are none; for a
    request Unauthorized, TooManyFailures, and Forbidden for what only an operator may.
    """
    sign_in = SignIn(accounts_in(reviewers.get_secret_value()))
    expected = None if key is None else key.get_secret_value().encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in PUBLIC_PATHS or is_page(request):
            return await handler(request)
        token = token_of(request)
        if not token:
            raise Unauthorized("The request carries no token.", advice="Send Authorization: Bearer <token>.")
        if expected is None or not hmac.compare_digest(token.encode(errors="surrogateescape"), expected):
            person = await sign_in.person(token, request.remote or "")
            _require_role(request, person)
            request[_PERSON] = person
        return await handler(request)

    return guard


def said_by(request: web.Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """A review or correction as it was sent, in the name of who signed in; with the API key, in the one it gives."""
    person = request.get(_PERSON)
    return dict(body) if person is None else {**body, "reviewer": person.name}


def _require_role(request: web.Request, person: Person) -> None:
    if person.role is Role.OPERATOR:
        return
    resource = request.match_info.route.resource
    route = "" if resource is None else resource.canonical
    may = route not in _OPERATORS_READ if request.method in _SAFE else route in _REVIEWERS_CHANGE
    if not may and request.match_info.http_exception is None:
        raise Forbidden(f"'{person.name}' may review, and nothing else be changed.", advice="Ask an operator.")
