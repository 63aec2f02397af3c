"""Logs: a traceback names the lines that failed, and never what their variables held."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from shared.logs import configure_logs


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def decode_selfie(data: bytes) -> None:
    """Fail with a selfie's bytes at hand."""
    raise RuntimeError("It is no use.")


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_no_variables(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("tests", format=format)
    selfie = b"\x89PNG" + b"nobody's to see" * 2
    try:
        decode_selfie(selfie)
    except RuntimeError:
        structlog.get_logger().exception("request_crashed", path="/v1/predictions")
    told = "".join(capsys.readouterr())
    for part in ("request_crashed", "/v1/predictions", "decode_selfie", "RuntimeError", "It is no use."):
        assert part in told
    for part in ("nobody's to see", "PNG"):
        assert part not in told
