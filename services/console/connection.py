"""Connects a command to the services: those at a given URL, those that run on its home, or its own.

The order: `--url` or EVENSKIN_LABELER_URL; then `run.json` in the home, if its process lives and answers; else the
services that the command needs are started on free ports, and stopped after it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from services.console.client import LabelerClient, ModelClient
from shared.errors import ConfigurationError, ServiceUnreachable
from shared.logs import configure_logs
from shared.settings import Settings

LABELER, MODEL_SERVER = "labeler-api", "model-server"
RUN_FILE = "run.json"


class CommandSettings(Settings):
    """The command line's own settings, beside those that every service has."""

    labeler_url: str | None = None
    """Address of the labeler-api that commands talk to; absent: the one that runs on home, or one of their own."""
    model_url: str | None = None
    """Address of the model-server that `predict` talks to; absent: as for the labeler-api."""


@dataclass(frozen=True)
class Endpoints:
    """The URLs of the services that a command talks to. `transient`: the services end with the command."""

    labeler_url: str | None
    model_url: str | None
    api_key: str | None
    transient: bool = False


def command_settings(home: Path | None) -> CommandSettings:
    """The settings, with `--home` before EVENSKIN_HOME."""
    return CommandSettings.load(**({} if home is None else {"home": home}))


@contextlib.asynccontextmanager
async def labeler(
    home: Path | None, url: str | None, *, services: Collection[str] | None = (LABELER,), running_only: bool = False
) -> AsyncIterator[tuple[LabelerClient, Endpoints]]:
    """A client of the labeler-api.

    `services`: those to start where none runs (None: all); `running_only`: start none.
    """
    settings = command_settings(home)
    async with _endpoints(settings, url or settings.labeler_url, None, services, running_only) as endpoints:
        if endpoints.labeler_url is None:
            raise _none_running(settings)
        async with LabelerClient(endpoints.labeler_url, api_key=endpoints.api_key) as client:
            yield client, endpoints


@contextlib.asynccontextmanager
async def model_server(home: Path | None, url: str | None) -> AsyncIterator[ModelClient]:
    """A client of the model-server."""
    settings = command_settings(home)
    async with _endpoints(settings, None, url or settings.model_url, (MODEL_SERVER,), False) as endpoints:
        if endpoints.model_url is None:
            raise _none_running(settings)
        async with ModelClient(endpoints.model_url, api_key=endpoints.api_key) as client:
            yield client


@contextlib.asynccontextmanager
async def _endpoints(
    settings: CommandSettings,
    labeler_url: str | None,
    model_url: str | None,
    services: Collection[str] | None,
    running_only: bool,
) -> AsyncIterator[Endpoints]:
    key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    if labeler_url or model_url:
        yield Endpoints(labeler_url, model_url, key)
        return
    running = await running_on(settings.home, key)
    if running is not None:
        yield running
        return
    if running_only:
        raise _none_running(settings)
    if settings.amqp_url is not None:
        raise ConfigurationError(
            "EVENSKIN_AMQP_URL is set, so the services run as processes of their own, but no address of them is given.",
            advice="Set EVENSKIN_LABELER_URL and EVENSKIN_MODEL_URL (as --url does).",
        )
    quiet_logs(settings)
    from services.console.all_in_one import ALL, all_in_one  # services are loaded only where they are started

    host = {"": {"host": "127.0.0.1"}}  # whatever the environment says: only this command may reach them
    async with all_in_one(settings.home, services=ALL if services is None else services, overrides=host) as own:
        yield Endpoints(own.labeler_url, own.model_url, key, transient=True)


async def running_on(home: Path, api_key: str | None = None) -> Endpoints | None:
    """The services that run on a home, or None. A file that a killed process left behind does not count."""
    try:
        written: Any = json.loads((home / RUN_FILE).read_bytes())
        pid, labeler_url, model_url = int(written["pid"]), written.get("labeler_url"), written.get("model_url")
        lives = psutil.pid_exists(pid)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    url = labeler_url or model_url
    if not isinstance(url, str) or not lives:
        return None
    async with LabelerClient(url, api_key=api_key) as client:
        return Endpoints(labeler_url, model_url, api_key) if await client.healthy() else None


def quiet_logs(settings: Settings) -> None:
    """Silence the logs of services that a command starts, unless EVENSKIN_LOG_LEVEL is set."""
    level = settings.log_level if "log_level" in settings.model_fields_set else "CRITICAL"
    configure_logs("evenskin", level=level, format="console")


def _none_running(settings: Settings) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"No such service runs on '{settings.home}'.",
        advice=f"Start them with `evenskin serve all --home {settings.home}`, or name one with --url.",
    )
