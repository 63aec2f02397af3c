"""A private RabbitMQ: own node name, own port mapper, own data; the management API for virtual hosts."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from tests.eventually import LIMIT_S
from tests.servers.process import Process, ServerFailed, answers, free_port
from tests.servers.provision import Container, Server, apt_install, can_apt, docker_answers

IMAGE = "rabbitmq:4.1-management"
GREETING = b"AMQP\x00\x00\x09\x01"
_NO_BUSY_WAITING = "+sbwt none +sbwtdcpu none +sbwtdio none"  # the tests need the cores
ADVICE = (
    "The tests need RabbitMQ 3.10 or newer. Install it (Debian: apt-get install rabbitmq-server; "
    "macOS: brew install rabbitmq), or start Docker, or set EVENSKIN_TEST_AMQP_URL to a server they may use."
)


def installed() -> Path | None:
    """The server's script, which keeps to our user, where Debian's one on the PATH changes it."""
    for candidate in ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server")):
        if candidate and Path(candidate).exists():
            return Path(candidate)
    return None


def prepare() -> None:
    """Install the server if that is possible and needed."""
    if not os.environ.get("EVENSKIN_TEST_AMQP_URL") and installed() is None and can_apt():
        apt_install("rabbitmq-server")


def start(directory: Path) -> Server:
    """Use the named server, else start a private one. Raises ServerFailed with advice."""
    if url := os.environ.get("EVENSKIN_TEST_AMQP_URL"):
        return _Given(url)
    prepare()
    script = installed()
    if script is not None and shutil.which("erl"):
        return RabbitServer(directory, script)
    if docker_answers():
        return _InDocker()
    raise ServerFailed(ADVICE)


class _Given:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        management = os.environ.get("EVENSKIN_TEST_AMQP_MANAGEMENT_URL")
        if management is None:
            management = f"http://{parts.username or 'guest'}:{parts.password or 'guest'}@{parts.hostname}:15672"
        self.facts = {"url": url}
        if Management(management).works():
            self.facts["management"] = management

    def stop(self) -> None:
        """It is not ours to end."""


class _InDocker:
    def __init__(self) -> None:
        self._container = Container(IMAGE, 5672, 15672)
        port, management = self._container.port(5672), self._container.port(15672)
        self.facts = {
            "url": f"amqp://guest:guest@127.0.0.1:{port}/",
            "management": f"http://guest:guest@127.0.0.1:{management}",
        }
        _wait(port, self.facts["management"])

    def stop(self) -> None:
        """Remove the container."""
        self._container.stop()


def _wait(port: int, management: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not (answers(port, GREETING) and Management(management).works()):
        if time.monotonic() > deadline:
            raise ServerFailed(f"{IMAGE} did not answer within {LIMIT_S:.0f} s.")
        time.sleep(0.2)


class RabbitServer:
    """A broker from the installed binaries. May be stopped hard and started again on the same data and ports.

    `settings`: more lines of rabbitmq.conf; `erlang_arguments`: for what has no such line.
    """

    def __init__(self, directory: Path, script: Path, *, settings: str = "", erlang_arguments: str = "") -> None:
        self._directory = directory
        self._erlang_arguments = erlang_arguments
        self._script = script
        self._port, self._management, self._mapper_port = free_port(), free_port(), free_port()
        self._distribution = free_port()
        self._log = directory / "rabbitmq.log"
        (directory / "home").mkdir()
        (directory / "plugins").write_text("[rabbitmq_management].\n")
        (directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self._port}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self._management}\n"
            "disk_free_limit.absolute = 10MB\n"
            "raft.wal_max_size_bytes = 16777216\n"  # preallocated: the default, 512 MB, is for real loads
            f"{settings}"
        )
        self.facts = {
            "url": f"amqp://guest:guest@127.0.0.1:{self._port}/",
            "management": f"http://guest:guest@127.0.0.1:{self._management}",
        }
        self._mapper = self._start_mapper()
        try:
            self._node = self._start_node()
        except BaseException:
            self._mapper.stop()
            raise

    def _start_mapper(self) -> Process:
        # Erlang's port mapper would be left behind as a daemon, so ours runs in the foreground beforehand.
        executable = shutil.which("epmd")
        if executable is None:
            raise ServerFailed("Erlang's epmd is not on the PATH. " + ADVICE)
        command = [executable, "-port", str(self._mapper_port), "-address", "127.0.0.1"]
        mapper = Process(command, log=self._directory / "epmd.log")
        mapper.wait_until(lambda: answers(self._mapper_port), timeout_s=LIMIT_S)
        return mapper

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` says. Raises CalledProcessError where it fails."""
        command = [str(self._script.with_name("rabbitmqctl")), "--quiet", *arguments]
        environment = {**os.environ, **self._environment()}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=LIMIT_S)
        return done.stdout

    def _environment(self) -> dict[str, str]:
        directory = self._directory
        return {
            "HOME": str(directory / "home"),  # its Erlang cookie
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"evenskin{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "no-such-file"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "no-such-file"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            # The script becomes the Erlang machine instead of waiting for it, so that signals reach that.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-noinput {_NO_BUSY_WAITING} {self._erlang_arguments}",
        }

    def _start_node(self) -> Process:
        node = Process([self._script], log=self._log, environment=self._environment())
        management = Management(self.facts["management"])
        node.wait_until(lambda: answers(self._port, GREETING) and management.works(), timeout_s=LIMIT_S)
        return node

    def kill(self) -> None:
        """Stop the broker as a power cut would."""
        self._node.stop()

    def restart(self) -> None:
        """Start it again after `kill`."""
        self._node = self._start_node()

    def stop(self) -> None:
        """End broker and port mapper."""
        self._node.stop()
        self._mapper.stop()


class Management:
    """The few calls of RabbitMQ's management API that tests need. Raises urllib's errors."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._root = f"{parts.scheme}://{parts.hostname}:{parts.port}/api/"
        self._user = unquote(parts.username or "guest")
        token = base64.b64encode(f"{self._user}:{unquote(parts.password or 'guest')}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request; the answer's JSON, or None."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, self._headers, method=method)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def works(self) -> bool:
        """Whether the API answers and lets us in."""
        try:
            self.call("GET", "whoami")
        except (OSError, ValueError):  # URLError is an OSError
            return False
        return True

    def create_vhost(self) -> str:
        """A fresh virtual host that our user may do everything on; returns its name."""
        name = f"test-{uuid4().hex[:12]}"
        self.call("PUT", f"vhosts/{name}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.call("PUT", f"permissions/{name}/{quote(self._user, safe='')}", everything)
        return name

    def delete_vhost(self, name: str) -> None:
        """Remove a virtual host and all on it; one that is gone is no error."""
        self._delete(f"vhosts/{name}")

    def close_connection(self, name: str) -> bool:
        """Close a client's connection; False if it is gone, which the API's list learns a moment later.

        500 is what the API says of one that goes at this very moment.
        """
        return self._delete(f"connections/{quote(name, safe='')}", gone=(404, 500))

    def _delete(self, path: str, *, gone: Collection[int] = (404,)) -> bool:
        try:
            self.call("DELETE", path)
        except urllib.error.HTTPError as error:
            if error.code not in gone:
                raise
            return False
        return True
