"""A copy of the tree to set faults into: the working tree stays as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers.keeper import SOCKET_VARIABLE

ROOT = Path(__file__).parents[2]

_TREES = ("services", "shared", "tests")


def copy_tree(directory: Path) -> None:
    """Copy what the unit tests need into a directory that is not there yet."""
    for tree in _TREES:
        shutil.copytree(ROOT / tree, directory / tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)


def run_python(directory: Path, *arguments: str, timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` in a copy of the tree. Raises subprocess.TimeoutExpired."""
    environment = os.environ | {
        SOCKET_VARIABLE: "",  # a mutant's tests need no servers, nor their keeper
        "PYTHONDONTWRITEBYTECODE": "1",  # a file that changes twice a second would be taken from the cache
    }
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
