"""Which Host and Origin are ours, without a socket."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from shared.cross_site import host_guard, write_guard
from shared.errors import ForeignHost, ForeignOrigin
from shared.settings import Settings


async def handler(_: web.Request) -> web.StreamResponse:
    """Answer."""
    return web.Response()


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        (None, True),
        ("ours", True),
        ("OURS:8000", True),
        ("127.0.0.1:1", True),
        ("[::1]:8000", True),
        ("192.168.1.7", True),
        ("", False),
        ("ours.example", False),
        ("ours.:8000", False),
        ("127.0.0.1.example", False),
        ("ours@elsewhere", False),
        ("[::1", False),
        ("2130706433", False),
    ],
)
async def test_a_name_is_ours_or_an_address(host: str | None, ours: bool) -> None:
    headers = {} if host is None else {"Host": host}
    guard = host_guard({"ours"})
    assert (await guard(make_mocked_request("GET", "/metrics", headers=headers), handler)).status == 200
    request = make_mocked_request("GET", "/v1/x", headers=headers)
    if ours:
        assert (await guard(request, handler)).status == 200
    else:
        with pytest.raises(ForeignHost):
            await guard(request, handler)


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        (None, True),
        ("http://10.0.0.7:8000", True),
        ("https://10.0.0.7:8000", True),
        ("https://ours", True),
        ("http://10.0.0.7", False),
        ("http://10.0.0.7:8001", False),
        ("http://127.0.0.1:8000", False),
        ("https://ours.example", False),
        ("null", False),
        ("", False),
        ("http://", False),
        ("http://[", False),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "INVENTED"])
async def test_a_change_comes_from_no_page_or_our_own(method: str, origin: str | None, own: bool) -> None:
    headers = {"Host": "10.0.0.7:8000"} | ({} if origin is None else {"Origin": origin})
    guard = write_guard({"ours"})
    for safe in ("GET", "HEAD", "OPTIONS"):
        assert (await guard(make_mocked_request(safe, "/v1/x", headers=headers), handler)).status == 200
    request = make_mocked_request(method, "/v1/x", headers=headers)
    if own:
        assert (await guard(request, handler)).status == 200
    else:
        with pytest.raises(ForeignOrigin):
            await guard(request, handler)


def test_further_names_are_separated_by_commas() -> None:
    assert Settings(_env_file=None, allowed_hosts=" A.example, b,, ").further_hosts == {"a.example", "b"}
    assert Settings(_env_file=None, allowed_hosts="").further_hosts == set()
