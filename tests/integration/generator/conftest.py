"""A local server that speaks the Images API, and a store that fails when it is told to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.blobs import FlakyBlobs
from tests.fakes.openai_server import OpenAIServer, openai_server, picture
from tests.integration.generator.serving import png


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between the client and the local server, and nothing of the machine's own account."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("OPENAI_"):
            monkeypatch.delenv(name)


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server(picture(png())) as started:
        yield started


@pytest.fixture
def blobs(tmp_path: Path) -> FlakyBlobs:
    return FlakyBlobs(tmp_path / "store")
