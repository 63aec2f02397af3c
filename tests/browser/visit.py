"""A browser for one test, and a page in it of which everything that goes wrong is noted."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright, expect

from tests.eventually import LIMIT_S, eventually
from tests.servers import chromium
from tests.servers.keeper import SOCKET_VARIABLE

WAIT_MS = 1000 * LIMIT_S  # for a state of the page
_ARGUMENTS = (
    "--no-sandbox",  # which Chromium insists on for root
    "--disable-gpu",
    # It is to ask nobody but the server under test.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera that shows a moving picture, and may be used without asking.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)

expect.set_options(timeout=WAIT_MS)


@contextlib.asynccontextmanager
async def started_browser() -> AsyncIterator[Browser]:
    """A headless Chromium with a fresh profile. It leaves no process and no file. Raises ServerFailed."""
    executable = chromium.executable()
    before = set(psutil.Process().children(recursive=True))
    # The keeper of the test servers removes its directory even where this process is killed.
    with tempfile.TemporaryDirectory(prefix="browser-", dir=Path(os.environ[SOCKET_VARIABLE]).parent) as home:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=executable,
                args=_ARGUMENTS,
                env={**os.environ, "HOME": home, "TMPDIR": home},
                timeout=WAIT_MS,
            )
            mine = set(psutil.Process().children(recursive=True)) - before
            try:
                yield browser
            finally:
                await browser.close()
        _, alive = psutil.wait_procs(mine, timeout=LIMIT_S)
        assert alive == []


class Visit:
    """A page and what went wrong in it: errors of the console and of scripts. A test forgives what it expects."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._hear)
        page.on("pageerror", self._note)
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    async def forgive(self, part: str, *, times: int = 1) -> None:
        """Wait for errors that a test expects, by a part of their text, and forget them."""
        for _ in range(times):
            found = await eventually(lambda: [text for text in self.errors if part in text], part)
            self.errors.remove(found[0])

    def forgive_all(self, part: str) -> None:
        """Forget every error so far with this part: where nobody knows how often a page tries again."""
        assert [text for text in self.errors if part in text], part
        self.errors[:] = [text for text in self.errors if part not in text]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _note(self, error: Error) -> None:
        self.errors.append(str(error))


@contextlib.asynccontextmanager
async def visited(browser: Browser, url: str) -> AsyncIterator[Visit]:
    """Open a page. At the end nothing unexpected may have gone wrong, and no other host have been asked."""
    context = await browser.new_context()
    try:
        context.set_default_timeout(WAIT_MS)
        visit = Visit(await context.new_page())
        # The browser stops requests for routes from the first one on, and not at once: by a test's own it does already.
        await visit.page.route("**/never-asked-for", lambda route: route.abort())
        await visit.page.goto(url)
        yield visit
        assert visit.errors == []
        assert visit.hosts - {""} == {urlsplit(url).netloc}  # data: and blob: have no host
    finally:
        await context.close()
