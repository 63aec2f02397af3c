"""A deployment for each test, and its logs in the report of one that fails."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import structlog

from shared.logs import configure_logs
from tests.fakes.openai_server import OpenAIServer
from tests.faults.counting_provider import counting_provider
from tests.faults.deployment import Deployment, Servers, deployed

ROUNDS = int(os.environ.get("EVENSKIN_TEST_FAULT_ROUNDS", "1"))
FIRST_SEED = int(os.environ.get("EVENSKIN_TEST_FAULT_SEED", "1"))


@pytest.fixture(params=range(FIRST_SEED, FIRST_SEED + ROUNDS), ids=lambda seed: f"seed={seed}")
def seed(request: pytest.FixtureRequest) -> int:
    """What the random moments of one round follow from."""
    value: int = request.param
    return value


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith(("EVENSKIN_", "OPENAI_")) and not variable.startswith("EVENSKIN_TEST_"):
            monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    configure_logs("tests", level="ERROR")  # what the test itself reads may be down on purpose
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
async def provider() -> AsyncIterator[OpenAIServer]:
    """A provider that counts its calls."""
    async with counting_provider() as server:
        yield server


@pytest.fixture
def servers(amqp_url: str, postgres_url: str, s3_endpoint_url: str, s3_bucket: str) -> Servers:
    """Places of its own on the servers that all tests share."""
    return Servers(amqp_url, postgres_url, s3_endpoint_url, s3_bucket)


@pytest.fixture
async def deployment(servers: Servers, provider: OpenAIServer, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A deployment of which nothing is started yet."""
    async with deployed(servers, provider, tmp_path) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the services' logs with a failure."""
    report = yield
    deployment = getattr(item, "funcargs", {}).get("deployment")
    if report.failed and isinstance(deployment, Deployment):
        report.sections.append(("Logs of the services", deployment.log_tails()))
    return report
