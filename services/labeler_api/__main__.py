"""`python -m services.labeler_api`: labeler-api as a process of its own."""

from services.labeler_api.app import build
from services.labeler_api.settings import LabelerSettings
from shared.service import main

if __name__ == "__main__":
    main("labeler-api", LabelerSettings, build)
