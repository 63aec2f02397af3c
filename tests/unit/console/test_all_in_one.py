"""Where services in one process say that they are reached."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from services.console.all_in_one import all_in_one
from services.console.client import ModelClient
from services.console.connection import running_on


def can_listen(host: str) -> bool:
    try:
        with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(("host", "reached"), [("::1", "[::1]"), ("::", "[::1]"), ("0.0.0.0", "127.0.0.1")])
async def test_an_address_of_any_kind_is_reached_as_it_is_announced(tmp_path: Path, host: str, reached: str) -> None:
    if not can_listen(host):
        pytest.skip(f"This machine cannot listen on {host}.")
    async with all_in_one(tmp_path, services=["model-server"], overrides={"": {"host": host}}) as running:
        assert running.model_url is not None
        assert running.model_url.startswith(f"http://{reached}:")
        async with ModelClient(running.model_url) as client:
            assert await client.healthy()
        announced = await running_on(tmp_path)
        assert announced is not None
        assert announced.model_url == running.model_url
