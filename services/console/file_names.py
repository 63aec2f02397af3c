"""Writes file names that may hold anything: bytes that are no UTF-8, line breaks, thousands of characters."""

from __future__ import annotations

import os
from pathlib import PurePath

MOST_CHARACTERS = 300  # of a name that is shown; the middle of a longer one is left out


def as_text(path: PurePath | str) -> str:
    """A path as one line of text that every terminal and JSON reader takes: what is not printable is escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shown(path: PurePath | str) -> str:
    """The same for people: short enough to be read."""
    text = as_text(path)
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[:half]}…{text[-half:]}"
