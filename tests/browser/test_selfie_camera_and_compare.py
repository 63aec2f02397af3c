"""The selfie page's camera with its guide, and two pictures compared, in a real browser with a made-up camera."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, expect

from shared.embedded.blobs import DirectoryBlobs
from tests.browser.test_accessibility import violations
from tests.browser.test_selfie_page import NAMES, PICTURE, file_of, url_of
from tests.browser.visit import visited
from tests.unit.model_server.pictures import encoded
from tests.unit.model_server.serving import Running, running
from tests.unit.model_server.tiny_model import put_model
from tests.unit.shared.portraits import drawn

FACE = encoded(drawn())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path) as started:
        yield started


async def answered(page: Page) -> None:
    await expect(page.locator("#conditions > li:not(.group)")).to_have_count(len(NAMES))


async def show(page: Page, picture: bytes) -> None:
    await page.locator("#file").set_input_files(file_of(picture))
    await answered(page)


async def test_a_photo_is_taken_with_the_keyboard_and_the_camera_let_go(browser: Browser, server: Running) -> None:
    async with visited(browser, url_of(server)) as visit:
        page = visit.page
        await page.locator("#open-camera").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#shoot")).to_be_focused()
        await expect(page.locator("#oval")).to_be_visible()
        await expect(page.locator("#camera-told")).to_contain_text("light")
        video = page.locator("#viewfinder")
        width, height = await video.evaluate("v => [v.videoWidth, v.videoHeight]")
        await video.evaluate("v => { window.track = v.srcObject.getTracks()[0] }")
        await page.keyboard.press("Enter")
        await answered(page)
        await expect(page.locator("#camera-dialog")).to_be_hidden()
        await expect(page.locator("#facts")).to_contain_text(f"{width} × {height} JPEG")
        assert await page.evaluate("window.track.readyState") == "ended"

        await page.locator("#open-camera").click()
        await expect(page.locator("#shoot")).to_be_enabled()
        await video.evaluate("v => { window.track = v.srcObject.getTracks()[0] }")
        await page.keyboard.press("Escape")
        await expect(page.locator("#camera-dialog")).to_be_hidden()
        assert await page.evaluate("window.track.readyState") == "ended"


async def test_without_a_camera_it_says_so(browser: Browser, server: Running) -> None:
    async with visited(browser, url_of(server)) as visit:
        page = visit.page
        refuse = "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', '%s') } }"
        for name, told in (("NotAllowedError", "may not use the camera"), ("NotFoundError", "There is no camera")):
            await page.evaluate(refuse % name)
            await page.locator("#open-camera").click()
            await expect(page.locator("#camera-told")).to_contain_text(told)
            await expect(page.locator("#shoot")).to_be_disabled()
            await page.locator("#close-camera").click()
            await expect(page.locator("#camera-dialog")).to_be_hidden()


async def test_two_pictures_are_kept_by_choice_compared_and_deleted(browser: Browser, server: Running) -> None:
    answers = [(await server.predict(picture)).json for picture in (PICTURE, FACE)]
    async with visited(browser, url_of(server)) as visit:
        page = visit.page
        kept = page.locator("#kept > li")
        await expect(page.locator("#keep")).to_be_disabled()
        await show(page, PICTURE)
        await expect(page.locator("#compare-status")).to_have_text("Nothing is kept.")  # until one asks for it
        await page.locator("#keep").click()
        await expect(kept).to_have_count(1)
        await expect(page.locator("#keep")).to_be_disabled()
        await page.reload()
        await expect(kept).to_have_count(1)
        await show(page, FACE)
        await page.locator("#keep").click()
        await expect(kept).to_have_count(2)
        await kept.first.get_by_role("checkbox").check()
        await expect(page.locator("#comparison")).to_be_visible()

        rows = page.locator("#compared-rows tr")
        await expect(rows).to_have_count(len(NAMES))
        images = page.locator("#compared-pictures img")
        widths = [await image.evaluate("i => i.decode().then(() => i.naturalWidth)") for image in await images.all()]
        assert widths == [300, 384]
        for line, earlier, later in zip(await rows.all(), *(a["conditions"] for a in answers), strict=True):
            told = await line.locator("th, td").all_inner_texts()
            points = [int(100 * c["probability"] + 0.5) for c in (earlier, later)]
            assert told[0] == NAMES[earlier["condition"]]
            assert all(
                ("not counted" in text) is not c["present"] for text, c in zip(told[1:3], (earlier, later), strict=True)
            )
            more = points[1] - points[0]
            change = (
                f"{abs(more)} point{'s' * (abs(more) != 1)} {'more' if more > 0 else 'less'} likely"
                if more
                else "about the same"
            )
            assert told[3] == change

        await kept.first.get_by_role("button", name="Delete the picture of").click()
        await expect(kept).to_have_count(1)
        await expect(page.locator("#comparison")).to_be_hidden()
        await page.locator("#forget-all").click()
        await expect(kept).to_have_count(0)
        assert await page.evaluate("import('/static/kept.js').then(({ kept }) => kept())") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    browser: Browser, server: Running, scheme: Literal["light", "dark"], width: int
) -> None:
    async with visited(browser, url_of(server)) as visit:
        page = visit.page
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await page.set_viewport_size({"width": width, "height": 900})
        for picture in (PICTURE, FACE):
            await show(page, picture)
            await page.locator("#keep").click()
            await expect(page.locator("#keep")).to_be_disabled()
        await expect(page.locator("#comparison")).to_be_visible()
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        right = "button => button.closest('.card').getBoundingClientRect().right - button.getBoundingClientRect().right"
        assert await page.locator("#keep").evaluate(right) > 0
        await page.locator("#open-camera").click()
        await expect(page.locator("#shoot")).to_be_enabled()
        assert await violations(page) == []
