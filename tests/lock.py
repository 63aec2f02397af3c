"""`python -m tests.lock FILE`: make a freshly compiled lock file fit for every machine, and check it.

The compiler writes what it found: a build of PyTorch for one processor, a path of this machine. Neither may
stay: everybody's installer chooses a build, and nobody else has the path.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_LOCAL_VERSION = re.compile(r"^([A-Za-z0-9._-]+==[^+\s;]+)\+\S+", re.MULTILINE)
_FORBIDDEN = re.compile(r"://|^-|@ |file:/|/(?:home|root|tmp|opt|work|Users)/", re.MULTILINE)
_OURSELVES = re.compile(r"(?:evenskin, )?evenskin \(pyproject\.toml\)")
_LEFT_OUT = re.compile(r"\n# The following packages are considered.*", re.DOTALL)
_HEADER = "# Every package of every extra, pinned. Made by `make lock`; a constraint of every install.\n"


def portable(text: str) -> str:
    """The lock file's text without builds' local versions. Raises ValueError if an address or a path is in it."""
    body = _LEFT_OUT.sub("", _OURSELVES.sub("evenskin", _LOCAL_VERSION.sub(r"\1", text))).rstrip() + "\n"
    if found := _FORBIDDEN.search(body):
        line = body[: found.start()].count("\n") + 1
        raise ValueError(f"Line {line} of the lock file names a place: {body.splitlines()[line - 1]}")
    return body if body.startswith(_HEADER) else _HEADER + body


def main(path: Path) -> int:
    """Returns the exit status."""
    path.write_text(portable(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
