"""`python -m tests.imports`: run import-linter, and fail as well if it saw nothing to check."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_SEEN = re.compile(r"Analyzed (\d+) files?, (\d+) dependenc")


def main() -> int:
    """Returns the exit status."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout[done.stdout.find("Contracts\n") :], done.stderr, sep="", end="")
    seen = _SEEN.search(done.stdout)
    if seen is None or not all(int(number) > 0 for number in seen.groups()):
        print("import-linter saw no imports: its configuration is wrong.")
        return 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
