"""`python -m services.trainer`."""

from services.trainer.app import NAME, build
from services.trainer.settings import TrainerSettings
from shared.service import main

if __name__ == "__main__":
    main(NAME, TrainerSettings, build)
