"""`serve`: one service, or all of them in this process, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from pathlib import Path
from typing import Any

from services.commands.connection import SERVICES
from services.commands.output import progress
from shared.errors import ConfigurationError
from shared.logs import configure_logs
from shared.service import run_service, stop_signal
from shared.settings import Settings


def serve(service: str, *, home: Path | None, host: str | None, port: int | None, model_port: int | None) -> int:
    """Run until told to stop."""
    given = {"home": home, "host": host, "port": port}
    overrides = {name: value for name, value in given.items() if value is not None}
    if service == "all":
        return asyncio.run(_serve_all(overrides, model_port))
    if service not in SERVICES:
        raise ConfigurationError(f"'{service}' is not a service.", advice=f"Use one of: {', '.join(SERVICES)}, all.")
    if model_port is not None:
        raise ConfigurationError("--model-port is for `serve all`.", advice="Use --port.")
    return asyncio.run(_serve_one(service, overrides))


async def _serve_one(name: str, overrides: dict[str, Any]) -> int:
    # By name, so that this process loads the one service it is, and not five.
    package = f"services.{name.replace('-', '_')}"
    settings = settings_class(importlib.import_module(f"{package}.settings")).load(**overrides)
    configure_logs(name, level=settings.log_level, format=settings.log_format)
    await run_service(importlib.import_module(f"{package}.app").build(settings))
    return 0


def settings_class(module: Any) -> type[Settings]:
    """The one settings class that a service's `settings` module defines."""
    return next(
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Settings) and value.__module__ == module.__name__
    )


async def _serve_all(overrides: dict[str, Any], model_port: int | None) -> int:
    from services.all_in_one import all_in_one  # every service: loaded only where they are started

    settings = Settings.load(**overrides)
    configure_logs("evenskin", level=settings.log_level, format=settings.log_format)
    stop = stop_signal()
    ports = {} if model_port is None else {"model_port": model_port}
    async with all_in_one(settings.home, **{k: v for k, v in overrides.items() if k != "home"}, **ports) as running:
        console = progress()
        console.print(f"Review and campaigns: {running.labeler_url}")
        console.print(f"Try a selfie:         {running.model_url}")
        console.print("Ctrl-C stops it.")
        await stop.wait()
    return 0
