"""Servers of one test alone, which may be stopped and set up badly."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import postgres, rabbitmq
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer


@contextmanager
def private_broker(directory: Path, *, settings: str = "", erlang_arguments: str = "") -> Iterator[RabbitServer]:
    """A broker; the arguments are RabbitServer's."""
    script = rabbitmq.installed()
    if script is None:
        pytest.fail(rabbitmq.ADVICE, pytrace=False)
    directory.mkdir()
    server = RabbitServer(directory, script, settings=settings, erlang_arguments=erlang_arguments)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def private_database() -> Iterator[PostgresServer]:
    """A database server that writes to disk before it confirms."""
    binaries = postgres.installed()
    if binaries is None:
        pytest.fail(postgres.ADVICE, pytrace=False)
    with tempfile.TemporaryDirectory(prefix="evenskin-test-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)  # readable for the user that PostgreSQL runs as
        (directory / "postgres").mkdir()
        server = PostgresServer(directory / "postgres", binaries, durable=True)
        try:
            yield server
        finally:
            server.stop()
