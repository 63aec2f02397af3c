"""Tokens: each lets in whom it was made for and nobody else, and guessing is slow and bounded."""

from __future__ import annotations

import pytest

from shared import sign_in
from shared.errors import ConfigurationError, TooManyFailures, Unauthorized
from shared.sign_in import FAILURES, FAILURES_S, Person, Role, SignIn, accounts_in, new_token


async def test_a_token_is_its_owners() -> None:
    mine, entry = new_token("Dr. Ä <b>", Role.REVIEWER)
    hers, other = new_token("Dr. B", Role.OPERATOR)
    known = SignIn(accounts_in(f" {entry} ,\n{other}\n"))
    for _ in range(2):  # the second time from memory
        assert await known.person(mine, "a") == Person("Dr. Ä <b>", Role.REVIEWER)
        assert await known.person(hers, "a") == Person("Dr. B", Role.OPERATOR)
    swapped = f"{mine.partition('.')[0]}.{hers.partition('.')[2]}"
    for wrong in (swapped, mine + "x", mine[:-1], mine.partition(".")[2], "", ".", "\udcff", "00000000.x"):
        with pytest.raises(Unauthorized):
            await SignIn(accounts_in(f"{entry},{other}")).person(wrong, "a")


def test_a_token_is_not_in_its_entry_and_no_two_are_the_same() -> None:
    token, entry = new_token("A", Role.REVIEWER)
    assert token.partition(".")[2] not in entry
    again, another = new_token("A", Role.REVIEWER)
    assert (token, entry) != (again, another)
    assert len(token.partition(".")[2]) >= 43  # 256 bits in base64


@pytest.mark.parametrize("name", ["", " ", "a,b", "a;b", "a\nb", "a\0b", "x" * 129])
def test_a_name_that_an_entry_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        new_token(name, Role.REVIEWER)


def test_wrong_entries_are_told_without_their_hashes() -> None:
    _, entry = new_token("A", Role.REVIEWER)
    for text in (entry[:-1], entry.replace("reviewer", "boss"), f"{entry};more", f"{entry},{entry}", "secret"):
        with pytest.raises(ConfigurationError) as caught:
            accounts_in(text)
        assert entry.rpartition(":")[2][:20] not in str(caught.value)
        assert "secret" not in str(caught.value)
    _, namesake = new_token("A", Role.OPERATOR)
    with pytest.raises(ConfigurationError, match="twice"):
        accounts_in(f"{entry},{namesake}")
    assert accounts_in("") == {}


async def test_an_address_that_guesses_is_not_heard_for_a_while() -> None:
    now = 100.0
    token, entry = new_token("A", Role.REVIEWER)
    proven, other = new_token("B", Role.REVIEWER)
    known = SignIn(accounts_in(f"{entry},{other}"), clock=lambda: now)
    await known.person(proven, "bad")
    for _ in range(FAILURES):
        with pytest.raises(Unauthorized):
            await known.person("00000000.guess", "bad")
    for sent in ("00000000.guess", token):  # a right one tells it nothing either
        with pytest.raises(TooManyFailures):
            await known.person(sent, "bad")
    assert (await known.person(proven, "bad")).name == "B"  # who was in stays in
    assert (await known.person(token, "good")).name == "A"
    now += FAILURES_S + 1
    with pytest.raises(Unauthorized):
        await known.person("00000000.guess", "bad")


async def test_failures_of_many_addresses_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "_ADDRESSES", 3)
    known = SignIn({})
    for number in range(10):
        with pytest.raises(Unauthorized):
            await known.person("x", f"address {number}")
    assert len(known._failures) == 3
