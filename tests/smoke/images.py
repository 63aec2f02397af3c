"""What the services' images must be: small, one service's code, no root, no compiler, PyTorch only where it trains."""

from __future__ import annotations

from tests.smoke.compose import Compose, SmokeFailed, image_size

SERVICES = ("labeler-api", "generator", "augmenter", "trainer", "model-server")
BASE = "python:3.11-slim-bookworm"
MOST_MB = {"generator": 150, "model-server": 300}  # on top of the base image


def check_images(compose: Compose) -> dict[str, int]:
    """Megabytes that each service adds to the base image. Raises SmokeFailed."""
    added = {
        service: round(
            (image_size(f"evenskin/{service}:{compose.environment['EVENSKIN_VERSION']}") - image_size(BASE)) / 1e6
        )
        for service in SERVICES
    }
    for service, most in MOST_MB.items():
        if added[service] >= most:
            raise SmokeFailed(f"The {service} adds {added[service]} MB to its base image; it should be under {most}.")
    for service in SERVICES:
        if compose.inside(service, "id", "-u").stdout.strip() in ("", "0"):
            raise SmokeFailed(f"The {service} runs as root.")
        if compose.inside(service, "sh", "-c", "echo x > /app/x").returncode == 0:
            raise SmokeFailed(f"The {service} can write to its root file system.")
        if compose.inside(service, "sh", "-c", "command -v gcc cc c++").stdout.strip():
            raise SmokeFailed(f"The {service}'s image holds a compiler.")
        code = compose.inside(service, "ls", "/app/services").stdout.split()
        if code != ["__init__.py", service.replace("-", "_")]:
            raise SmokeFailed(f"The {service}'s image holds other services' code: {code}.")
        has_torch = compose.inside(service, "python", "-c", "import torch").returncode == 0
        if has_torch != (service == "trainer"):
            raise SmokeFailed(f"The {service}'s image {'holds' if has_torch else 'lacks'} PyTorch.")
    return added
