"""The review page as a browser gets it: every file is there, with its type, and nothing comes from elsewhere."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest
from yarl import URL

from services.console.all_in_one import all_in_one
from shared.taxonomy import Condition, Severity, severity_text

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# In HTML, in an ES module, and in a style sheet.
REFERENCES = (
    re.compile(r"""(?:href|src)="([^"]+)\""""),
    re.compile(r"""(?:\bfrom\s+|\bimport\s*\(?\s*)["']([^"']+)["']"""),
    re.compile(r"""url\(["']?([^"')]+)["']?\)"""),
)
PURE = ("review.js", "keys.js", "verdicts.js", "framing.js")
PARTS = ("board.js", "dom.js", "dialogs.js", "drag.js", "grid.js", "notices.js", "sidebar.js", "viewer.js")
DASHBOARD = ("dashboard.css", "dashboard.js", "events.js", "figures.js", "balance_table.js", "campaign_panel.js")
PANELS = ("models_panel.js", "training_chart.js", "campaign_controls.js", "plan_dialog.js")
FILES = ("icon.svg", "style.css", "page.js", "api.js", "outbox.js", *PURE, *PARTS, *DASHBOARD, *PANELS)
PAGES = ("/", "/dashboard")
NAMES_OF_SVG = "http://www.w3.org/"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with all_in_one(tmp_path, services=["labeler-api"]) as running:
        assert running.labeler_url is not None
        async with aiohttp.ClientSession(running.labeler_url) as session:
            yield session


async def files(site: aiohttp.ClientSession) -> dict[str, tuple[str, str]]:
    """Everything that the page leads to: path → media type and text."""
    found: dict[str, tuple[str, str]] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        async with site.get(path) as response:
            assert response.status == 200, path
            found[path] = (response.content_type, text := await response.text())
        references = [match for pattern in REFERENCES for match in pattern.findall(text)]
        waiting += [urljoin(path, reference) for reference in references]
    return found


async def test_every_file_of_the_page_is_served_with_its_type(site: aiohttp.ClientSession) -> None:
    found = await files(site)
    assert {found[page][0] for page in PAGES} == {"text/html"}
    names = set(found) - set(PAGES)
    assert names == {f"/static/{name}" for name in FILES}
    for name in names:
        accepted = {TYPES[Path(name).suffix], "application/javascript" if name.endswith(".js") else ""}
        assert found[name][0] in accepted, name


async def test_the_page_refers_to_nothing_outside(site: aiohttp.ClientSession) -> None:
    for path, (_, text) in (await files(site)).items():
        addresses = re.findall(r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s"'`)]*""", text, re.IGNORECASE)
        assert not [address for address in addresses if not address.startswith(NAMES_OF_SVG)], path


async def test_what_the_page_asks_for_is_described_by_the_api(site: aiohttp.ClientSession) -> None:
    _, script = (await files(site))["/static/api.js"]
    asked = {re.sub(r"\$\{[^}]*\}?.*", "", path).rstrip("?/") for path in re.findall(r"""["`](/v1/[^"`]*)""", script)}
    async with site.get("/openapi.json") as response:
        paths = (await response.json())["paths"]
    assert asked
    assert not {path for path in asked if path not in paths and f"{path}/{{id}}" not in paths}


async def test_the_old_bookmark_leads_to_the_page(site: aiohttp.ClientSession) -> None:
    async with site.get("/dermatologist_drag_drop_tool.html") as response:
        assert response.status == 200
        assert response.url.path == "/"
        assert "evenskin" in await response.text()


async def test_the_page_knows_the_same_conditions_and_severities_as_we(site: aiohttp.ClientSession) -> None:
    _, script = (await files(site))["/static/review.js"]
    conditions, severities = (
        re.findall(r'"([a-z_]+)"', re.findall(rf"export const {name} = \[(.*?)\]", script, re.DOTALL)[0])
        for name in ("CONDITIONS", "SEVERITIES")
    )
    assert conditions == list(Condition)
    assert severities == [severity.label for severity in Severity]
    assert severity_text(Condition.TEXTURED_SKIN, Severity.MILD) in script


async def test_nothing_but_the_pages_files_is_served_from_there(site: aiohttp.ClientSession) -> None:
    for path in ("/static/", "/static/nothing.js", "/static/../app.py", "/static/%2e%2e/app.py"):
        async with site.get(URL(path, encoded=True)) as response:
            assert response.status in (403, 404), path
            assert "import" not in await response.text()


async def test_the_page_and_its_files_come_without_the_key_and_the_data_does_not(tmp_path: Path) -> None:
    overrides = {"": {"api_key": "secret"}}
    async with all_in_one(tmp_path, services=["labeler-api"], overrides=overrides) as running:
        assert running.labeler_url is not None
        assert urlsplit(running.labeler_url).hostname == "127.0.0.1"
        async with aiohttp.ClientSession(running.labeler_url) as site:
            assert len(await files(site)) == len(PAGES) + len(FILES)
            for path in ("/v1/balance", "/v1/images", "/v1/rebalances"):
                async with site.get(path) as response:
                    assert response.status == 401
                    assert (await response.json())["code"] == "unauthorized"
                async with site.get(path, headers={"Authorization": "Bearer secret"}) as response:
                    assert response.status == 200
