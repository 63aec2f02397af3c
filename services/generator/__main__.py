"""`python -m services.generator`: the generator as a process of its own."""

from services.generator.app import build
from services.generator.settings import GeneratorSettings
from shared.service import main

if __name__ == "__main__":
    main("generator", GeneratorSettings, build)
