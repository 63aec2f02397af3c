"""A process that forbids core dumps, from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CRASH = """
import ctypes, os, resource
from shared.core_dumps import forbid_core_dumps
forbid_core_dumps()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)  # PR_GET_DUMPABLE
os.abort()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what it would dump")
def test_a_process_that_forbids_it_leaves_no_core(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", _CRASH]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True)
    assert ended.returncode == -6, ended.stderr
    assert ended.stdout == "(0, 0) 0\n"
    assert list(tmp_path.iterdir()) == []
