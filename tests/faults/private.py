"""Servers of one test alone: they may be stopped, and set up to be unkind."""

from __future__ import annotations

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
def private_database(directory: Path) -> Iterator[PostgresServer]:
    """A database server that has on disk what it confirmed, unless the machine itself stops."""
    binaries = postgres.installed()
    if binaries is None:
        pytest.fail(postgres.ADVICE, pytrace=False)
    directory.mkdir()
    server = PostgresServer(directory, binaries, durable=True)
    try:
        yield server
    finally:
        server.stop()
