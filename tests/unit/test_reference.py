"""The reference pages say what the code says, and name every setting, event, error and command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from docs.generate import DOCS, pages
from services.console.cli import app
from shared.events import EVENTS
from shared.schemas import ROUTES, asyncapi, json_schema

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(pages()))
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == pages()[name], "run `make docs`"


def test_every_event_has_a_route_a_schema_and_a_channel() -> None:
    assert set(ROUTES) == set(EVENTS) == set(asyncapi()["channels"])
    assert set(EVENTS) <= set(json_schema()["$defs"])


def test_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in get_command(app).list_commands(None):  # type: ignore[attr-defined]
        assert f"evenskin {command}" in readme, command


def test_settings_page_explains_every_variable() -> None:
    rows = [line for line in pages()["settings.md"].splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    for row in rows:
        assert row.split("|")[3].strip(), row
