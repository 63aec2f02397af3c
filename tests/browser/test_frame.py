"""Correcting the frame in the viewer: what is dragged there is what models are shown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Browser, expect

from tests.browser.test_review_page import box_of, introduce, middle_of, told
from tests.browser.visit import visited
from tests.fakes.pictures import encoded
from tests.integration.labeler_api.support import Labeler, labeler
from tests.unit.shared.portraits import drawn, placed


async def framed(labeler: Labeler, image_id: str) -> tuple[dict[str, Any], str | None]:
    """The square of an image, and who corrected it."""
    found = await labeler.get(f"/v1/images/{image_id}")
    return found["frame"]["square"], found["frame_reviewer"]


@pytest.mark.parametrize("lies", [False, True])
async def test_a_frame_is_dragged_sized_moved_by_keys_and_taken_back(
    browser: Browser, tmp_path: Path, lies: bool
) -> None:
    upright = placed(drawn(), 0.5, 600)
    shown = upright.transpose(Image.Transpose.ROTATE_90) if lies else upright
    async with labeler(tmp_path, faces="on") as running, visited(browser, running.url) as visit:
        image_id = (await running.upload(encoded(shown, "JPEG", quality=92), condition="acne")).json["id"]
        found, _ = await framed(running, image_id)
        page = visit.page
        await introduce(page, "Ada")
        await page.locator("label:has(input[value=accepted])").click()
        await page.locator("#grid .thumb").click()
        await expect(page.locator("#frame .dot")).to_have_count(4)

        # By its edge, to the right and down: it goes with the pointer.
        square = await box_of(page, "#frame .square")
        x, y = square["x"] + square["width"] / 2, square["y"]
        await page.mouse.move(x, y)
        await page.mouse.down()
        await page.mouse.move(x + 10, y + 10)
        await page.mouse.move(x + 20, y + 30)
        dragged = await box_of(page, "#frame .square")
        assert math.dist(middle_of(dragged), (middle_of(square)[0] + 20, middle_of(square)[1] + 30)) < 2
        await page.mouse.up()
        await told(page, "The frame is corrected.")
        moved, reviewer = await framed(running, image_id)
        assert (moved["side"], moved["roll"], reviewer) == (found["side"], found["roll"], "Ada")
        assert math.dist((moved["x"], moved["y"]), (found["x"], found["y"])) > 20
        await expect(page.locator("#facts")).to_contain_text("Frame corrected by")

        # By a corner: about its centre.
        corner = await box_of(page, "#frame .corner >> nth=2")
        x, y = middle_of(corner)
        await page.mouse.move(x, y)
        await page.mouse.down()
        await page.mouse.move(*middle_of(dragged))
        await page.mouse.up()
        await expect(page.locator("body:not(.sending)")).to_be_attached()
        sized, _ = await framed(running, image_id)
        assert ({**sized, "side": 0}, sized["side"]) == ({**moved, "side": 0}, 32)

        # By keys, kept with Enter and left with Escape; they decide nothing of the picture.
        edge = page.locator("#frame .edge")
        await edge.focus()
        for key in ("+", "+", "ArrowDown", "Escape", "-", "+", "+", "Enter"):
            await page.keyboard.press(key)
        await told(page, "The frame is corrected.")
        await expect(edge).to_be_focused()
        by_keys, _ = await framed(running, image_id)
        assert (by_keys["x"], by_keys["y"]) == (moved["x"], moved["y"])
        assert 32.5 < by_keys["side"] < 34
        assert (await running.get(f"/v1/images/{image_id}"))["reviewer"] == "import"

        # Back to what was found, also after a reload, and forth again.
        await page.reload()
        for expected in ((sized, "Ada"), (moved, "Ada"), (found, None)):
            await page.keyboard.press("u")
            await told(page, "Taken back: the frame lies as before.")
            assert await framed(running, image_id) == expected
        await page.keyboard.press("y")
        await told(page, "The frame is corrected again.")
        assert await framed(running, image_id) == (moved, "Ada")


async def test_nobody_corrects_a_frame_without_a_name(browser: Browser, tmp_path: Path) -> None:
    async with labeler(tmp_path) as running, visited(browser, running.url) as visit:
        picture = encoded(placed(drawn(), 0.5, 600), "PNG")
        image_id = (await running.upload(picture, condition="acne")).json["id"]
        before = await framed(running, image_id)
        page = visit.page
        await page.locator("label:has(input[value=accepted])").click()
        await page.locator("#grid .thumb").click()
        await expect(page.locator("#frame .middle")).to_be_visible()
        square = await box_of(page, "#frame .square")
        await page.locator("#frame .edge").focus()
        await page.keyboard.press("-")
        assert (await box_of(page, "#frame .square"))["width"] < square["width"]
        await page.keyboard.press("Enter")
        await told(page, "Say who you are first: each review carries a name.")
        assert (await box_of(page, "#frame .square"))["width"] == square["width"]
        assert await framed(running, image_id) == before
