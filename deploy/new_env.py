"""Write `.env` from `.env.example`, with random passwords. An `.env` that is there is left alone. Run by `make up`."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

ROOT = Path(__file__).parent.parent
PASSWORDS = ("RABBITMQ_PASSWORD", "POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "GRAFANA_PASSWORD")


def main(target: Path = ROOT / ".env") -> None:
    """Write it, readable by its owner alone."""
    text = (ROOT / ".env.example").read_text()
    for name in PASSWORDS:
        text = re.sub(rf"^{name}=$", f"{name}={secrets.token_hex(16)}", text, flags=re.MULTILINE)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
