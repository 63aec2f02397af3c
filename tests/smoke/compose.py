"""A project of docker compose, with fresh passwords, free ports and volumes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from tests.servers.process import free_port

PROJECT = "evenskin-smoke"
PASSWORDS = ("RABBITMQ_PASSWORD", "POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY")
PORTS = ("AMQP_PORT", "RABBITMQ_MANAGEMENT_PORT", "LABELER_PORT", "MODEL_SERVER_PORT")
BUILD_S = 3600.0  # the first time fetches and unpacks PyTorch
COMMAND_S = 300.0


class SmokeFailed(Exception):
    """What was expected of the deployment did not hold."""


class Compose:
    """Runs compose's commands on one project. `environment` is what the compose file reads."""

    def __init__(self, command: str, settings: Mapping[str, str]) -> None:
        self._command = shlex.split(command)
        chosen = {name: secrets.token_hex(12) for name in PASSWORDS} | {name: str(free_port()) for name in PORTS}
        self.environment = {**chosen, "EVENSKIN_VERSION": "smoke", "COMPOSE_PROJECT_NAME": PROJECT, **settings}

    def demand_engine(self) -> None:
        """Raise SmokeFailed unless compose is there and an engine answers."""
        for command in ([*self._command, "version"], ["docker", "info"]):
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=60)
            except (OSError, subprocess.SubprocessError) as error:
                raise SmokeFailed(
                    f"`{shlex.join(command)}` does not work: make smoke needs a running Docker engine and compose "
                    "(COMPOSE=docker-compose names the older one)."
                ) from error

    def __call__(self, *words: str, limit_s: float = COMMAND_S) -> str:
        """Run a command of compose, and return what it printed. Raises SmokeFailed."""
        command = [*self._command, *words]
        result = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        if result.returncode != 0:
            raise SmokeFailed(f"`{shlex.join(command)}` ended with {result.returncode}:\n{result.stderr[-4000:]}")
        return result.stdout

    def build(self) -> None:
        """Build the services' images; what it prints is shown, since it takes minutes the first time."""
        subprocess.run(
            [*self._command, "build"],
            env={**os.environ, **self.environment}, stdout=sys.stderr, timeout=BUILD_S, check=True,
        )  # fmt: skip

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers, those that ended too."""
        label = [
            f"label=com.docker.compose.{name}={value}" for name, value in (("project", PROJECT), ("service", service))
        ]
        listed = subprocess.run(
            ["docker", "ps", "--all", "--quiet", *(word for each in label for word in ("--filter", each))],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return listed.stdout.split()

    def inside(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's first container."""
        return subprocess.run(
            ["docker", "exec", self.containers(service)[0], *command],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def crash(self, service: str) -> str:
        """End every process of a service's first container without a word of warning. Returns the container.

        From inside: what is killed through Docker counts as stopped, and is not started again.
        """
        container = self.containers(service)[0]
        subprocess.run(
            ["docker", "exec", container, "sh", "-c", "kill -9 -1"], capture_output=True, timeout=60, check=False
        )
        return container

    def restarts(self, container: str) -> int:
        """How often Docker started a container again."""
        return _inspect(container, "{{json .RestartCount}}")

    def exit_status(self, container: str) -> int:
        """The exit status of a container that ended: 137 if it had to be killed."""
        return _inspect(container, "{{json .State.ExitCode}}")

    @contextlib.contextmanager
    def running(self, *, first: Sequence[str]) -> Iterator[None]:
        """Everything up, and gone again with its volumes; the logs are shown if something failed.

        `first`: services that are started before those they depend on.
        """
        self("down", "--volumes", "--remove-orphans")
        try:
            self("up", "--detach", "--no-build", "--no-deps", *first)
            self("up", "--detach", "--no-build")
            yield
        except BaseException:
            with contextlib.suppress(SmokeFailed, subprocess.SubprocessError):
                sys.stderr.write(self("logs", "--no-color", "--tail", "60"))
            raise
        finally:
            self("down", "--volumes", "--remove-orphans")


def image_size(image: str) -> int:
    """Bytes of an image, all layers."""
    return _inspect(image, "{{json .Size}}")


def _inspect(what: str, form: str) -> int:
    found = subprocess.run(
        ["docker", "inspect", "--format", form, what], capture_output=True, text=True, check=True, timeout=60
    )
    value: int = json.loads(found.stdout)
    return value
