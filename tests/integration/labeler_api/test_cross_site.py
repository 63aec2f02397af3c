"""What pages of other web sites can do to a labeler-api without a key, and with one: nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.pictures import png
from tests.integration.description import Description
from tests.integration.labeler_api.support import Answer, Labeler, labeler

ELSEWHERE = "https://elsewhere.example"
CAMPAIGN = b'{"target_per_condition": 5}'
AS_JSON = {"Content-Type": "application/json"}
BODILESS = (
    "/v1/models/rollback",
    "/v1/models/v1/promotions",
    "/v1/dead-letters/replay",
    "/v1/rebalances/{id}/pause",
    "/v1/rebalances/{id}/resume",
    "/v1/rebalances/{id}/cancel",
)
FOREIGN = (ELSEWHERE, "null", "http://127.0.0.1:1", "http://localhost", "http://evil.example:{port}", "", "about:blank")
"""Origins of other pages: also on this machine's other ports, and of no site at all."""


async def ask(running: Labeler, method: str, path: str, **options: Any) -> Answer:
    """One request, whose answer must be one that the description has."""
    answer = await running.call(method, path, allow_redirects=False, **options)
    description = Description(await running.get("/openapi.json", headers={"X-API-Key": "secret"}))
    description.check(method, path, answer.status, answer.headers, answer.body)
    return answer


async def test_another_sites_page_starts_nothing(one: Labeler) -> None:
    for origin in FOREIGN:
        headers = {"Origin": origin.format(port=one.service.port)}
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json", "multipart/form-data"):
            answer = await ask(one, "POST", "/v1/rebalances", data=CAMPAIGN, headers={"Content-Type": kind, **headers})
            assert (answer.status, answer.code) == (403, "foreign_origin"), (origin, kind)
        assert (await one.call("PUT", "/v1/rebalances", headers=headers)).status == 405
    rebound = {"Origin": f"{ELSEWHERE}:1", "Host": "elsewhere.example:1", **AS_JSON}
    answer = await ask(one, "POST", "/v1/rebalances", data=CAMPAIGN, headers=rebound)
    assert (answer.status, answer.code) == (403, "foreign_host")
    assert await one.rows("campaigns") == []


@pytest.mark.parametrize("path", BODILESS)
async def test_nor_does_it_change_anything_without_a_body(one: Labeler, path: str) -> None:
    path = path.format(id="5b0c7a3e-0000-4000-8000-000000000000")
    for origin in FOREIGN:
        answer = await ask(one, "POST", path, headers={"Origin": origin.format(port=one.service.port)})
        assert (answer.status, answer.code) == (403, "foreign_origin"), origin
    for kind in ("text/plain", "application/x-www-form-urlencoded"):  # as a form sends it
        answer = await ask(one, "POST", path, headers={"Content-Type": kind})
        assert (answer.status, answer.code) == (415, "unsupported_media_type"), kind
    assert (await ask(one, "POST", path)).status in (200, 404)


async def test_nor_does_it_bring_in_a_picture(one: Labeler) -> None:
    one.session.headers["Origin"] = ELSEWHERE
    assert (await one.upload(png(1), condition="acne")).code == "foreign_origin"
    one.session.headers["Origin"] = one.url
    assert (await one.upload(png(1), condition="acne")).status == 201


async def test_a_body_that_is_not_said_to_be_json_is_refused(one: Labeler) -> None:
    for path in ("/v1/rebalances", "/v1/reviews", "/v1/reviews/undo", "/v1/dead-letters/replay"):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "text/json"):
            answer = await ask(one, "POST", path, data=CAMPAIGN, headers={"Content-Type": kind})
            assert (answer.status, answer.code) == (415, "unsupported_media_type"), (path, kind)
        answer = await ask(one, "POST", path, data=CAMPAIGN, headers={"Content-Type": "multipart/form-data"})
        assert (answer.status, answer.code) == (415, "unsupported_media_type")
    options: dict[str, Any] = {"data": CAMPAIGN, "skip_auto_headers": ["Content-Type"]}
    assert (await ask(one, "POST", "/v1/rebalances", **options)).code == "unsupported_media_type"
    assert (await ask(one, "POST", "/v1/rebalances")).code == "invalid_request"
    assert await one.rows("campaigns") == []


async def test_the_own_page_and_callers_without_one_go_on(one: Labeler) -> None:
    started = {**AS_JSON, "Content-Type": "application/json; charset=utf-8"}
    for origin in (None, one.url, one.url.upper()):
        headers = started if origin is None else {**started, "Origin": origin}
        answer = await ask(one, "POST", "/v1/rebalances", data=b'{"target_per_condition": 0}', headers=headers)
        assert answer.status == 202, origin


async def test_a_name_that_is_not_ours_is_answered_nothing_but_health(tmp_path: Path) -> None:
    async with labeler(tmp_path, allowed_hosts=" Labeler-API, skin.example,") as running:
        port = running.service.port
        names = ("127.0.0.1", "localhost", "LOCALHOST", "[::1]", "10.0.0.7", "labeler-api", "skin.example")
        for name in names:
            for host in (name, f"{name}:{port}"):
                assert (await ask(running, "GET", "/v1/balance", headers={"Host": host})).status == 200, host
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "[", "x@evil.example", ""):
            for path in ("/v1/balance", "/v1/images", "/", "/openapi.json"):
                answer = await ask(running, "GET", path, headers={"Host": host})
                assert (answer.status, answer.code) == (403, "foreign_host"), (host, path)
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await ask(running, "GET", path, headers={"Host": host})).status == 200
        proxied = {"Origin": "https://skin.example", **AS_JSON}
        answer = await ask(running, "POST", "/v1/rebalances", data=b'{"target_per_condition": 0}', headers=proxied)
        assert answer.status == 202


async def test_with_a_key_any_name_will_do_and_other_sites_still_change_nothing(tmp_path: Path) -> None:
    async with labeler(tmp_path, api_key="secret") as running:
        named = {"Host": "skin.example", "X-API-Key": "secret", **AS_JSON}
        assert (await ask(running, "GET", "/v1/balance", headers=named)).status == 200
        answer = await ask(running, "POST", "/v1/rebalances", data=CAMPAIGN, headers={**named, "Origin": ELSEWHERE})
        assert (answer.status, answer.code) == (403, "foreign_origin")


async def test_the_page_stands_in_no_frame_and_runs_its_own_scripts_alone(one: Labeler) -> None:
    for path in ("/", "/static/page.js", "/dermatologist_drag_drop_tool.html"):
        headers = (await ask(one, "GET", path)).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
        assert policy["frame-ancestors"] == "'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Security-Policy" not in (await ask(one, "GET", "/v1/balance")).headers
