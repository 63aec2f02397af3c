"""What the services expose and what the documentation, the dashboard and the alerts speak of is the same."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from services.console.all_in_one import ALL, RunningServices, all_in_one
from tests.eventually import LIMIT_S

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(evenskin_\w+)` \| (\w+) \| [^|]+ \| (.*?) \|", re.MULTILINE)
NAME = re.compile(r"\bevenskin_[a-z0-9_]+")
UNITS = ("_total", "_seconds", "_ratio", "_info")
PARTS = ("_bucket", "_sum", "_count")


def documented() -> dict[str, dict[str, tuple[str, set[str]]]]:
    """Kind and labels of every metric, by section of docs/metrics.md and name."""
    found: dict[str, dict[str, tuple[str, set[str]]]] = {}
    for section in (ROOT / "docs/metrics.md").read_text().split("\n## ")[1:]:
        rows = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(section)}
        found[section.split("\n")[0]] = rows
    return found


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningServices]:
    monkeypatch.chdir(tmp_path)  # no `.env`
    monkeypatch.setattr("services.labeler_api.metrics.REFRESH_S", LIMIT_S)
    async with all_in_one(tmp_path / "home", overrides={"": {"host": "127.0.0.1", "api_key": None}}) as services:
        yield services


async def scrape(running: RunningServices, service: str) -> str:
    """A service's /metrics."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{running.services[service].port}/metrics") as answer,
    ):
        assert answer.status == 200
        return await answer.text()


async def test_what_is_exposed_is_what_is_documented(running: RunningServices) -> None:
    pages = documented()
    for service in ALL:
        await scrape(running, service)  # so that there is a request to tell of
        expected = pages["Every service"] | pages.get(service, {})
        text = await scrape(running, service)
        exposed = {family.name: family for family in text_string_to_metric_families(text)}
        names = {family.name + ("_total" if family.type == "counter" else "") for family in exposed.values()}
        assert {name for name in names if name.startswith("evenskin_")} == set(expected), service
        assert {"process_cpu_seconds_total", "python_info"} <= names
        for name, (kind, labels) in expected.items():
            family = exposed[name.removesuffix("_total")]
            assert family.type == kind, name
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == labels, sample.name


def test_names_follow_the_convention() -> None:
    for rows in documented().values():
        for name, (kind, _) in rows.items():
            assert (kind == "counter") == name.endswith("_total"), name
            assert kind != "histogram" or name.endswith(("_seconds", "_pictures", "_ratio")), name
            assert not re.search(r"milli|minute|_ms\b|percent", name), name


async def test_the_ledger_shows_its_balance_and_its_campaigns(running: RunningServices) -> None:
    async with aiohttp.ClientSession() as session:
        form = aiohttp.FormData()
        form.add_field("file", (ROOT / "docs/faces.jpg").read_bytes(), filename="f.jpg", content_type="image/jpeg")
        form.add_field("condition", "acne")
        async with session.post(f"{running.labeler_url}/v1/images", data=form) as answer:
            assert answer.status == 201
        body = {"targets": {"redness": 500}, "max_attempts": 1}
        async with session.post(f"{running.labeler_url}/v1/rebalances", json=body) as answer:
            assert answer.status == 202
    families = {f.name: f for f in text_string_to_metric_families(await scrape(running, "labeler-api"))}

    def value(name: str, **labels: str) -> float:
        return sum(s.value for s in families[name].samples if labels.items() <= s.labels.items())

    assert value("evenskin_condition_images", condition="acne", status="accepted") == 1
    assert value("evenskin_images", status="accepted") >= 1
    assert value("evenskin_campaigns_active", state="running") == 1
    assert value("evenskin_campaign_slots", condition="redness") == 500
    assert value("evenskin_http_requests", route="/v1/rebalances", status="202") == 1


def speaking_of() -> dict[str, str]:
    """The dashboards' and alerts' queries, by where they stand."""
    found = {}
    for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for index, target in enumerate(panel.get("targets", [])):
                found[f"{path.name}: {panel['title']} {index}"] = target["expr"]
    rules: Any = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            found[f"alerts.yml: {rule['alert']}"] = rule["expr"]
    return found


def test_dashboards_and_alerts_speak_of_metrics_that_are_documented() -> None:
    known = {name for rows in documented().values() for name in rows}
    queries = speaking_of()
    assert len(queries) > 15
    used = set()
    for where, query in queries.items():
        for name in NAME.findall(query):
            base = next((name.removesuffix(part) for part in PARTS if name.removesuffix(part) in known), name)
            assert base in known, f"{where}: {name}"
            used.add(base)
    assert len(used) > 15
