"""The review page for everybody: axe finds nothing, in light and dark, on a screen and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Page, expect

from tests.browser.test_review_page import introduce, told, waiting
from tests.browser.visit import visited

# Its rules for WCAG 2.2 AA and good practice, and two that it leaves out by itself.
RULES = {"label-content-name-mismatch": {"enabled": True}, "target-size": {"enabled": True}}


async def violations(page: Page) -> list[str]:
    """What axe finds on the page as it is: the rule and the element."""
    await page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = (await page.evaluate("rules => axe.run(document, { rules })", RULES))["violations"]
    return [f"{broken['id']}: {node['html']}" for broken in found for node in broken["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
async def test_axe_finds_nothing_on_any_screen_of_the_page(
    browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    async with waiting(tmp_path, 3) as (labeler, _), visited(browser, labeler.url) as visit:
        page = visit.page
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await page.set_viewport_size({"width": width, "height": 900})
        await expect(page.locator("#grid .thumb")).to_have_count(3)
        await introduce(page, "Ada")
        await page.keyboard.press("Shift+ArrowRight")
        await page.keyboard.press("1")
        assert await violations(page) == []
        await page.keyboard.press("Backspace")
        await expect(page.locator("#why")).to_be_visible()
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        await page.keyboard.press("?")
        await expect(page.locator("#keys-dialog")).to_be_visible()
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        await page.keyboard.press("Enter")
        await told(page, "2 pictures accepted as acne, not graded.")
        await page.locator("label:has(input[value=rejected])").click()
        await expect(page.locator("#empty")).to_be_visible()
        await page.route("**/v1/**", lambda route: route.abort())
        await expect(page.locator("#problem")).to_be_visible()
        assert await violations(page) == []
        visit.forgive_all("net::ERR_FAILED")
        await page.unroute("**/v1/**")
        await expect(page.locator("#problem")).to_be_hidden()
        visit.errors.clear()  # of what was on its way

        # It would say so.
        await page.locator("#said").evaluate("said => { said.style.color = '#777'; said.style.background = '#999' }")
        assert [broken.split(":")[0] for broken in await violations(page)] == ["color-contrast"]


async def test_every_control_shows_that_it_has_the_focus(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 2) as (labeler, _), visited(browser, labeler.url) as visit:
        page = visit.page
        await expect(page.locator("#grid .thumb")).to_have_count(2)
        await introduce(page, "Ada")
        await page.reload()  # the first Tab goes to the first control
        await expect(page.locator("#grid .thumb")).to_have_count(2)
        seen: set[str] = set()
        for _ in range(60):
            await page.keyboard.press("Tab")
            name, outline = await page.evaluate(
                """() => {
                  const at = document.activeElement;
                  const drawn = at.type === "radio" ? at.nextElementSibling : at;
                  return [at.id || at.getAttribute("class") || at.tagName, getComputedStyle(drawn).outlineStyle];
                }"""
            )
            if name == "BODY":
                break
            seen.add(name)
            assert outline == "solid", name
        assert {"reviewer", "undo", "help", "several", "condition", "accept", "reject", "reason", "why-open"} <= seen
        assert any("thumb" in name for name in seen)
        assert any("cell" in name for name in seen)
