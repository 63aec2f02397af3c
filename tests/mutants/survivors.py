"""The survivors that somebody looked at: `survivors.toml` names each, with the reason why no test kills it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.mutants.outcome import Survivor

FILE = Path(__file__).with_name("survivors.toml")


def named_survivors() -> dict[str, dict[Survivor, str]]:
    """Path of a module → its survivors that are named, each with the reason.

    Raises ValueError for one that is named twice.
    """
    named: dict[str, dict[Survivor, str]] = {}
    for group in tomllib.loads(FILE.read_text())["group"]:
        survivors = named.setdefault(group["module"], {})
        for place, was, became in group["mutants"]:
            survivor = Survivor(place, was, became)
            if survivor in survivors:
                raise ValueError(f"{group['module']}: {place} is named twice: {was!r}, {became!r}")
            survivors[survivor] = group["reason"]
    return named
