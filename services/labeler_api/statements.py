"""Statements that every event runs are built once, at import: building one takes longer than running it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def per_dialect(build: Callable[[Callable[[sa.Table], Any]], Any]) -> dict[str, sa.Executable]:
    """An insert with ON CONFLICT, which each dialect has of its own, by the dialect's name."""
    return {"postgresql": build(postgresql.insert), "sqlite": build(sqlite.insert)}
