"""`serve`: runs one service, or all of them in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from services.console.all_in_one import ALL, all_in_one, build, settings_class
from services.console.connection import LABELER, MODEL_SERVER
from services.console.output import progress
from shared.core_dumps import forbid_core_dumps
from shared.errors import ConfigurationError
from shared.logs import configure_logs
from shared.service import keep_what_is_loaded, run_service, stop_signal
from shared.settings import Settings
from shared.tracing import close_tracing, configure_tracing

DEFAULT_MODEL_PORT = 8080  # as model-server has it when it is a process of its own


def serve(service: str, *, home: Path | None, host: str | None, port: int | None, model_port: int | None) -> int:
    """Run one service or all of them until SIGTERM or Ctrl-C. Returns the exit status."""
    given = {"home": home, "host": host, "port": port}
    overrides = {name: value for name, value in given.items() if value is not None}
    if service != "all" and service not in ALL:
        raise ConfigurationError(f"'{service}' is not a service.", advice=f"Use one of: {', '.join(ALL)}, all.")
    if service != "all" and model_port is not None:
        raise ConfigurationError("--model-port is for `serve all`.", advice="Use --port.")
    if service in ("all", MODEL_SERVER):  # it reads selfies
        forbid_core_dumps()
    configure_tracing("evenskin" if service == "all" else service)
    try:
        if service == "all":
            return asyncio.run(_serve_all(overrides, model_port))
        return asyncio.run(_serve_one(service, overrides))
    finally:
        close_tracing()


async def _serve_one(name: str, overrides: dict[str, Any]) -> int:
    settings = settings_class(name).load(**overrides)
    configure_logs(name, level=settings.log_level, format=settings.log_format)
    await run_service(build(name, settings))
    return 0


async def _serve_all(overrides: dict[str, Any], model_port: int | None) -> int:
    settings = Settings.load(**overrides)
    configure_logs("evenskin", level=settings.log_level, format=settings.log_format)
    stop = stop_signal()
    # EVENSKIN_PORT is the labeler-api's here: two servers cannot share one.
    ports = {LABELER: settings.port, MODEL_SERVER: DEFAULT_MODEL_PORT if model_port is None else model_port}
    async with all_in_one(settings.home, ports=ports, overrides={"": {"host": settings.host}}) as running:
        keep_what_is_loaded()
        console = progress()
        console.print(f"Review and campaigns: {running.labeler_url}")
        console.print(f"Try a selfie:         {running.model_url}")
        console.print("Ctrl-C stops it.")
        await stop.wait()
    return 0
