"""`python -m services.model_server`."""

from __future__ import annotations

import sys

from services.model_server.app import NAME, build
from services.model_server.settings import ModelServerSettings
from shared.errors import EvenskinError
from shared.service import run


def main() -> int:
    """Run until SIGTERM or SIGINT. Returns the exit status: 2 where the settings are wrong."""
    try:
        settings = ModelServerSettings.load()
        run(NAME, lambda: build(settings), settings)
    except EvenskinError as error:
        sys.stderr.write(f"{' '.join(filter(None, (error.message, error.advice)))}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
