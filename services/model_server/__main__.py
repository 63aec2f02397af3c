"""`python -m services.model_server`: the model-server as a process of its own."""

from services.model_server.app import NAME, build
from services.model_server.settings import ModelServerSettings
from shared.service import main

if __name__ == "__main__":
    main(NAME, ModelServerSettings, build)
