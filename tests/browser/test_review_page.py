"""The review page: what a person does in it is what the ledger says afterwards."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, FloatRect, Page, Route, expect
from pydantic import SecretStr

from tests.browser.visit import visited
from tests.eventually import eventually
from tests.fakes.pictures import encoded
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Labeler, labeler
from tests.unit.shared.portraits import drawn, placed


@contextlib.asynccontextmanager
async def waiting(home: Path, count: int) -> AsyncIterator[tuple[Labeler, list[dict[str, Any]]]]:
    """A labeler-api with a manual campaign, of which so many pictures wait for a person; they in their order."""
    async with labeler(home) as running:
        await running.rebalance(targets={"redness": count}, review="manual")

        async def there() -> list[dict[str, Any]] | None:
            found = await running.images(status="pending")
            return found if len(found) == count else None

        yield running, await eventually(there, f"{count} pending images")


async def introduce(page: Page, name: str) -> None:
    """Give the reviewer's name; keys go to the page again afterwards."""
    await page.locator("#reviewer").fill(name)
    await page.locator("#reviewer").press("Enter")


async def told(page: Page, sentence: str) -> None:
    """Wait for what a decision is answered with, and until the server has it."""
    await expect(page.locator("#said")).to_contain_text(sentence)
    await expect(page.locator("body:not(.sending)")).to_be_attached()


async def ids_shown(page: Page) -> list[str]:
    found: list[str] = await page.locator("#grid .thumb").evaluate_all("all => all.map(one => one.dataset.id)")
    return found


async def current(page: Page) -> str | None:
    """The picture that is shown large."""
    return await page.locator("#grid .current").get_attribute("data-id")


async def image(labeler: Labeler, image_id: str) -> dict[str, Any]:
    """What the ledger says of an image: status, labels, reviewer and reason."""
    found = await labeler.get(f"/v1/images/{image_id}")
    return {key: found[key] for key in ("status", "labels", "reviewer", "reason")}


async def test_what_is_decided_by_key_button_and_dragging_is_in_the_ledger(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 4) as (labeler, queue), visited(browser, labeler.url) as visit:
        page = visit.page
        first, second, third, fourth = (found["id"] for found in queue)
        await expect(page.locator("#grid .thumb")).to_have_count(4)
        assert await ids_shown(page) == [first, second, third, fourth]
        await expect(page.locator("#campaigns")).to_contain_text("Waits for generation or review")

        # Nobody decides without a name.
        await page.keyboard.press("a")
        await told(page, "Say who you are first: each review carries a name.")
        await expect(page.locator("#reviewer")).to_be_focused()
        await introduce(page, "Ada")

        await page.keyboard.press("a")
        await told(page, "1 picture accepted.")
        labels = queue[0]["labels"]
        assert await image(labeler, first) == {
            "status": "accepted",
            "labels": labels,
            "reviewer": "Ada",
            "reason": None,
        }
        await expect(page.locator(f'[data-id="{first}"]')).to_have_count(0)
        assert await current(page) == second

        await page.locator("#reason").fill("a hand in the face")
        await page.locator("#reject").click()
        await told(page, "1 picture rejected.")
        refused = await image(labeler, second)
        assert (refused["status"], refused["reviewer"], refused["reason"]) == ("rejected", "Ada", "a hand in the face")
        await expect(page.locator("#reason")).to_have_value("")
        # Its slot asks again, with the reason; that picture comes to the page by itself.
        await eventually(lambda: len(labeler.generator.requests) == 5, "Another attempt")
        assert labeler.generator.requests[-1].earlier_rejections == ("a hand in the face",)
        await expect(page.locator("#grid .thumb")).to_have_count(3)

        await page.locator(f'[data-id="{fourth}"]').drag_to(page.locator('[data-condition="aging"] .cell.severe'))
        await told(page, "1 picture accepted as aging, severe.")
        moved = await image(labeler, fourth)
        assert (moved["status"], moved["labels"]) == ("accepted", {"aging": "severe"})
        await expect(page.locator('[data-condition="aging"] .cell.severe b')).to_have_text("1")

        await page.keyboard.press("u")
        await told(page, "is pending again.")
        before = {"status": "pending", "labels": queue[3]["labels"], "reviewer": None, "reason": None}
        assert await image(labeler, fourth) == before
        await expect(page.locator(f'[data-id="{fourth}"]')).to_have_class("thumb current")
        await expect(page.locator('[data-condition="aging"] .cell.severe b')).to_have_text("0")

        await page.keyboard.press("e")
        await told(page, "1 picture accepted as redness, severe.")
        assert (await image(labeler, fourth))["labels"] == {"redness": "severe"}
        balance = (await labeler.get("/v1/balance"))["images"]
        assert (balance["accepted"], balance["rejected"]) == (2, 1)
        await expect(page.locator("#status b").nth(1)).to_have_text("2")
        await assert_counters(labeler)


async def test_several_are_decided_at_once_and_taken_back_at_once(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 3) as (labeler, queue), visited(browser, labeler.url) as visit:
        page = visit.page
        await introduce(page, "Ada")
        await expect(page.locator("#grid .thumb")).to_have_count(3)
        await page.keyboard.press("Control+a")
        await expect(page.locator("#accept")).to_contain_text("Accept 3")

        # By touch: a tap adds to what is chosen, or takes out of it, while that is pressed.
        await page.locator("#several").click()
        for at in (0, 2):
            await page.locator("#grid .thumb").nth(at).click()
        await expect(page.locator("#accept")).not_to_contain_text("2")
        await page.locator("#several").click()
        await page.locator("#all").click()
        await expect(page.locator("#accept")).to_contain_text("Accept 3")

        await page.keyboard.press("a")
        await told(page, "3 pictures accepted.")
        await expect(page.locator("#empty")).to_contain_text("Nothing waits for review.")

        # The connection breaks after the first of them: what is left of the undo is not forgotten.
        asked = 0

        async def first_only(route: Route) -> None:
            nonlocal asked
            asked += 1
            await (route.continue_() if asked == 1 else route.abort())

        await page.route("**/v1/reviews/undo", first_only)
        await page.locator("#undo").click()
        await expect(page.locator("#problem")).to_contain_text("The server does not answer.")
        await expect(page.locator("#grid .thumb")).to_have_count(3)
        assert len(await labeler.images(status="pending")) == 1

        await page.unroute("**/v1/reviews/undo")
        await told(page, "3 pictures are pending again.")
        visit.forgive_all("net::ERR_FAILED")
        await expect(page.locator("#problem")).to_be_hidden()
        await expect(page.locator("#grid .thumb")).to_have_count(3)
        assert [found["labels"] for found in await labeler.images(status="pending")] == [
            found["labels"] for found in queue
        ]
        await assert_counters(labeler)


async def test_the_page_goes_on_by_itself_once_the_server_answers_again(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 1) as (labeler, _), visited(browser, labeler.url) as visit:
        page, problem = visit.page, visit.page.locator("#problem")
        await expect(page.locator("#grid .thumb")).to_have_count(1)

        await page.route("**/v1/balance", lambda route: route.fulfill(body="<html>Back soon</html>"))
        await expect(problem).to_contain_text("The server's answer cannot be read.")
        await page.unroute("**/v1/balance")
        await expect(problem).to_be_hidden()

        await labeler.rebalance(targets={"redness": 2}, review="manual")
        await expect(page.locator("#grid .thumb")).to_have_count(2)

        # A list that could not be had is no empty one, and is asked for again.
        await page.route("**/v1/images?*", lambda route: route.abort())
        await page.locator("label:has(input[value=accepted])").click()
        await expect(problem).to_contain_text("The server does not answer.")
        await expect(page.locator("#grid .thumb")).to_have_count(0)
        await expect(page.locator("#empty")).to_be_hidden()
        await page.unroute("**/v1/images?*")
        await expect(page.locator("#empty")).to_contain_text("No picture is accepted yet.")
        visit.forgive_all("net::ERR_FAILED")


async def test_a_server_with_a_key_asks_for_it_and_then_shows_the_pictures(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 1) as (labeler, _):
        await labeler.restart(api_key=SecretStr("secret"))
        async with visited(browser, labeler.url) as visit:
            page = visit.page
            await page.locator("#key").fill("secret")
            await page.locator("#key").press("Enter")
            await expect(page.locator("#key-form")).to_be_hidden()
            for picture in (page.locator("#grid .thumb img"), page.locator("#large")):
                await expect(picture).to_have_js_property("naturalWidth", 256)
            assert {"status of 401" in text for text in visit.errors} == {True}
            visit.errors.clear()


async def test_the_frame_is_drawn_where_the_face_is_and_can_be_hidden(browser: Browser, tmp_path: Path) -> None:
    upright = placed(drawn(), 0.5, 600)
    lying = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92)
    async with labeler(tmp_path, faces="on") as running, visited(browser, running.url) as visit:
        for data in (encoded(upright, "PNG"), lying):
            assert (await running.upload(data, condition="acne")).status == 201
        page = visit.page
        await page.locator("label:has(input[value=accepted])").click()
        await expect(page.locator("#grid .thumb")).to_have_count(2)
        for number in range(2):
            await page.locator("#grid .thumb").nth(number).click()
            await expect(page.locator("#frame circle")).to_have_count(5)
            await expect(page.locator("#frame polygon")).to_have_count(2)
            shown, square = (await box_of(page, "#large")), (await box_of(page, "#frame .square"))
            assert math.dist(middle_of(shown), middle_of(square)) < 0.1 * shown["height"]
            assert 0.2 < square["height"] / shown["height"] < 0.8
        await expect(page.locator("#facts")).to_contain_text("90° clockwise")

        toggle = page.locator("#frame-toggle")
        await page.keyboard.press("f")
        await expect(page.locator("#frame")).to_be_hidden()
        await expect(toggle).to_have_attribute("aria-pressed", "false")
        await page.reload()
        await expect(toggle).to_have_attribute("aria-pressed", "false")
        await page.locator("label:has(input[value=accepted])").click()
        await toggle.click()
        await expect(page.locator("#frame")).to_be_visible()


async def box_of(page: Page, selector: str) -> FloatRect:
    """Where an element is shown."""
    box = await page.locator(selector).bounding_box()
    assert box is not None
    return box


def middle_of(box: FloatRect) -> tuple[float, float]:
    """Its middle."""
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
