"""An S3-shaped server: moto's, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.eventually import LIMIT_S
from tests.servers.process import Process, answers, free_port
from tests.servers.provision import Server


def prepare() -> None:
    """Nothing to install: it comes with the test extra."""


def start(directory: Path) -> Server:
    """Start moto's server."""
    return S3Server(directory)


class S3Server:
    """Moto's S3, with any credentials."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        command = [sys.executable, "-m", "tests.servers.moto_process", str(port)]
        root = str(Path(__file__).parents[2])
        self._server = Process(command, log=directory / "moto.log", environment={"PYTHONPATH": root})
        self._server.wait_until(lambda: answers(port), timeout_s=LIMIT_S)
        self.facts = {"url": f"http://127.0.0.1:{port}"}

    def stop(self) -> None:
        """End the server."""
        self._server.stop()
