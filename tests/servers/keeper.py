"""The keeper: starts servers when they are first asked for, and ends them all when its parent is gone.

One process for a whole pytest run, so that several xdist workers share the servers. Workers ask over a
socket: they send a server's name and get its facts as JSON. The end of standard input, which comes when
pytest ends in whatever way, ends the keeper.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.eventually import LIMIT_S
from tests.servers import postgres, rabbitmq, s3
from tests.servers.process import ServerFailed
from tests.servers.provision import Server

SOCKET_VARIABLE = "EVENSKIN_TEST_SERVERS"
KINDS = {"rabbitmq": rabbitmq, "postgres": postgres, "s3": s3}
_ANSWER_S = 600.0  # installing packages may be part of the first answer


def keep(address: str) -> None:
    """Serve on the socket until standard input ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    directory = Path(address).parent
    servers: dict[str, Server] = {}
    failures: dict[str, str] = {}
    try:
        with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
            listener.bind(address)
            listener.listen()
            selector.register(listener, selectors.EVENT_READ)
            selector.register(sys.stdin, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
                    return
                if listener in ready:
                    _answer(listener, directory, servers, failures)
    finally:
        for server in servers.values():
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _answer(listener: socket.socket, directory: Path, servers: dict[str, Server], failures: dict[str, str]) -> None:
    connection, _ = listener.accept()
    with connection:
        name = connection.recv(100).decode()
        if name not in servers and name not in failures:
            try:
                place = directory / name
                place.mkdir()
                servers[name] = KINDS[name].start(place)
            except Exception as error:  # whatever it is, it belongs into the test's report
                known = isinstance(error, ServerFailed)
                failures[name] = str(error) if known else f"{type(error).__name__}: {error}"
        answer = {"error": failures[name]} if name in failures else servers[name].facts
        connection.sendall(json.dumps(answer).encode())


class Keeper:
    """The keeper seen from pytest's main process."""

    def __init__(self) -> None:
        # Readable for the user that PostgreSQL runs as; short, as a socket's path must be.
        self._directory = Path(tempfile.mkdtemp(prefix="evenskin-test-"))
        self._directory.chmod(0o755)
        self.address = str(self._directory / "socket")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers", "keep", self.address],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for pytest, which then ends us
            cwd=Path(__file__).parents[2],
        )

    def close(self) -> None:
        """End all servers."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()
        shutil.rmtree(self._directory, ignore_errors=True)


def ask(name: str) -> dict[str, str]:
    """Facts of a server, started if need be. Raises ServerFailed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_S)
        _connect(connection, os.environ[SOCKET_VARIABLE])
        connection.sendall(name.encode())
        parts = b"".join(iter(lambda: connection.recv(65536), b""))
    answer: dict[str, Any] = json.loads(parts or b'{"error": "The keeper of the test servers has died."}')
    if "error" in answer:
        raise ServerFailed(answer["error"])
    return answer


def _connect(connection: socket.socket, address: str) -> None:
    """Connect, waiting for the keeper to come up."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                raise ServerFailed("The keeper of the test servers did not start.") from None
            time.sleep(0.05)
        else:
            return
