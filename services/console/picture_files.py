"""Files of pictures that a command was given: they are there, and one that is wrong does not stop the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from services.console.file_names import shown
from services.console.output import error_lines, progress
from shared.errors import EvenskinError, InvalidRequest


def check_files(files: Sequence[Path]) -> None:
    """Raise InvalidRequest for the first one that is no file."""
    for path in files:
        if not os.path.isfile(path):
            what = "is not a file" if os.path.exists(path) else "does not exist, or is out of reach"
            raise InvalidRequest(f"'{shown(path)}' {what}.", advice="Name JPEG, PNG, WebP, HEIC or AVIF files.")


def tell_failure(path: Path, error: EvenskinError) -> None:
    """Print what is wrong with one file."""
    named = type(error)(f"{shown(path)}: {error.message}", advice=error.advice)
    named.code = error.code
    progress().print(escape(error_lines(named)), end="", soft_wrap=True)


def exit_status(failures: Sequence[EvenskinError]) -> int:
    """Exit status of a command that went through all files: 2 where the user can mend every failure."""
    if not failures:
        return 0
    return 1 if any(failure.exit_status == 1 for failure in failures) else 2
