"""Prints what commands say: results on stdout, everything else on stderr, errors as one line with an advice."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

from shared.errors import EvenskinError

WIDTH = 100  # characters of a table where no terminal says how wide it is


def results() -> Console:
    """The console of results. In a pipe a table is WIDTH wide, not the 80 of a missing terminal."""
    return Console(highlight=False, emoji=False, soft_wrap=False, width=None if sys.stdout.isatty() else WIDTH)


def progress() -> Console:
    """The console of progress, questions and notes."""
    return Console(stderr=True, highlight=False, emoji=False, width=None if sys.stderr.isatty() else WIDTH)


def print_json(document: Any) -> None:
    """Print a document for scripts, on stdout; in ASCII where that does not take every character."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=not is_unicode, default=str) + "\n")


def print_error(error: EvenskinError, *, json_output: bool) -> None:
    """Print an error for people on stderr, and with `--json` also its problem document on stdout."""
    sys.stderr.write(error_lines(error))
    if json_output:
        print_json(error.problem())


def error_lines(error: EvenskinError) -> str:
    """`error[code]: message`, and the advice below it."""
    advice = f"  → {error.advice}\n" if error.advice else ""
    return f"error[{error.code}]: {error.message}\n{advice}"
