"""The browser that tests drive: the machine's own Chromium or Chrome, else Debian's package.

Playwright brings no browser here: what it would download is not wanted, and not to be had everywhere.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.servers.process import ServerFailed
from tests.servers.provision import apt_install, can_apt

VARIABLE = "EVENSKIN_TEST_CHROMIUM"
ADVICE = (
    "The tests need Chromium or Chrome. Install it (Debian: apt-get install chromium; "
    f"macOS: brew install --cask chromium), or set {VARIABLE} to its executable."
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def installed() -> Path | None:
    """The first executable found on the PATH."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return None if found is None else Path(found)


def prepare() -> None:
    """Install the browser if that is possible and needed."""
    if not os.environ.get(VARIABLE) and installed() is None and can_apt():
        apt_install("chromium")


def executable() -> Path:
    """The named browser, else the installed one. Raises ServerFailed with advice."""
    if named := os.environ.get(VARIABLE):
        if shutil.which(named) is None:
            raise ServerFailed(f"{VARIABLE} is '{named}', which cannot be run. {ADVICE}")
        return Path(named)
    prepare()
    found = installed()
    if found is None:
        raise ServerFailed(ADVICE)
    return found
