"""The selfie page: a picture goes in, and what the model-server answers is shown."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, FilePayload, Page, expect

from shared.embedded.blobs import DirectoryBlobs
from tests.browser.visit import visited
from tests.unit.model_server.pictures import encoded, face
from tests.unit.model_server.serving import Running, running
from tests.unit.model_server.tiny_model import put_model
from tests.unit.shared.portraits import drawn, placed

NAMES = {
    "acne": "Acne",
    "redness": "Redness",
    "pore_size": "Enlarged pores",
    "textured_skin": "Textured skin",
    "hyperpigmentation": "Dark spots",
    "fine_lines": "Fine lines",
    "aging": "Signs of ageing",
}
PICTURE = encoded(face())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path) as started:
        yield started


def url_of(server: Running) -> str:
    return f"http://127.0.0.1:{server.service.port}/"


def file_of(data: bytes, name: str = "selfie.jpg", media_type: str = "image/jpeg") -> FilePayload:
    return {"name": name, "mimeType": media_type, "buffer": data}


def per_cent(probability: float) -> str:
    rounded = math.floor(100 * probability + 0.5)
    return {0: "<1%", 100: ">99%"}.get(rounded, f"{rounded}%")


def rows_expected(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, severity and per cent of each condition: the present ones first, each part by falling probability."""
    found = sorted(answer["conditions"], key=lambda c: (not c["present"], -c["probability"]))
    return [
        (
            NAMES[c["condition"]],
            ("slight" if (c["condition"], c["severity"]) == ("textured_skin", "mild") else c["severity"])
            if c["present"]
            else "",
            per_cent(c["probability"]),
        )
        for c in found
    ]


async def rows_shown(page: Page) -> list[tuple[str, str, str]]:
    rows = await page.locator("#conditions > li:not(.group)").all()
    return [
        (
            await row.locator(".name").inner_text(),
            "".join(await row.locator(".chip").all_inner_texts()),
            await row.locator(".percent").inner_text(),
        )
        for row in rows
    ]


async def test_the_numbers_shown_are_those_of_the_answer(browser: Browser, server: Running) -> None:
    answer = (await server.predict(PICTURE, query="?heatmap=1")).json
    present = [NAMES[c["condition"]].lower() for c in answer["conditions"] if c["present"]]
    assert present  # else nothing below would be tested
    async with visited(browser, url_of(server)) as visit:
        page = visit.page
        await expect(page.locator("#version")).to_have_text("Model v1")
        await expect(page.locator("#looked-for li")).to_have_text(list(NAMES.values()))

        await page.locator("#file").set_input_files(file_of(PICTURE))

        await expect(page.locator("#status")).to_contain_text("The model sees")
        assert await rows_shown(page) == rows_expected(answer)
        for name in present:
            await expect(page.locator("#status")).to_contain_text(name)
        await expect(page.locator("#facts")).to_contain_text("300 × 360 JPEG, answered in")
        (no_face,) = answer["advice"]
        await expect(page.locator("#advice li")).to_have_text([f"No face{no_face['message']}"])
        others = [warning for warning in answer["warnings"] if warning != no_face["message"]]
        await expect(page.locator("#warnings li")).to_have_text(others)
        await expect(page.locator("#found")).to_contain_text("No face with both eyes was found")
        await expect(page.get_by_role("meter")).to_have_count(len(NAMES))
        assert await page.locator("#preview").evaluate("img => [img.naturalWidth, img.naturalHeight]") == [300, 360]


async def test_a_heatmap_is_drawn_over_the_picture_and_taken_away(browser: Browser, server: Running) -> None:
    async with visited(browser, url_of(server)) as visit:
        page = visit.page
        await page.locator("#file").set_input_files(file_of(PICTURE))
        where = page.locator(".where").first
        await expect(where).to_have_text("Show where")

        await where.click()

        await expect(where).to_have_text("Hide")
        await expect(where).to_be_focused()
        await expect(page.locator("#heat-box")).to_be_visible()
        await expect(page.locator("#caption")).to_contain_text("where the evidence")
        colours = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, 256, 256).data).size"
        await page.wait_for_function(f"({colours})(document.getElementById('heat')) > 16")

        await where.click()
        await expect(page.locator("#heat-box")).to_be_hidden()


_PLACES = """() => {
    const picture = document.getElementById("preview").getBoundingClientRect();
    const middle = (mark) => {
        const { left, top, width, height } = mark.getBoundingClientRect();
        return [(left + width / 2 - picture.left) / picture.width, (top + height / 2 - picture.top) / picture.height];
    };
    const all = (selector) => [...document.querySelectorAll(selector)].map(middle);
    return { points: all("#overlay circle"), boxes: all(".box-line"), frames: all(".frame-line") };
}"""


@pytest.mark.parametrize("turn", [0, 90])
async def test_face_and_frame_are_drawn_where_they_are(browser: Browser, server: Running, turn: int) -> None:
    upright = placed(drawn(), 1.0, side=600).crop((0, 0, 600, 540))
    width, height = (600, 540) if turn == 0 else (540, 600)
    data = encoded(upright.rotate(turn, expand=True), "PNG")
    answer = (await server.predict(data, "image/png")).json
    assert (answer["frame"]["turn"], answer["image"]["width"]) == (turn, width)

    def shown(x: float, y: float) -> Any:
        across, down = (x, y) if turn == 0 else (y, height - x)
        return pytest.approx([across / width, down / height], abs=0.004)

    async with visited(browser, url_of(server)) as visit:
        page = visit.page
        await expect(page.locator("#overlay")).to_be_hidden()
        await page.locator("#file").set_input_files(file_of(data, "selfie.png", "image/png"))
        await expect(page.locator("#found")).to_contain_text("A face was found, the solid box")
        await expect(page.locator("#found")).to_contain_text("turned it" if turn else "around it")
        await expect(page.locator("#advice li")).to_have_count(0)
        await expect(page.get_by_role("img", name="Where the face was found")).to_be_visible()
        places = await page.evaluate(_PLACES)
        assert places["points"] == [shown(x, y) for x, y in answer["face"]["points"]]
        assert places["boxes"] == [shown(answer["face"]["x"], answer["face"]["y"])]
        assert places["frames"] == [shown(answer["frame"]["square"]["x"], answer["frame"]["square"]["y"])]
        await page.locator(".where").first.click()
        heat = await page.locator("#heat-box").evaluate(
            "box => { const { left, top, width, height } = box.getBoundingClientRect();"
            "const picture = document.getElementById('preview').getBoundingClientRect();"
            "return [(left + width / 2 - picture.left) / picture.width,"
            " (top + height / 2 - picture.top) / picture.height]; }"
        )
        assert heat == pytest.approx(places["frames"][0], abs=0.004)


async def test_what_is_refused_as_a_portrait_is_told_with_every_reason(browser: Browser, tmp_path: Path) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    dark = drawn().crop((0, 0, 384, 250)).point(lambda value: int(value * 0.25))
    async with running(tmp_path, face_policy="require") as server, visited(browser, url_of(server)) as visit:
        refused = (await server.predict(encoded(dark, "PNG"))).json
        assert [reason["code"] for reason in refused["reasons"]] == ["face_cut", "too_dark"]
        await visit.page.locator("#file").set_input_files(file_of(encoded(dark, "PNG")))
        for reason in refused["reasons"]:
            await expect(visit.page.locator("#error")).to_contain_text(reason["message"])
        await expect(visit.page.locator("#overlay")).to_be_hidden()
        await visit.forgive("status of 422")


async def test_an_avif_is_taken(browser: Browser, server: Running) -> None:
    async with visited(browser, url_of(server)) as visit:
        page = visit.page
        assert "image/avif" in str(await page.locator("#file").get_attribute("accept"))
        await page.locator("#file").set_input_files(file_of(encoded(drawn(), "AVIF"), "selfie.avif", "image/avif"))
        await expect(page.locator("#facts")).to_contain_text("384 × 384 AVIF, answered in")
        await expect(page.locator("#found")).to_contain_text("A face was found")


async def test_a_wrong_file_is_told_in_the_servers_sentence_and_a_right_one_answered_after_it(
    browser: Browser, server: Running
) -> None:
    wrong = b"this is no picture"
    refused = await server.predict(wrong)
    async with visited(browser, url_of(server)) as visit:
        page = visit.page
        await page.locator("#file").set_input_files(file_of(wrong, "notes.txt", "text/plain"))

        await expect(page.locator("#error")).to_contain_text(refused.json["detail"])
        await expect(page.locator("#error .advice")).to_have_text(refused.json["advice"])
        await expect(page.locator("#unshown")).to_have_text("Your browser cannot show this file as a picture.")
        await expect(page.locator("#conditions > li")).to_have_count(0)
        await visit.forgive(f"status of {refused.status}")

        await page.locator("#file").set_input_files(file_of(PICTURE))
        await expect(page.locator("#conditions > li:not(.group)")).to_have_count(len(NAMES))
        await expect(page.locator("#error")).to_be_hidden()


async def test_a_server_with_a_key_asks_for_it_and_then_answers(browser: Browser, tmp_path: Path) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path, api_key="secret") as server, visited(browser, url_of(server)) as visit:
        page = visit.page
        await page.locator("#file").set_input_files(file_of(PICTURE))
        await expect(page.locator("#key-label")).to_have_text("This server asks for an API key.")
        await page.locator("#key").fill("wrong")
        await page.locator("#key").press("Enter")
        await expect(page.locator("#key-label")).to_have_text("The server does not take that API key.")
        await page.locator("#key").fill("secret")
        await page.locator("#key").press("Enter")
        await expect(page.locator("#conditions > li:not(.group)")).to_have_count(len(NAMES))
        await expect(page.locator("#key-form")).to_be_hidden()
        await expect(page.locator("#version")).to_have_text("Model v1")
        await visit.forgive("status of 401", times=4)  # the model and a picture, without a key and with a wrong one
