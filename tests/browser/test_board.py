"""The board: pictures are dragged onto it, by mouse and by finger, and it shows what is there and what is asked for."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser, Page, expect

from tests.browser.test_review_page import box_of, image, introduce, middle_of, told, waiting
from tests.browser.visit import visited

ACNE_SEVERE = '.column[data-condition="acne"] .cell.severe'


async def press_on(page: Page, selector: str) -> None:
    """Press the mouse on an element and move so far that it drags."""
    x, y = middle_of(await box_of(page, selector))
    await page.mouse.move(x, y)
    await page.mouse.down()
    await page.mouse.move(x + 20, y)


async def test_many_are_dragged_onto_a_cell_at_once(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 4) as (labeler, queue), visited(browser, labeler.url) as visit:
        page = visit.page
        first, second, third, _ = (found["id"] for found in queue)
        await introduce(page, "Ada")
        await expect(page.locator(f"{ACNE_SEVERE} .of")).to_have_text("")
        redness = page.locator('.column[data-condition="redness"] .cell .of')
        await expect(redness).to_have_text(["of 2", "of 1", "of 1"])

        await page.keyboard.press("Shift+ArrowRight")
        await page.keyboard.press("Shift+ArrowRight")
        # Let go where nothing is, or with Escape, it decides nothing.
        for ends in ("Escape", "elsewhere"):
            await press_on(page, f'[data-id="{second}"]')
            await expect(page.locator(".ghost b")).to_have_text("3")
            if ends == "Escape":
                await page.locator(ACNE_SEVERE).hover()
                await expect(page.locator(ACNE_SEVERE)).to_have_class("cell target severe over")
                await page.keyboard.press("Escape")
            else:
                await page.locator("h1").hover()
            await page.mouse.up()
            await expect(page.locator(".ghost")).to_have_count(0)
        assert (await labeler.get("/v1/balance"))["images"]["pending"] == 4

        await press_on(page, f'[data-id="{second}"]')
        await page.locator(ACNE_SEVERE).hover()
        await page.mouse.up()
        await told(page, "3 pictures accepted as acne, severe.")
        for image_id in (first, second, third):
            assert (await image(labeler, image_id))["labels"] == {"acne": "severe"}
        await expect(page.locator(f"{ACNE_SEVERE} b")).to_have_text("3")
        await expect(page.locator("#grid .thumb")).to_have_count(4)  # their slots still lack an image of redness


async def test_a_picture_dragged_onto_rejected_is_asked_why_and_one_onto_ungradable_is_not(
    browser: Browser, tmp_path: Path
) -> None:
    async with waiting(tmp_path, 3) as (labeler, queue), visited(browser, labeler.url) as visit:
        page = visit.page
        first, second, third = (found["id"] for found in queue)
        await introduce(page, "Ada")
        await page.locator(f'[data-id="{second}"]').drag_to(page.locator('[data-reason="ask"]'))
        await page.keyboard.press("2")
        await told(page, "1 picture rejected.")
        assert (await image(labeler, second))["reason"] == "wrong severity"

        await page.locator(f'[data-id="{first}"]').click()
        await page.locator("#large").drag_to(page.locator('[data-reason="ungradable"]'))
        await told(page, "1 picture rejected.")
        assert (await image(labeler, first))["reason"] == "ungradable"
        await page.locator(f'[data-id="{third}"]').click()
        await page.keyboard.press("x")
        await told(page, "1 picture rejected.")
        assert (await image(labeler, third))["reason"] == "ungradable"


async def test_a_finger_that_holds_still_drags_a_picture(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 2) as (labeler, queue), visited(browser, labeler.url) as visit:
        page = visit.page
        await page.set_viewport_size({"width": 390, "height": 844})
        await introduce(page, "Ada")
        thumbnail = page.locator("#grid .thumb").nth(1)
        await thumbnail.scroll_into_view_if_needed()
        x, y = middle_of(await box_of(page, "#grid .thumb >> nth=1"))
        finger = await page.context.new_cdp_session(page)

        async def touch(kind: str, *points: dict[str, float]) -> None:
            await finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

        await touch("touchStart", {"x": x, "y": y})
        await expect(page.locator("body")).to_have_class("dragging")
        # The board comes to the finger: it is below all pictures else.
        to_x, to_y = middle_of(await box_of(page, ACNE_SEVERE))
        assert 0 < to_y < 844
        await touch("touchMove", {"x": to_x, "y": to_y - 40})
        await touch("touchMove", {"x": to_x, "y": to_y})
        await expect(page.locator(ACNE_SEVERE)).to_have_class("cell target severe over")
        await touch("touchEnd")
        await told(page, "1 picture accepted as acne, severe.")
        assert (await image(labeler, queue[1]["id"]))["labels"] == {"acne": "severe"}
