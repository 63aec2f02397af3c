"""Where servers come from: installed binaries, else apt as root, else Docker, else an error that says what to do."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from tests.eventually import LIMIT_S
from tests.servers.process import ServerFailed

_POLICY = Path("/usr/sbin/policy-rc.d")  # asked by Debian's maintainer scripts before they start a service


class Server(Protocol):
    """A running server. `facts` is what fixtures need to use it: URLs, as a JSON object."""

    facts: dict[str, str]

    def stop(self) -> None:
        """End it and forget its data."""
        ...


def can_apt() -> bool:
    """Whether packages can be installed here: Debian or Ubuntu, as root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(*packages: str) -> None:
    """Install Debian packages without letting them start a service. Raises ServerFailed."""
    with (Path(tempfile.gettempdir()) / "evenskin-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test runs that start at once take turns
        with _no_services_started():
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            options = ["-y", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold"]
            for command in (["update"], ["install", "--no-install-recommends", *packages]):
                done = subprocess.run(
                    ["apt-get", *options, *command], env=environment, capture_output=True, text=True, check=False
                )
            if done.returncode != 0:
                raise ServerFailed(f"apt-get install {' '.join(packages)} failed:\n{done.stdout}{done.stderr}"[-3000:])
    if Path("/run/systemd/system").is_dir():  # not at the next boot either: the tests start their own
        subprocess.run(["systemctl", "disable", "--now", *packages], capture_output=True, check=False)


@contextmanager
def _no_services_started() -> Iterator[None]:
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)


def docker_answers() -> bool:
    """Whether a Docker engine answers."""
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=LIMIT_S).returncode == 0
    )


class Container:
    """A container that removes itself, its ports published on 127.0.0.1."""

    def __init__(self, image: str, *ports: int, environment: dict[str, str] | None = None) -> None:
        self._name = f"evenskin-test-{uuid4().hex[:12]}"
        command = ["docker", "run", "--rm", "--detach", "--name", self._name]
        for port in ports:
            command += ["--publish", f"127.0.0.1::{port}"]
        for key, value in (environment or {}).items():
            command += ["--env", f"{key}={value}"]
        done = subprocess.run([*command, image], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerFailed(f"docker run {image} failed: {done.stderr.strip()}")

    def port(self, inside: int) -> int:
        """The port of 127.0.0.1 that leads to a port of the container."""
        done = subprocess.run(["docker", "inspect", self._name], capture_output=True, text=True, check=True)
        published = json.loads(done.stdout)[0]["NetworkSettings"]["Ports"][f"{inside}/tcp"]
        return int(published[0]["HostPort"])

    def stop(self) -> None:
        """Remove the container and its volumes."""
        subprocess.run(["docker", "rm", "--force", "--volumes", self._name], capture_output=True, check=False)
