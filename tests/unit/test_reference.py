"""The reference pages say what the code says, and name every setting, event, error and command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

from docs.generate import DOCS, pages
from services.console.cli import app
from shared.events import EVENTS
from shared.schemas import ROUTES, asyncapi, example_data, example_document, json_schema

ROOT = Path(__file__).parents[2]
PAGES = pages()
DIMENSIONLESS = {"`EVENSKIN_PORT`", "`seed`", "`learning_rate`", "`weight_decay`", "`focal_gamma`"}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name], "run `make docs`"


def test_every_event_has_a_route_a_schema_and_a_channel() -> None:
    assert set(ROUTES) == set(EVENTS) == set(asyncapi()["channels"])
    assert set(EVENTS) <= set(json_schema()["$defs"])


def test_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in get_command(app).list_commands(None):  # type: ignore[attr-defined]
        assert f"evenskin {command}" in readme, command


def rows_of(page: str) -> list[list[str]]:
    """The cells of every row that begins with a name in code."""
    lines = [line for line in PAGES[page].splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize(("page", "least"), [("settings.md", 40), ("events.md", 70)])
def test_page_says_everything_of_every_field(page: str, least: int) -> None:
    rows = rows_of(page)
    assert len(rows) >= least
    for row in rows:
        _, kind, _, bounds, default, meaning = row
        assert kind, row
        assert default, row
        assert meaning, row
        assert bounds or kind not in ("integer", "number"), row


@pytest.mark.parametrize("page", ["settings.md", "events.md"])
def test_every_number_has_a_unit(page: str) -> None:
    without = {row[0] for row in rows_of(page) if re.search("integer|number", row[1]) and not row[2]}
    assert without <= DIMENSIONLESS


def test_every_event_shows_its_example() -> None:
    shown = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGES["events.md"], re.DOTALL)]
    assert shown == [example_document("RebalanceRequested"), *(example_data(name) for name in EVENTS)]


def test_links_within_the_events_page_lead_somewhere() -> None:
    page = PAGES["events.md"]
    targets = set(re.findall(r"\]\(#(\w+)\)", page))
    headings = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", page, re.MULTILINE)}
    assert targets
    assert targets <= headings


@pytest.mark.parametrize("page", ["metrics.md", "errors.md"])
def test_page_has_no_empty_meaning(page: str) -> None:
    for row in rows_of(page):
        assert row[0], row
        assert row[1], row
        assert row[4 if page == "metrics.md" else 2], row


def test_units_of_metrics_are_those_of_their_names() -> None:
    units = {row[0].strip("`"): row[2] for row in rows_of("metrics.md")}
    assert units["evenskin_http_request_seconds"] == "seconds"
    assert units["evenskin_spent_usd_total"] == "US dollars"
    assert units["evenskin_training_score_ratio"] == "ratio, 0 to 1"
    assert units["evenskin_variants_made_total"] == "count"
