"""`python -m services.augmenter`: the augmenter as a process of its own."""

from services.augmenter.app import build
from services.augmenter.settings import AugmenterSettings
from shared.service import main

if __name__ == "__main__":
    main("augmenter", AugmenterSettings, build)
