"""`python -m services.model_server`: the model-server as a process of its own."""

import asyncio

from services.model_server.app import NAME, build
from services.model_server.settings import ModelServerSettings
from shared.core_dumps import forbid_core_dumps
from shared.service import main


def event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, which takes less CPU for each request, where it is installed; it has no Windows."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    forbid_core_dumps()
    main(NAME, ModelServerSettings, build, event_loop)
