"""Statements that every event runs are built once, at import: building one takes longer than running it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")


def padded(values: Sequence[T]) -> list[T]:
    """Values with the last one repeated up to a power of two, where repetition does not matter.

    A statement of another length is another one, which every connection has to prepare.
    """
    return [*values, *[values[-1]] * ((1 << (len(values) - 1).bit_length()) - len(values))]


def per_dialect(build: Callable[[Callable[[sa.Table], Any]], Any]) -> dict[str, sa.Executable]:
    """An insert with ON CONFLICT, which each dialect has of its own, by the dialect's name."""
    return {"postgresql": build(postgresql.insert), "sqlite": build(sqlite.insert)}
