"""`python -m tests.servers.moto_process PORT`: moto's server, one request at a time.

A real store decides conditional puts atomically. Moto looks and then writes, and answers each request in a
thread, so that two writers could both be the first; taking turns makes it as strict as the real ones.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

_turn = threading.Lock()


def main(port: int) -> None:
    """Serve until killed."""
    answer = DomainDispatcherApplication(create_backend_app)

    def one_at_a_time(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with _turn:
            return list(answer(environ, start_response))

    run_simple("127.0.0.1", port, one_at_a_time, threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
