"""The examples in docs/predictions.md, run as they stand: only the server's address is another."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import runpy
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.model_server.openapi import document
from services.model_server.settings import ModelServerSettings
from shared.documents.predictions import NOTICE, Prediction
from shared.embedded.blobs import DirectoryBlobs
from shared.frames import Square
from shared.squares import cut
from tests.eventually import LIMIT_S
from tests.integration.description import Description
from tests.unit.model_server.pictures import encoded
from tests.unit.model_server.serving import Running, running
from tests.unit.model_server.tiny_model import put_model
from tests.unit.shared.portraits import drawn, placed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/predictions.md").read_text()
ADDRESS = "http://127.0.0.1:8080"
NODE = os.environ.get("NODE", "node")  # as the Makefile's


def examples(language: str) -> list[str]:
    """The page's examples in this language, in their order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "me.jpg").write_bytes(encoded(placed(drawn(), 0.8, 700)))
    (tmp_path / "notes.txt").write_text("no picture")
    await put_model(DirectoryBlobs(tmp_path / "home/store"), "v1", at=datetime(2026, 1, 1, tzinfo=UTC))
    async with running(tmp_path / "home") as started:
        yield started


async def run(server: Running, directory: Path, *command: str) -> str:
    """What a program prints that ends well, in the directory with the pictures."""
    process = await asyncio.create_subprocess_exec(
        *(part.replace(ADDRESS, f"http://127.0.0.1:{server.service.port}") for part in command),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, printed
    return printed.decode()


async def lines_of(server: Running, directory: Path) -> list[str]:
    """What an example prints of the picture, by the server's own answer."""
    answer = (await server.predict((directory / "me.jpg").read_bytes())).json
    found = [f"{c['condition']}: {c['severity']}, {c['probability']:.0%}" for c in answer["conditions"] if c["present"]]
    assert found
    return [*found, NOTICE]


async def test_curl_gets_an_answer_and_a_batch(server: Running, tmp_path: Path) -> None:
    one, several = [json.loads(await run(server, tmp_path, "sh", "-c", line)) for line in examples("sh")]
    assert (one["notice"], one["frame"]["found"]) == (NOTICE, True)
    first, second = several["pictures"]
    assert {**first["prediction"], "timing_ms": None} == {**one, "timing_ms": None}
    (written,) = examples("json")
    example = json.loads(written)
    assert list(second["problem"]) == list(example["pictures"][0]["problem"])
    assert second["problem"]["code"] == example["pictures"][0]["problem"]["code"]
    Description(document(ModelServerSettings.load(_env_file=None))).check(
        "post", "/v1/predictions/batch", 200, {"Content-Type": "application/json"}, written.encode()
    )


async def test_the_python_client_prints_what_the_server_answers(server: Running, tmp_path: Path) -> None:
    program = examples("python")[0]
    printed = await run(server, tmp_path, sys.executable, "-c", program)
    assert printed.splitlines() == [*await lines_of(server, tmp_path), "JPEG", "image_unsupported"]
    (tmp_path / "me.jpg").write_bytes(b"")
    assert (await run(server, tmp_path, sys.executable, "-c", program)).startswith("image_empty ")


async def test_javascript_prints_what_the_server_answers(server: Running, tmp_path: Path) -> None:
    (program,) = examples("js")
    printed = await run(server, tmp_path, NODE, "--input-type=module", "--eval", program)
    assert printed.splitlines() == await lines_of(server, tmp_path)


def laid_over(directory: Path) -> Any:
    """The function of the last example in Python."""
    program = directory / "laid_over.py"
    program.write_text(examples("python")[1])
    return runpy.run_path(str(program))["laid_over"]


@pytest.mark.parametrize(
    ("turn", "square"),
    [(0, Square(x=210, y=160, side=200, roll=28)), (270, Square(x=150, y=230, side=160, roll=-17))],
)
async def test_a_heatmap_is_laid_where_the_model_saw_it(
    server: Running, tmp_path: Path, turn: int, square: Square
) -> None:
    asked = await server.predict(encoded(drawn()), query="?heatmap=1")
    answer = Prediction.model_validate(asked.json)
    frame = answer.frame.model_copy(update={"turn": turn, "square": square})
    answer = answer.model_copy(update={"frame": frame})
    # Bright at the top and, less so, on the left: any wrong turn or mirror shows.
    across, down = np.meshgrid(np.arange(256), np.arange(256))
    heat = Image.fromarray(np.clip(255 - down - across / 2, 0, 255).astype(np.uint8))
    picture = laid_over(tmp_path)(Image.new("RGB", (400, 440)), answer, base64.b64encode(encoded(heat, "PNG")).decode())
    assert picture.size == ((400, 440) if turn == 0 else (440, 400))
    seen = np.asarray(cut(picture, square, 64).convert("L"), float)[3:-3, 3:-3]
    expected = np.asarray(heat.resize((64, 64)), float)[3:-3, 3:-3]
    assert np.abs(seen - expected).mean() < 4


async def test_an_overlay_of_a_real_answer_can_be_laid_over(server: Running, tmp_path: Path) -> None:
    data = (tmp_path / "me.jpg").read_bytes()
    answer = Prediction.model_validate((await server.predict(data, query="?heatmap=overlay")).json)
    picture = Image.open(io.BytesIO(data))
    shown = laid_over(tmp_path)(picture, answer, answer.conditions[0].heatmap)
    changed = np.abs(np.asarray(shown, int) - np.asarray(picture.convert("RGB"), int)).sum(axis=2) > 0
    x, y, side = answer.frame.square.x, answer.frame.square.y, answer.frame.square.side
    rows, columns = np.nonzero(changed)
    assert rows.size > 100
    half = side * 0.75  # of a turned square too
    assert np.abs(columns - x).max() <= half
    assert np.abs(rows - y).max() <= half
