"""Logs: structlog to standard error, as JSON for machines or in a console format for people."""

from __future__ import annotations

import logging
import sys

import structlog

from shared.tracing import add_ids


def configure_logs(service: str, *, level: str = "INFO", format: str = "json") -> None:
    """Set up structlog and the standard library's logging for this process."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if format == "json"
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]  # others print locals
    )
    structlog.configure(
        processors=[
            add_ids,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    for driver in ("aio_pika", "aiormq"):  # they raise what they log, and we log it then
        logging.getLogger(driver).setLevel(logging.CRITICAL)
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
