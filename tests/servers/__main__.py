"""`python -m tests.servers prepare` installs what tests need; `run` starts all and shows their URLs, to try things."""

from __future__ import annotations

import os
import sys

from tests.servers import chromium, libturbojpeg
from tests.servers.keeper import KINDS, SOCKET_VARIABLE, Keeper, ask, keep
from tests.servers.process import ServerFailed


def _run() -> None:
    keeper = Keeper()
    os.environ[SOCKET_VARIABLE] = keeper.address
    try:
        for name in KINDS:
            print(name, ask(name), flush=True)
        print("Press Enter to end them.", flush=True)
        sys.stdin.readline()
    except KeyboardInterrupt:
        pass
    finally:
        keeper.close()


def _prepare() -> None:
    for kind in (*KINDS.values(), chromium, libturbojpeg):
        kind.prepare()


def main(arguments: list[str]) -> int:
    """Do what the arguments say; returns the exit status."""
    try:
        match arguments:
            case ["keep", address]:
                keep(address)
            case ["prepare"]:
                _prepare()
            case ["run"]:
                _run()
            case _:
                print(__doc__)
                return 2
    except ServerFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1:]))
