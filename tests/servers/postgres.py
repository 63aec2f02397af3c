"""A private PostgreSQL in a temporary directory; tuned to forget, without fsync, unless it is to be measured."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.eventually import LIMIT_S
from tests.servers.process import Process, ServerFailed, answers, free_port
from tests.servers.provision import Container, Server, apt_install, can_apt, docker_answers

IMAGE = "postgres:17"
ADVICE = (
    "The tests need PostgreSQL 15 or newer. Install it (Debian: apt-get install postgresql; "
    "macOS: brew install postgresql@17), or start Docker, or set EVENSKIN_TEST_POSTGRES_URL to a server "
    "on which they may create databases."
)
_PLACES = ("usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql@*/bin", "usr/local/opt/postgresql@*/bin")


def installed() -> Path | None:
    """The directory of the newest server's binaries."""
    found = [path for pattern in _PLACES for path in Path("/").glob(pattern) if (path / "initdb").exists()]
    if found:
        return max(found, key=_version)
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _version(path: Path) -> int:
    digits = "".join(character for character in path.parent.name if character.isdigit())
    return int(digits or 0)


def prepare() -> None:
    """Install the server if that is possible and needed."""
    if not os.environ.get("EVENSKIN_TEST_POSTGRES_URL") and installed() is None and can_apt():
        apt_install("postgresql")


def start(directory: Path, *, durable: bool = False) -> Server:
    """Use the named server, else start a private one. Raises ServerFailed with advice.

    `durable`: a private one keeps PostgreSQL's own settings, so that a commit costs what it costs when deployed.
    """
    if url := os.environ.get("EVENSKIN_TEST_POSTGRES_URL"):
        return _Given(url)
    prepare()
    if (binaries := installed()) is not None:
        return PostgresServer(directory, binaries, durable=durable)
    if docker_answers():
        return _InDocker()
    raise ServerFailed(ADVICE)


class _Given:
    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self.facts = {"url": f"{scheme.partition('+')[0]}://{rest}"}

    def stop(self) -> None:
        """It is not ours to end."""


class _InDocker:
    def __init__(self) -> None:
        self._container = Container(IMAGE, 5432, environment={"POSTGRES_PASSWORD": "evenskin"})
        port = self._container.port(5432)
        self.facts = {"url": f"postgresql://postgres:evenskin@127.0.0.1:{port}/postgres"}
        deadline = time.monotonic() + LIMIT_S
        # The image starts a first, local server to set itself up; only the second one listens on TCP.
        while not answers(port, _STARTUP, reply=b"R"):
            if time.monotonic() > deadline:
                raise ServerFailed(f"{IMAGE} did not answer within {LIMIT_S:.0f} s.")
            time.sleep(0.2)

    def stop(self) -> None:
        """Remove the container."""
        self._container.stop()


_PARAMETERS = b"user\0postgres\0database\0postgres\0\0"
# StartupMessage, protocol 3.0. A server that is ready asks for authentication or grants it (message R); one that
# takes connections but still recovers answers with an error (message E, SQLSTATE 57P03).
_STARTUP = (8 + len(_PARAMETERS)).to_bytes(4, "big") + b"\x00\x03\x00\x00" + _PARAMETERS


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root: the user to run it as instead, or None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServerFailed("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'.")


class PostgresServer:
    """A server from the installed binaries. May be stopped hard and started again on the same data and port."""

    def __init__(self, directory: Path, binaries: Path, *, durable: bool = False) -> None:
        self._durable = durable
        self._directory, self._binaries, self._port = directory, binaries, free_port()
        self._user = _unprivileged()
        self._data = directory / "data"
        if self._user is not None:
            owner = pwd.getpwnam(self._user)
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        self._initialise()
        self.facts = {"url": f"postgresql://postgres@127.0.0.1:{self._port}/postgres"}
        self._server = self._start()

    def _initialise(self) -> None:
        command: list[str | Path] = [
            self._binaries / "initdb",
            "-D",
            self._data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        done = subprocess.run(
            [*command, "--locale=C", "--no-sync"],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._directory,
            user=self._user,
            group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
            extra_groups=None if self._user is None else [],
        )
        if done.returncode != 0:
            raise ServerFailed(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _start(self) -> Process:
        options = {
            "port": str(self._port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command: list[str | Path] = [self._binaries / "postgres", "-D", self._data]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        server = Process(command, log=self._directory / "postgres.log", user=self._user)
        server.wait_until(lambda: answers(self._port, _STARTUP, reply=b"R"), timeout_s=LIMIT_S)
        return server

    def kill(self) -> None:
        """Stop the server as a power cut would."""
        # Its children are in sessions of their own; one that went on would share the data with the next server's.
        children = psutil.Process(self._server.pid).children(recursive=True)
        self._server.stop()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children)

    def restart(self) -> None:
        """Start it again after `kill`."""
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self._server = self._start()

    def stop(self) -> None:
        """End the server, which ends its children."""
        self._server.stop(signal.SIGQUIT)
