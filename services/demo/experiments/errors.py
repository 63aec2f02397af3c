"""Says in words what the machine could not do for an experiment: a full disk, want of memory, a closed directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from services.trainer.exhaustion import exhaustion
from shared.errors import StoreUnavailable


@contextlib.contextmanager
def in_words(place: Path) -> Iterator[None]:
    """Raises DiskFull, OutOfMemory or StoreUnavailable for what is raised inside and means that.

    `place`: the directory that is worked in, named where the error names none.
    """
    try:
        yield
    except Exception as error:
        found = exhaustion(error)
        if found is not None:
            raise found from error
        if isinstance(error, OSError):
            raise StoreUnavailable(
                f"'{error.filename or place}' cannot be used: {error.strerror}.", advice="Choose another directory."
            ) from error
        raise
