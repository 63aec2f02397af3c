"""What the routes of every subject need: answers read from the ledger, and what a path or a query says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.web.openapi import MAX_PAGE, PAGE
from shared.documents.base import Document
from shared.errors import InvalidRequest, NotFound
from shared.http import MAX_NUMBER, document_response

E = TypeVar("E", bound=StrEnum)


class Routes:
    """The routes about one subject, over the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def _answer(self, view: Callable[[AsyncConnection], Awaitable[Document]], status: int = 200) -> web.Response:
        """What a view reads from the ledger."""
        async with self._ledger.database.reading() as connection:
            return document_response(await view(connection), status)


def id_in_path(request: web.Request) -> UUID:
    """The path's `id`. Raises NotFound for what is none."""
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise NotFound(f"'{request.match_info['id'][:60]}' is not an id.") from None


def number(text: str | None, name: str, default: int) -> int:
    """A whole number of a query. Raises InvalidRequest."""
    try:
        found = default if text is None else int(text)
    except ValueError:
        raise InvalidRequest(f"'{name}' is not a whole number.") from None
    if abs(found) > MAX_NUMBER:
        raise InvalidRequest(f"'{name}' is too large a number.")
    return found


def cursor(request: web.Request) -> int:
    """Where the page before ended. Raises InvalidRequest."""
    found = number(request.query.get("cursor"), "cursor", 0)
    if found < 0:
        raise InvalidRequest("'cursor' is none that a page has told.")
    return found


def limit(request: web.Request) -> int:
    """How many things one answer lists. Raises InvalidRequest."""
    found = number(request.query.get("limit"), "limit", PAGE)
    if not 1 <= found <= MAX_PAGE:
        raise InvalidRequest(f"'limit' must be from 1 to {MAX_PAGE}.")
    return found


def member(kind: type[E], text: str | None, name: str) -> E | None:
    """A name of an enumeration; None where there is none. Raises InvalidRequest, with the names that there are."""
    try:
        return kind(text) if text else None
    except ValueError:
        raise InvalidRequest(f"'{text}' is not a {name}.", advice=f"Use one of: {', '.join(kind)}.") from None


def truth(request: web.Request, name: str) -> bool:
    """What a query says of a flag; absent: no. Raises InvalidRequest."""
    text = request.query.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidRequest(f"'{name}' is neither true nor false.")
    return text in ("true", "1")


def origin(request: web.Request) -> str:
    """Where the request was sent. Raises InvalidRequest for a Host that is none."""
    try:
        return str(request.url.origin())
    except ValueError:
        raise InvalidRequest("The request's Host is no address.") from None
