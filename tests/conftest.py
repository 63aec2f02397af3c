"""Fixtures for real servers. Each test gets a virtual host, a database or a bucket that is its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from functools import cache
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pillow_heif
import pytest
import structlog

from tests.servers.keeper import SOCKET_VARIABLE, Keeper, ask
from tests.servers.process import ServerFailed
from tests.servers.rabbitmq import Management

_KEEPER = pytest.StashKey[Keeper]()


pillow_heif.register_heif_opener(thumbnails=False)  # tests write HEIC; the program loads this when it reads one


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers' keeper once, in the main process; xdist's workers inherit its address.

    Where the address is there before (empty: for tests without servers, as in `make mutants`), none is started.
    """
    if not hasattr(config, "workerinput") and not config.option.collectonly and SOCKET_VARIABLE not in os.environ:
        config.stash[_KEEPER] = keeper = Keeper()
        os.environ[SOCKET_VARIABLE] = keeper.address


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers. Where pytest is killed instead, the keeper notices by itself."""
    if (keeper := config.stash.get(_KEEPER, None)) is not None:
        keeper.close()


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A program under test sets the level of this process's logs: the next test captures them all again."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@cache
def _server(name: str) -> dict[str, str]:
    return ask(name)


def _facts(name: str) -> dict[str, str]:
    """Facts of a server. A missing one fails the test, with what to install: it is never skipped."""
    try:
        return _server(name)
    except ServerFailed as error:
        pytest.fail(f"No {name} for the tests: {error}", pytrace=False)


@pytest.fixture
def amqp_url() -> Iterator[str]:
    """URL of a virtual host of RabbitMQ on which there is nothing yet."""
    facts = _facts("rabbitmq")
    if "management" not in facts:
        from tests.servers.shared_vhost import exclusive_vhost  # the driver, only where it is needed

        with exclusive_vhost(facts["url"]):
            yield facts["url"]
        return
    management = Management(facts["management"])
    vhost = management.create_vhost()
    parts = urlsplit(facts["url"])
    yield urlunsplit((parts.scheme, parts.netloc, f"/{vhost}", parts.query, ""))
    management.delete_vhost(vhost)


@pytest.fixture
def amqp_management() -> Management:
    """Management API of the broker that `amqp_url` is on."""
    facts = _facts("rabbitmq")
    if "management" not in facts:
        pytest.fail("EVENSKIN_TEST_AMQP_MANAGEMENT_URL must name the broker's management API.", pytrace=False)
    return Management(facts["management"])


@pytest.fixture
async def postgres_url() -> AsyncIterator[str]:
    """URL (`postgresql://…`) of an empty database."""
    import asyncpg

    url = _facts("postgres")["url"]
    name = f"test_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        parts = urlsplit(url)
        yield urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await connection.close()


@pytest.fixture
def s3_endpoint_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """Endpoint of an S3-shaped server, with credentials for it in the environment."""
    for variable in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    return _facts("s3")["url"]


@pytest.fixture
def s3_bucket() -> str:
    """Name of a bucket that does not exist yet."""
    return f"test-{uuid4().hex[:12]}"
