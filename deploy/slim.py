"""Remove from the packages what no service ever reads. Run by deploy/Dockerfile with the environment's Python."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

AWS_SERVICES = {"s3", "sts", "sso", "sso-oidc", "signin"}  # S3, and what finds credentials for it
DIRECTORIES = (
    "**/tests",
    "**/testing/tests",
    "numpy/*/include",
    "numpy/f2py",
    "torch/include",
    "torch/test",
    "**/*.libs/__pycache__",
)
FILES = ("**/*.pyi", "**/*.a", "**/*.h", "**/*.c", "**/*.pxd", "**/*.pyx")


def main() -> None:
    """Print how many bytes went."""
    packages = Path(sysconfig.get_path("purelib"))
    before = size(packages)
    for data in packages.glob("boto*/data"):
        for service in data.iterdir():
            if service.is_dir() and service.name not in AWS_SERVICES:
                shutil.rmtree(service)
    for pattern in DIRECTORIES:
        for directory in list(packages.glob(pattern)):
            if directory.is_dir():
                shutil.rmtree(directory)
    for pattern in FILES:
        for file in list(packages.glob(pattern)):
            file.unlink()
    print(f"removed {(before - size(packages)) / 1e6:.0f} of {before / 1e6:.0f} MB")


def size(directory: Path) -> int:
    """Bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    main()
