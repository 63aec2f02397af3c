"""Keeps a process's memory from being written to the disk when it crashes: there may be somebody's face in it."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_DUMPABLE = 4  # prctl(2)


def forbid_core_dumps() -> None:
    """Let no core of this process be dumped, where the system can be told so.

    The limit alone does not hold where the kernel pipes cores to a program (core(5)); Linux's flag does. It also keeps
    other processes of the same user, debuggers too, out of this one's memory.
    """
    try:
        import resource
    except ImportError:  # Windows has no cores
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
