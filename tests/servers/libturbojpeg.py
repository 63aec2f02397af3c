"""The C library that flips JPEGs in their coefficients: the machine's own, else Debian's package."""

from __future__ import annotations

from services.augmenter import turbojpeg
from tests.servers.provision import apt_install, can_apt


def prepare() -> None:
    """Install the library if that is possible and needed."""
    if not turbojpeg.is_there() and can_apt():
        apt_install("libturbojpeg0")
