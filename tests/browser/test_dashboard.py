"""The dashboard: it shows what the ledger says, live, to everybody."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal
from uuid import UUID

import pytest
from playwright.async_api import Browser, Page, expect
from pydantic import SecretStr

from shared.events import FailureReason, ModelTrained, TrainingProgressed
from tests.browser.test_accessibility import violations
from tests.browser.visit import visited
from tests.eventually import eventually
from tests.fakes.model_cards import comparison, fold_metrics
from tests.integration.labeler_api.support import Labeler, labeler

DIED = 'The provider refuses the key: "Incorrect API key provided." <b>Set another one.</b>'


@contextlib.asynccontextmanager
async def busy(home: Path) -> AsyncIterator[Labeler]:
    """A labeler-api with pictures, two models, and a campaign of which three pictures wait for a person."""
    async with labeler(home) as running:
        for condition, tone in (("acne", 2), ("acne", 7), ("aging", 4)):
            await running.imported(1, condition=condition, severity="mild", skin_tone=str(tone))
        trained = UUID(await running.rebalance(targets={"acne": 0}))
        await running.reaches(str(trained), "met")
        for version, reason in (("v1", ""), ("v2", "Its recall of aging is 6.1 points lower. It is worse.")):
            model = ModelTrained(
                run_id="r",
                campaign_id=trained,
                dataset_version="ds",
                version=version,
                key=f"models/{version}/model.onnx",
                sha256="0" * 64,
                metrics={"test": fold_metrics(len(reason))},
                comparison=comparison("v1") if reason else None,
                promoted=not reason,
                reason=reason,
            )
            await running.publish(model)

            async def there(version: str = version) -> bool:
                models = (await running.get("/v1/models"))["models"]
                return bool(models and models[0]["version"] == version)

            await eventually(there)
        await running.rebalance(targets={"redness": 3}, review="manual")

        async def waiting() -> bool:
            return len(await running.images(status="pending")) == 3

        await eventually(waiting)
        yield running


def step(page: Page, name: str) -> str:
    return f'#campaign-steps li:has-text("{name}") b'


async def test_a_verdict_moves_the_dashboard_without_a_reload(browser: Browser, tmp_path: Path) -> None:
    async with busy(tmp_path) as running, visited(browser, f"{running.url}/") as visit:
        page = visit.page
        await page.locator("#to-dashboard").click()
        await expect(page).to_have_url(f"{running.url}/dashboard")
        await expect(page.locator("#live")).to_have_text("Live")
        await expect(page.locator(step(page, "In review"))).to_have_text("3")
        await expect(page.locator("#campaign-wanted")).to_have_text("Targets: Redness 3.")
        redness = page.locator('#balance tr[data-condition="redness"]')
        await expect(redness.locator(".all")).to_have_text("0 / 3 3 waiting")
        await expect(redness.locator("td.mild")).to_have_text("0 +1")

        waiting = await running.images(status="pending")
        for image in waiting:
            assert (await running.review(image["id"], "accepted")).status == 201
        await expect(page.locator(step(page, "Augmented"))).to_have_text("3")
        await expect(redness.locator(".all")).to_have_text("3 / 3")
        await expect(page.locator("#campaign-money")).to_contain_text("$0.09")
        await expect(page.locator("#campaign-title")).to_have_text("Quotas met")

        campaign_id = UUID((await running.get("/v1/rebalances"))["rebalances"][0]["id"])
        progress = TrainingProgressed(
            run_id="r2", campaign_id=campaign_id, epoch=4, epochs=30, train_loss=0.5, validation_loss=0.61
        )
        await running.publish(progress)
        await expect(page.locator("#campaign-title")).to_have_text("Training, epoch 4 of 30")
        await expect(page.get_by_role("img", name="Epoch 4 of 30 at most")).to_be_visible()


async def test_the_last_two_models_stand_side_by_side_with_what_the_gate_said(browser: Browser, tmp_path: Path) -> None:
    async with busy(tmp_path) as running, visited(browser, f"{running.url}/dashboard") as visit:
        page = visit.page
        await expect(page.locator("#models-said")).to_have_text("v2 was not promoted.")
        await expect(page.locator("#models-why")).to_have_text("Its recall of aging is 6.1 points lower. It is worse.")
        recalls = [100 * fold_metrics(seed)["overall"]["recall"] for seed in (2, 1)]  # of the live one, and this one
        row = page.locator("#models tr", has=page.get_by_role("rowheader", name="Recall", exact=True))
        await expect(row.locator("td")).to_contain_text([f"{recall:.1f}" for recall in recalls])


async def test_a_campaign_that_pauses_says_why_in_the_providers_words(browser: Browser, tmp_path: Path) -> None:
    async with labeler(tmp_path) as running, visited(browser, f"{running.url}/dashboard") as visit:
        page = visit.page
        await expect(page.locator("#campaign-title")).to_have_text("No rebalance yet")
        await expect(page.locator("#letters")).to_have_text("None")
        running.generator.answer = lambda _: FailureReason.KEY_REJECTED
        campaign_id = await running.rebalance(targets={"acne": 2})
        paused = await running.reaches(campaign_id, "paused")
        await expect(page.locator("#campaign-title")).to_have_text("Paused")
        await expect(page.locator("#campaign-why")).to_have_text(paused["reason"])
        await running.call("POST", f"/v1/rebalances/{campaign_id}/resume")
        await running.call("POST", f"/v1/rebalances/{campaign_id}/pause", json={"reason": DIED})
        await expect(page.locator("#campaign-why")).to_have_text(DIED)  # as text, whatever is in it


async def test_a_rebalance_is_started_after_its_plan_by_keys_alone_and_seen_through(
    browser: Browser, tmp_path: Path
) -> None:
    async with labeler(tmp_path) as running, visited(browser, f"{running.url}/dashboard") as visit:
        page = visit.page
        running.generator.answer = lambda _: None  # first nothing comes, so that there is time to pause
        await expect(page.locator("#live")).to_have_text("Live")
        await page.locator("#plan-open").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#plan-target")).to_be_focused()
        await page.keyboard.press("ControlOrMeta+a")
        await page.keyboard.type("1")
        await page.keyboard.press("Enter")
        await expect(page.locator("#plan-start")).to_have_text("Start, for at most $0.63")
        await expect(page.locator("#plan-start")).to_be_focused()
        assert await violations(page) == []
        assert (await running.get("/v1/rebalances"))["rebalances"] == []
        await page.keyboard.press("Enter")
        await expect(page.locator("#plan")).to_be_hidden()
        await expect(page.locator(step(page, "Requested"))).to_have_text("7")
        (campaign,) = (await running.get("/v1/rebalances"))["rebalances"]
        assert (campaign["review"], campaign["worst_cost_usd"]) == ("manual", pytest.approx(0.63))

        await page.locator("#campaign-pause").press("Enter")
        await expect(page.locator("#campaign-why")).to_have_text("paused by an operator")
        await page.locator("#campaign-resume").press("Enter")
        await expect(page.locator("#campaign-pause")).to_be_visible()
        await page.locator("#campaign-cancel").press("Enter")
        await page.locator("#cancel-no").press("Enter")
        assert (await running.campaign(campaign["id"]))["state"] == "running"
        await page.locator("#campaign-cancel").press("Enter")
        assert await violations(page) == []
        await page.locator("#cancel-yes").press("Enter")
        await expect(page.locator("#campaign-title")).to_have_text("Cancelled")
        await expect(page.locator("#campaign-pause")).to_be_hidden()


async def test_what_is_started_is_what_was_seen(browser: Browser, tmp_path: Path) -> None:
    async with labeler(tmp_path) as running, visited(browser, f"{running.url}/dashboard") as visit:
        page = visit.page
        await page.locator("#plan-open").click()
        await page.locator("#plan-target").fill("1")
        await page.locator("#plan-target").press("Enter")
        await expect(page.locator("#plan-start")).to_have_text("Start, for at most $0.63")
        await running.imported(1, condition="acne", severity="mild")
        await page.locator("#plan-start").click()
        await expect(page.locator("#plan-said")).to_contain_text("The dataset has changed meanwhile.")
        await expect(page.locator("#plan-start")).to_have_text("Start, for at most $0.54")
        assert (await running.get("/v1/rebalances"))["rebalances"] == []
        await page.locator("#plan-start").click()
        await expect(page.locator("#plan")).to_be_hidden()
        (campaign,) = (await running.get("/v1/rebalances"))["rebalances"]
        assert campaign["slots"]["total"] == 6

        # Another form is another plan; and what the server refuses is said there.
        await page.locator("#plan-open").click()
        await expect(page.locator("#plan-shown")).to_be_hidden()
        await page.locator("#plan-target").fill("100000")
        await page.locator("#plan-target").press("Enter")
        await expect(page.locator("#plan-said")).to_contain_text("Lower")
        visit.forgive_all("422")


async def test_skin_tones_are_a_switch_away_by_keys_alone(browser: Browser, tmp_path: Path) -> None:
    async with busy(tmp_path) as running, visited(browser, f"{running.url}/dashboard") as visit:
        page = visit.page
        await expect(page.locator("#balance tbody tr")).to_have_count(7)
        while await page.evaluate("document.activeElement.name") != "split":
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement !== document.body")
        await page.keyboard.press("ArrowRight")
        acne = page.locator('#balance tr[data-condition="acne"] td')
        await expect(acne).to_have_text(["0", "1", "0", "0", "0", "0", "1", "0", "0", "0"])


async def test_the_stream_is_taken_up_again_when_the_server_comes_back(browser: Browser, tmp_path: Path) -> None:
    async with busy(tmp_path) as running, visited(browser, f"{running.url}/dashboard") as visit:
        page = visit.page
        await expect(page.locator("#live")).to_have_text("Live")
        port = running.service.port
        await running.restart(port=port)
        await expect(page.locator("#live")).to_have_text("Live")
        await running.imported(1, condition="fine_lines", severity="severe")
        await expect(page.locator('#balance tr[data-condition="fine_lines"] td.severe')).to_have_text("1")
        visit.errors.clear()  # the browser notes what it could not reach


async def test_the_key_is_asked_for_once(browser: Browser, tmp_path: Path) -> None:
    async with labeler(tmp_path, api_key=SecretStr("secret")) as running:
        running.session.headers["X-API-Key"] = "secret"
        async with visited(browser, f"{running.url}/dashboard") as visit:
            page = visit.page
            await expect(page.locator("#key")).to_be_focused()
            await page.keyboard.type("wrong")
            await page.keyboard.press("Enter")
            await expect(page.locator("#problem")).to_contain_text("This is not the server's key.")
            await page.locator("#key").fill("secret")
            await page.keyboard.press("Enter")
            await expect(page.locator("#live")).to_have_text("Live")
            await expect(page.locator("#key-form")).to_be_hidden()
            await expect(page.locator("#problem")).to_be_hidden()
            visit.forgive_all("401")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
async def test_axe_finds_nothing_and_nothing_is_cut_off(
    browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    async with busy(tmp_path) as running, visited(browser, f"{running.url}/dashboard") as visit:
        page = visit.page
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await page.set_viewport_size({"width": width, "height": 900})
        await expect(page.locator(step(page, "In review"))).to_have_text("3")
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.locator("label:has(input[value=tone])").click()
        await expect(page.locator("#balance .swatch")).to_have_count(10)
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
