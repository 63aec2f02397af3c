"""Verdicts on the review page: at once, never lost, sent once, taken back and given again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Request, Route, expect

from tests.browser.test_review_page import current, ids_shown, introduce, told, waiting
from tests.browser.visit import visited
from tests.eventually import eventually
from tests.integration.labeler_api.recount import assert_counters
from tests.integration.labeler_api.support import Labeler

PAINTED = "() => { const large = document.getElementById('large'); return large.complete && large.naturalWidth > 0 && \
  !large.classList.contains('coming') }"


class Gate:
    """Holds the page's reviews back until it is opened, as a slow server does."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.held = 0

    async def __call__(self, route: Route) -> None:
        self.held += 1
        await self.opened.wait()
        await route.continue_()


async def statuses(labeler: Labeler, queue: list[dict[str, Any]]) -> list[str]:
    """What the ledger says of pictures."""
    return [(await labeler.get(f"/v1/images/{found['id']}"))["status"] for found in queue]


async def ready(page: Page, count: int) -> None:
    """Wait for the pictures, and say who reviews them."""
    await expect(page.locator("#grid .thumb")).to_have_count(count)
    await introduce(page, "Ada")


async def test_the_next_picture_is_there_before_the_server_has_answered(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 4) as (labeler, queue), visited(browser, labeler.url) as visit:
        page, gate = visit.page, Gate()
        await ready(page, 4)
        await page.route("**/v1/reviews", gate)
        for at, key in enumerate(("Enter", "r", "e")):
            assert await current(page) == queue[at]["id"]
            await page.keyboard.press(key)
            assert await current(page) == queue[at + 1]["id"]
            await page.wait_for_function(PAINTED)
        await expect(page.locator("#sending")).to_have_text("Sending 3 verdicts …")
        assert await labeler.rows("reviews") == []
        gate.opened.set()
        await told(page, "1 picture accepted as redness, severe.")
        assert await statuses(labeler, queue) == ["accepted", "rejected", "accepted", "pending"]
        assert gate.held == 2  # what was decided meanwhile goes in one request
        await assert_counters(labeler)


async def test_the_pictures_of_the_next_page_follow_before_the_server_has_answered(
    browser: Browser, tmp_path: Path
) -> None:
    async with waiting(tmp_path, 60) as (labeler, queue), visited(browser, labeler.url) as visit:
        page, gate = visit.page, Gate()
        await ready(page, 48)
        await page.route("**/v1/reviews", gate)
        await page.keyboard.press("Control+a")
        await page.keyboard.press("Enter")
        await expect(page.locator("#empty")).to_be_hidden()
        await expect(page.locator("#grid .thumb")).to_have_count(12)
        assert await ids_shown(page) == [found["id"] for found in queue[48:]]
        gate.opened.set()
        await told(page, "48 pictures accepted.")
        assert await ids_shown(page) == [found["id"] for found in queue[48:]]
        assert len(await labeler.images(status="pending")) == 12


async def test_the_next_ten_pictures_are_fetched_ahead(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 13) as (labeler, queue), visited(browser, labeler.url) as visit:
        fetched: list[str] = []

        def note(request: Request) -> None:
            if request.url.endswith("/content"):
                fetched.append(request.url.split("/")[-2])

        await visit.page.goto("about:blank")
        visit.page.on("request", note)
        await visit.page.goto(labeler.url)
        ids = [found["id"] for found in queue]
        await eventually(lambda: set(fetched) == set(ids[:11]), "the first and the next ten")
        await visit.page.keyboard.press("ArrowRight")
        await eventually(lambda: set(fetched) == set(ids[:12]), "one more")
        assert len(fetched) == 12  # what is there already is not asked for again


async def test_verdicts_wait_in_the_browser_while_the_server_is_away_and_are_sent_once(
    browser: Browser, tmp_path: Path
) -> None:
    async with waiting(tmp_path, 4) as (labeler, queue), visited(browser, labeler.url) as visit:
        page = visit.page
        await ready(page, 4)
        await page.route("**/v1/**", lambda route: route.abort())
        await page.keyboard.press("Enter")
        await page.keyboard.press("r")
        await page.keyboard.press("q")
        await expect(page.locator("#sending")).to_have_text("3 verdicts kept in this browser until the server answers.")
        assert await ids_shown(page) == [queue[3]["id"]]
        await page.reload()
        await expect(page.locator("#sending")).to_have_text("3 verdicts kept in this browser until the server answers.")
        await page.unroute("**/v1/**")
        await expect(page.locator("body:not(.sending)")).to_be_attached()
        visit.forgive_all("net::ERR_FAILED")
        assert await statuses(labeler, queue) == ["accepted", "rejected", "accepted", "pending"]
        assert len(await labeler.rows("reviews")) == 3
        await assert_counters(labeler)


async def test_a_verdict_whose_answer_is_lost_is_one_and_one_undo_takes_it_back(
    browser: Browser, tmp_path: Path
) -> None:
    async with waiting(tmp_path, 2) as (labeler, queue), visited(browser, labeler.url) as visit:
        page = visit.page
        await ready(page, 2)
        lost = 0

        async def lose(route: Route) -> None:
            nonlocal lost
            lost += 1
            if lost > 2:
                await route.continue_()
                return
            await route.fetch()
            await route.abort()

        await page.route("**/v1/reviews", lose)
        await page.keyboard.press("Enter")
        await told(page, "1 picture accepted.")
        assert lost > 2
        assert len(await labeler.rows("reviews")) == 1
        lost = 0
        await page.route("**/v1/reviews/undo", lose)
        await page.keyboard.press("u")
        await told(page, "is pending again.")
        visit.forgive_all("net::ERR_FAILED")
        assert await statuses(labeler, queue) == ["pending", "pending"]
        await assert_counters(labeler)


async def test_a_verdict_on_what_another_reviewer_changed_is_shown_as_a_conflict(
    browser: Browser, tmp_path: Path
) -> None:
    async with waiting(tmp_path, 2) as (labeler, queue), visited(browser, labeler.url) as visit:
        page, gate = visit.page, Gate()
        await ready(page, 2)
        await page.route("**/v1/reviews", gate)
        await page.keyboard.press("Enter")
        await expect(page.locator("#sending")).to_have_text("Sending 1 verdict …")
        await eventually(lambda: gate.held == 1, "the verdict on its way")
        refused = await labeler.review(queue[0]["id"], "rejected", reviewer="<b>Bob</b>")
        assert refused.status == 201
        gate.opened.set()
        await expect(page.locator("#problem")).to_contain_text("Meanwhile the image is rejected by <b>Bob</b>")
        assert [row["reviewer"] for row in await labeler.rows("reviews")] == ["<b>Bob</b>"]
        await page.get_by_role("button", name="Show it").click()
        await expect(page.locator("input[value=rejected]")).to_be_checked()
        await expect(page.locator("#facts")).to_contain_text("<b>Bob</b>")
        # Seen as it is now, it can be reviewed again; the verdict that was refused is none to take back.
        await page.keyboard.press("Enter")
        await told(page, "1 picture accepted.")
        assert (await statuses(labeler, queue))[0] == "accepted"
        await page.keyboard.press("u")
        await told(page, "is rejected again.")
        assert (await statuses(labeler, queue))[0] == "rejected"


async def test_undo_and_redo_go_back_and_forth_also_after_a_reload(browser: Browser, tmp_path: Path) -> None:
    async with waiting(tmp_path, 4) as (labeler, queue), visited(browser, labeler.url) as visit:
        page = visit.page
        await ready(page, 4)
        await page.keyboard.press("Enter")
        await page.keyboard.press("e")
        await page.keyboard.press("Shift+ArrowRight")
        await page.keyboard.press("r")
        await told(page, "2 pictures rejected.")
        assert await statuses(labeler, queue) == ["accepted", "accepted", "rejected", "rejected"]
        await page.reload()
        await expect(page.locator("#reviewer")).to_have_value("Ada")
        for _ in range(3):
            await page.keyboard.press("u")
        await expect(page.locator("body:not(.sending)")).to_be_attached()
        assert await statuses(labeler, queue) == ["pending"] * 4
        again = [found["labels"] for found in await labeler.images(status="pending") if found["id"] == queue[1]["id"]]
        assert again == [queue[1]["labels"]]
        await page.reload()
        await page.keyboard.press("y")
        await page.keyboard.press("Control+Shift+z")
        await told(page, "Again: 1 picture accepted as redness, severe.")
        assert await statuses(labeler, queue) == ["accepted", "accepted", "pending", "pending"]
        # Another verdict ends what could be done again.
        await expect(page.locator("#redo")).to_be_enabled()
        await page.keyboard.press("Enter")
        await expect(page.locator("#redo")).to_be_disabled()
        await expect(page.locator("body:not(.sending)")).to_be_attached()
        await assert_counters(labeler)


async def test_a_verdict_taken_back_before_it_was_sent_never_reaches_the_server(
    browser: Browser, tmp_path: Path
) -> None:
    async with waiting(tmp_path, 3) as (labeler, queue), visited(browser, labeler.url) as visit:
        page, gate = visit.page, Gate()
        await ready(page, 3)
        await page.route("**/v1/reviews", gate)
        await page.keyboard.press("Enter")
        await eventually(lambda: gate.held == 1, "the first verdict on its way")
        await page.keyboard.press("r")
        await page.keyboard.press("u")
        await expect(page.locator("#sending")).to_have_text("Sending 1 verdict …")
        assert await current(page) == queue[1]["id"]
        gate.opened.set()
        await expect(page.locator("body:not(.sending)")).to_be_attached()
        assert len(await labeler.rows("reviews")) == 1
