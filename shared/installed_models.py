"""Reads the models that were installed with this program: `models.toml` names them."""

from __future__ import annotations

import hashlib
import sys
import tomllib
from pathlib import Path, PurePosixPath

from shared.errors import ConfigurationError

MODELS = Path(__file__).with_name("models.toml")
DIRECTORY = Path(sys.prefix) / "share/evenskin/models"


def model_entry(name: str) -> dict[str, str]:
    """What `models.toml` says of a model: package, version, path, sha256, licence."""
    entry: dict[str, str] = tomllib.loads(MODELS.read_text(encoding="utf-8"))[name]
    return entry


def installed_model(name: str, directory: Path = DIRECTORY) -> bytes:
    """Read an installed model's file, after a check of its SHA-256. `name` is one of `models.toml`.

    Raises ConfigurationError where the file is absent or is another one.
    """
    model = model_entry(name)
    path = directory / (name + PurePosixPath(model["path"]).suffix)
    advice = "Run `make` again, or `python deploy/install_models.py shared/models.toml all`."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"The model '{name}' is not installed at '{path}'.", advice=advice) from error
    if hashlib.sha256(content).hexdigest() != model["sha256"]:
        raise ConfigurationError(f"The file '{path}' is not the model '{name}': its SHA-256 differs.", advice=advice)
    return content
