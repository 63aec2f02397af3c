"""Who asks: reviewers and operators by tokens of their own, of which the settings hold scrypt hashes only.

A token is `<id>.<secret>`, so that one hash is reckoned for it however many reviewers there are. scrypt (RFC 7914) with
N = 2¹⁴, r = 8, p = 1 takes 16 MiB and about 50 ms: one at a time, and once for each token that proves right.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import ConfigurationError, TooManyFailures, Unauthorized

_N, _R, _P = 2**14, 8, 1
_MEMORY = 64 * 1024 * 1024  # bytes that OpenSSL may take for it: twice 128 · N · r, rounded up
_SECRET_BYTES, _ID_BYTES, _SALT_BYTES = 32, 4, 16
FAILURES, FAILURES_S = 10, 60.0
"""Wrong tokens that one address may send within so many seconds."""
_ADDRESSES = 1024  # whose failures are remembered at a time, the latest ones
_ENTRY = re.compile(
    r"(?P<name>[^,;\x00-\x1f]{1,128});(?P<role>reviewer|operator);"
    r"(?P<id>[0-9a-f]{8}):(?P<salt>[0-9a-f]{32}):(?P<hash>[0-9a-f]{64})"
)


class Role(StrEnum):
    """What somebody may do: review, or everything."""

    REVIEWER = "reviewer"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Person:
    """Somebody who signed in."""

    name: str
    role: Role


@dataclass(frozen=True)
class _Account:
    person: Person
    salt: bytes
    hash: bytes


def new_token(name: str, role: Role) -> tuple[str, str]:
    """A fresh token, and the entry that lets it in: the first is for the person, the second for EVENSKIN_REVIEWERS.

    Raises ConfigurationError for a name that an entry cannot hold.
    """
    id_, salt = secrets.token_hex(_ID_BYTES), secrets.token_bytes(_SALT_BYTES)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    entry = f"{name.strip()};{role};{id_}:{salt.hex()}:{_scrypt(secret, salt).hex()}"
    accounts_in(entry)
    return f"{id_}.{secret}", entry


def accounts_in(text: str) -> dict[str, _Account]:
    """The accounts of a setting, by their ids. Raises ConfigurationError, which names no hash."""
    found: dict[str, _Account] = {}
    entries = [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]
    for number, entry in enumerate(entries, start=1):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ConfigurationError(
                f"Entry {number} of EVENSKIN_REVIEWERS is none.",
                advice="`evenskin token NAME` makes one. A name has 1 to 128 characters, and no comma or semicolon.",
            )
        person = Person(match["name"].strip(), Role(match["role"]))
        found[match["id"]] = _Account(person, bytes.fromhex(match["salt"]), bytes.fromhex(match["hash"]))
    names = {account.person.name for account in found.values()}
    if len(found) < len(entries) or len(names) < len(entries):
        raise ConfigurationError("EVENSKIN_REVIEWERS names somebody twice.", advice="Give each one entry.")
    return found


class SignIn:
    """Knows whose a token is. `clock` tells seconds that only grow."""

    def __init__(self, accounts: Mapping[str, _Account], clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._clock = clock
        self._proven: dict[bytes, Person] = {}  # by the SHA-256 of a token; no more than there are accounts
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()

    async def person(self, token: str, address: str) -> Person:
        """Whose token this is. `address`: where it comes from.

        Raises Unauthorized for a wrong one; TooManyFailures where the address has sent too many of those, whatever it
        sends now, but for a token that has proved right before.
        """
        sent = token.encode(errors="surrogateescape")
        digest = hashlib.sha256(sent).digest()
        if (known := self._proven.get(digest)) is not None:
            return known
        async with self._one_at_a_time:  # a burst of guesses waits here, and finds the limit when its turn comes
            self._require_few_failures(address)
            id_, _, secret = token.partition(".")
            account = self._accounts.get(id_)
            if account is not None:
                hashed = await asyncio.to_thread(_scrypt, secret, account.salt)
                if hmac.compare_digest(hashed, account.hash):
                    self._proven[digest] = account.person
                    return account.person
            self._note_failure(address)
        raise Unauthorized("The request carries no valid token.", advice="Send Authorization: Bearer <token>.")

    def _require_few_failures(self, address: str) -> None:
        recent = [at for at in self._failures.get(address, ()) if at > self._clock() - FAILURES_S]
        if len(recent) >= FAILURES:
            raise TooManyFailures(
                f"This address has sent {FAILURES} wrong tokens within a minute.", advice="Try again in a minute."
            )

    def _note_failure(self, address: str) -> None:
        self._failures[address] = [*self._failures.get(address, ())[1 - FAILURES :], self._clock()]
        self._failures.move_to_end(address)
        if len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)


def _scrypt(secret: str, salt: bytes) -> bytes:
    sent = secret.encode(errors="surrogateescape")
    return hashlib.scrypt(sent, salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY, dklen=32)
