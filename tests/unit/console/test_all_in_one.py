"""Where services in one process say that they are reached."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from services.console.all_in_one import all_in_one
from services.console.client import ModelClient
from services.console.connection import running_on
from shared.errors import HomeInUse, StoreUnavailable


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


async def test_a_home_is_one_process_at_a_time(tmp_path: Path) -> None:
    async with all_in_one(tmp_path, services=["augmenter"]):
        with pytest.raises(HomeInUse, match="Another evenskin process"):
            async with all_in_one(tmp_path, services=["augmenter"]):
                pass
    async with all_in_one(tmp_path, services=["augmenter"]):  # and free again
        pass


async def test_a_home_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        async with all_in_one(tmp_path / "home", services=["augmenter"]):
            pass
