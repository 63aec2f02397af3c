"""Runs all five services in one process, on the embedded adapters, for `evenskin demo` and `serve all`.

The only module that imports several services. It imports only those that it is asked to start.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from shared.adapters import open_blobs
from shared.blobs import Blobs
from shared.bus import Bus
from shared.embedded.bus import InProcessBus
from shared.errors import ConfigurationError, HomeInUse, StoreUnavailable
from shared.service import Service
from shared.settings import Settings

SERVICES: dict[str, tuple[str, str]] = {
    "labeler-api": ("services.labeler_api", "LabelerSettings"),
    "generator": ("services.generator", "GeneratorSettings"),
    "augmenter": ("services.augmenter", "AugmenterSettings"),
    "trainer": ("services.trainer", "TrainerSettings"),
    "model-server": ("services.model_server", "ModelServerSettings"),
}
"""Package and settings class of each service. labeler-api first: its schema must be there before events come."""

ALL = tuple(SERVICES)
_REACHED = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Where a service is reached that listens on every address: those that say so are nobody's address everywhere."""


@dataclass(frozen=True)
class RunningServices:
    """The services that run in this process. A URL is None where its service was not started."""

    labeler_url: str | None
    model_url: str | None
    bus: Bus
    blobs: Blobs
    services: dict[str, Service]


def settings_class(service: str) -> type[Settings]:
    """The settings class of a service. Raises ConfigurationError for an unknown name."""
    if service not in SERVICES:
        raise ConfigurationError(f"'{service}' is not a service.", advice=f"Use one of: {', '.join(SERVICES)}.")
    package, name = SERVICES[service]
    found: type[Settings] = getattr(import_module(f"{package}.settings"), name)
    return found


def build(service: str, settings: Settings, **adapters: Any) -> Service:
    """Put one service together, on its own adapters unless some are given."""
    built: Service = import_module(f"{SERVICES[service][0]}.app").build(settings, **adapters)
    return built


@contextlib.asynccontextmanager
async def all_in_one(
    home: Path,
    *,
    services: Collection[str] = ALL,
    ports: dict[str, int] | None = None,
    overrides: dict[str, dict[str, Any]] | None = None,
) -> AsyncIterator[RunningServices]:
    """Run services on the in-process bus, the directory store and SQLite, all below `home`.

    `ports`: of HTTP servers by service, a free one otherwise. `overrides`: settings by service, those under
    "" for all. While it runs, `home/run.json` says where it listens. Raises HomeInUse, ConfigurationError.
    """
    overrides = overrides or {}
    embedded = {"home": home, "amqp_url": None, "store_url": None, **overrides.get("", {})}
    with _locked(home):
        bus = InProcessBus(home / "dead")
        blobs = open_blobs(Settings.load(**embedded))
        await blobs.check()
        await bus.start()
        started: dict[str, Service] = {}
        try:
            for name in (name for name in SERVICES if name in services):
                own = {"port": (ports or {}).get(name, 0), **overrides.get(name, {})}
                if name == "labeler-api":
                    own.setdefault("database_url", None)
                service = build(name, settings_class(name).load(**embedded, **own), bus=bus, blobs=blobs)
                started[name] = service
                await service.start()
            running = RunningServices(_url(started, "labeler-api"), _url(started, "model-server"), bus, blobs, started)
            with _announced(home, running):
                yield running
        finally:
            for service in started.values():
                service.begin_drain()
            await bus.drain(Settings.load(**embedded).drain_s)
            for service in reversed(started.values()):
                await service.stop()
            await bus.close()
            await blobs.close()


def _url(started: dict[str, Service], name: str) -> str | None:
    if name not in started:
        return None
    host = _REACHED.get(started[name].settings.host, started[name].settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{started[name].port}"


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Lock a home for this process: the in-process bus connects no two processes. Raises HomeInUse."""
    lock = FileLock(home / "lock")
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise HomeInUse(f"Another evenskin process runs on '{home}'.", advice="Stop it, or use its URL.") from None
    except OSError as error:
        raise StoreUnavailable(
            f"'{home}' cannot be used: {error.strerror}.", advice="Choose another --home."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _announced(home: Path, running: RunningServices) -> Iterator[None]:
    path = home / "run.json"
    announcement = {"pid": os.getpid(), "labeler_url": running.labeler_url, "model_url": running.model_url}
    path.write_text(json.dumps(announcement))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
