"""The review page by keys alone: verdicts, reasons, several at once, the list of keys and how they are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from tests.browser.test_review_page import current, image, introduce, told, waiting
from tests.browser.visit import visited
from tests.integration.labeler_api.recount import assert_counters


async def test_a_queue_is_gone_through_by_keys_alone(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 9) as (labeler, queue), visited(browser, labeler.url) as visit:
        page, ids = visit.page, [found["id"] for found in queue]
        labeler.generator.answer = lambda request: None  # what is rejected is not made anew here

        async def ledger(at: int) -> dict[str, Any]:
            return await image(labeler, ids[at])

        def said(status: str, labels: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
            return {"status": status, "labels": labels, "reviewer": "Ada", "reason": reason}

        await expect(page.locator("#grid .thumb")).to_have_count(9)
        await introduce(page, "Ada")
        proposed = queue[0]["labels"]

        await page.keyboard.press("Enter")
        await page.keyboard.press("w")
        # The digit names another condition; what Enter will say is shown before it is said.
        await page.keyboard.press("1")
        await expect(page.locator("#labels")).to_have_text("Acne not graded")
        await page.keyboard.press("e")
        await page.keyboard.press("7")
        await page.keyboard.press("7")  # and takes it back
        await expect(page.locator("#labels")).to_contain_text("Redness")
        await page.keyboard.press("7")
        await page.keyboard.press("Enter")
        await told(page, "1 picture accepted as aging, not graded.")
        assert await ledger(0) == said("accepted", proposed)
        assert await ledger(1) == said("accepted", {"redness": "moderate"})
        assert await ledger(2) == said("accepted", {"acne": "severe"})
        assert await ledger(3) == said("accepted", {"aging": None})

        await page.keyboard.press("Backspace")
        await expect(page.get_by_role("dialog")).to_contain_text("Why is it rejected?")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        assert await current(page) == ids[4]
        await page.keyboard.press("Backspace")
        await page.keyboard.press("5")
        await told(page, "1 picture rejected.")
        await page.keyboard.press(".")  # the same again, with its reason
        await page.keyboard.press("Backspace")
        await page.keyboard.press("7")
        await page.keyboard.type("5 fingers on the chin")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await told(page, "1 picture rejected.")
        assert await ledger(4) == said("rejected", queue[4]["labels"], "artefact")
        assert await ledger(5) == said("rejected", queue[5]["labels"], "artefact")
        assert await ledger(6) == said("rejected", queue[6]["labels"], "5 fingers on the chin")

        # Several at once, with one verdict.
        await page.keyboard.press("Shift+ArrowRight")
        await page.keyboard.press("Backspace")
        await expect(page.get_by_role("dialog")).to_contain_text("Why are these 2 rejected?")
        await page.keyboard.press("Enter")  # the first reason has the focus
        await told(page, "2 pictures rejected.")
        assert await ledger(8) == said("rejected", queue[8]["labels"], "not this condition")
        await expect(page.locator("#empty")).to_contain_text("Nothing waits for review.")
        for _ in range(8):
            await page.keyboard.press("u")
        await expect(page.locator("body:not(.sending)")).to_be_attached()
        assert [found["id"] for found in await labeler.images(status="pending")] == ids
        await assert_counters(labeler)


async def test_keys_are_shown_and_changed_and_stay_changed(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 1) as (labeler, queue), visited(browser, labeler.url) as visit:
        page, dialog = visit.page, visit.page.get_by_role("dialog", name="Keys")
        await expect(page.locator("#grid .thumb")).to_have_count(1)
        await introduce(page, "Ada")
        await page.keyboard.press("?")
        await expect(dialog).to_be_visible()
        await expect(dialog).to_contain_text("Say the last verdict again")

        change = dialog.get_by_role("button", name="Accept as proposed")
        await change.click()
        await page.keyboard.press("r")
        await expect(dialog).to_contain_text("This key is taken: reject, with the reason that is written, if any.")
        await change.click()
        await page.keyboard.press("Escape")  # leaves the key, not the dialog
        await expect(dialog).to_be_visible()
        await change.click()
        await page.keyboard.press("g")
        await expect(dialog).to_contain_text("Accept as proposed: g")
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(page.locator("#accept kbd")).to_have_text("g")

        await page.reload()
        await expect(page.locator("#grid .thumb")).to_have_count(1)
        await expect(page.locator("#accept kbd")).to_have_text("g")
        await page.keyboard.press("a")
        await page.keyboard.press("Enter")
        assert await current(page) == queue[0]["id"]
        await page.keyboard.press("g")
        await told(page, "1 picture accepted.")
        assert (await image(labeler, queue[0]["id"]))["status"] == "accepted"

        await page.locator("#help").click()
        await dialog.get_by_role("button", name="Set all back").click()
        await dialog.get_by_role("button", name="Close").click()
        await expect(page.locator("#accept kbd")).to_have_text("⏎")
