"""A child process that serves on a port: started, waited for, stopped, never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LOG_TAIL = 3000  # characters of a server's log that an error shows


class ServerFailed(Exception):
    """A server cannot be had, or did not come up; the message says why and what to do."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int, greeting: bytes = b"", *, reply: bytes = b"") -> bool:
    """Whether something on the port takes a connection, and answers a greeting (beginning with `reply`)."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10.0) as connection:
        if not greeting:
            return True
        connection.sendall(greeting)
        received = connection.recv(len(reply) or 1)
        return bool(received) and received.startswith(reply)
    return False


def _die_with_parent() -> None:
    """Linux: SIGTERM when the thread that started us is gone. Elsewhere the keeper alone sees to the end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Process:
    """One child in a session of its own, so that Ctrl-C reaches the tests first and `stop` reaches its children."""

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=log.parent,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
            )

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Poll until ready. Raises ServerFailed, with the end of the log, if the process ends or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self._child.poll() is not None:
                raise ServerFailed(f"{self._child.args!r} ended with {self._child.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerFailed(f"{self._child.args!r} was not ready after {timeout_s:.0f} s:\n{self.tail()}")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._child.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal the child alone, not what it started."""
        self._child.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGKILL, *, timeout_s: float = 20.0) -> None:
        """Signal the whole session and wait for the child; data is thrown away, so it is killed by default."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def tail(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-_LOG_TAIL:]
