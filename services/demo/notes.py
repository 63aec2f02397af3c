"""Remembers what an interrupted demo needs: its identity, the plan it showed, how long each stage took."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from shared.errors import Conflict


class Notes:
    """A JSON file, written whole at every change."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self._path = path
        self._values = values

    @classmethod
    def open(cls, home: Path, scale: float) -> Notes:
        """The notes under `home`, or new ones. Raises Conflict where a demo of another scale lies there."""
        path = home / "demo.json"
        if path.exists():
            values = json.loads(path.read_text())
            if values["scale"] != scale:
                raise Conflict(
                    f"'{home}' holds a demo of scale {values['scale']}.", advice="Use that scale, or `make clean-demo`."
                )
            return cls(path, values)
        home.mkdir(parents=True, exist_ok=True)
        notes = cls(path, {"identity": str(uuid4()), "scale": scale, "seconds": {}})
        notes._write()
        return notes

    @property
    def identity(self) -> str:
        """The id of this demo, from which the ids of its campaigns follow."""
        return str(self._values["identity"])

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds per stage, over every start of this demo."""
        found: dict[str, float] = self._values["seconds"]
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """A remembered value."""
        return self._values.get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Remember a value."""
        self._values[name] = value
        self._write()

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Add to a stage's time."""
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + seconds, 2)
        self._write()

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's time to a stage, also where it is interrupted."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add_seconds(stage, time.perf_counter() - started)

    def _write(self) -> None:
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._values, indent=1))
        os.replace(partial, self._path)
