"""Nothing of a selfie outlives its answer: a marked picture is sent a thousand times, then looked for everywhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp import web
from PIL.PngImagePlugin import PngInfo

from shared.embedded.blobs import DirectoryBlobs
from tests.eventually import eventually
from tests.integration.test_model_server import everything_below
from tests.servers.process import Process, free_port
from tests.unit.model_server.pictures import encoded, noise
from tests.unit.model_server.tiny_model import put_model

ROOT = Path(__file__).parents[2]
MARK = "Elf-Nachtigallen-4711"
BATCH = 16  # pictures
ROUNDS = 40  # of a batch and nine requests by themselves: a thousand pictures
AT_ONCE = 8  # requests
GROWTH = 40_000_000  # bytes that a process may take in a thousand pictures of 50 kB: below one copy of each


def marked() -> tuple[bytes, list[bytes]]:
    """A picture of noise that holds a text, and what must not be found: text, file and pixels, also in base64, hex."""
    info = PngInfo()
    info.add_text("Description", MARK)
    picture = noise(128, seed=4711)
    data = encoded(picture, "PNG", pnginfo=info)
    middle = len(data) // 2
    pieces = [MARK.encode(), data[middle : middle + 24], picture.tobytes()[9000:9024]]
    texts = [base64.b64encode(piece[shift:])[:20] for piece in pieces for shift in range(3)]
    return data, [*pieces, *texts, *(piece.hex().encode() for piece in pieces)]


def form(pictures: Iterable[bytes]) -> aiohttp.FormData:
    made = aiohttp.FormData()
    for picture in pictures:
        made.add_field("image", io.BytesIO(picture), filename=f"{MARK}.png")
    return made


@contextlib.asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, list[bytes]]]:
    """An OTLP endpoint's address, and what is sent to it."""
    heard: list[bytes] = []

    async def collect(request: web.Request) -> web.Response:
        heard.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/traces", collect)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", heard
    finally:
        await runner.cleanup()


async def send_round(client: aiohttp.ClientSession, data: bytes) -> None:
    """A batch and single requests, good, refused and misdirected."""
    png = {"Content-Type": "image/png"}
    damaged = data[:-9000] + bytes(9000)

    async def ask(path: str, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        async with client.post(path, data=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == status, text
            assert MARK not in text

    await asyncio.gather(
        ask("/v1/predictions/batch?heatmap=1", 200, form([data] * (BATCH - 2) + [damaged, data[:9000]])),
        ask("/v1/predictions", 200, io.BytesIO(data), png),
        ask("/v1/predictions?heatmap=overlay", 200, form([data])),
        ask("/v1/predictions", 422, io.BytesIO(damaged), png),
        ask("/v1/predictions", 422, io.BytesIO(data[:9000]), png),
        ask("/v1/predictions", 415, io.BytesIO(b"GIF89a" + data), png),
        ask("/v1/predictions", 415, io.BytesIO(data), {"Content-Type": "text/plain"}),
        ask("/v1/predictions?heatmap=perhaps", 422, io.BytesIO(data), png),
        ask("/v1/nothing", 404, io.BytesIO(data), png),
        ask("/v2/models/evenskin/infer", 422, io.BytesIO(data), {"Content-Type": "application/json"}),
    )


def holders(directory: Path, needles: list[bytes]) -> list[tuple[str, bytes]]:
    """The files below a directory that hold something they must not, in name or content."""
    found = []
    for path in directory.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        found += [(str(path), needle) for needle in needles if needle in content or needle in os.fsencode(path.name)]
    return found


def core_limits(pid: int) -> list[str]:
    """The soft and the hard limit of what of a process may be dumped, as Linux tells them."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[-3:-1] for line in lines if line.startswith("Max core file size"))


async def test_after_a_thousand_selfies_nothing_of_one_is_on_disk_in_logs_traces_or_metrics(tmp_path: Path) -> None:
    data, needles = marked()
    home, temporary, work = (tmp_path / name for name in ("home", "temporary", "work"))
    for directory in (temporary, work):
        directory.mkdir()
    await put_model(DirectoryBlobs(home / "store"), "v1")
    port = free_port()
    async with collector() as (endpoint, traces), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        environment = {
            "PYTHONPATH": str(ROOT),
            "HOME": str(work),
            "TMPDIR": str(temporary),
            "EVENSKIN_HOME": str(home),
            "EVENSKIN_HOST": "127.0.0.1",
            "EVENSKIN_PORT": str(port),
            "EVENSKIN_LOG_LEVEL": "DEBUG",
            "EVENSKIN_PREDICT_QUEUE": "200",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        command = [sys.executable, "-m", "services.model_server"]
        process = Process(command, log=work / "log", environment=environment)
        try:

            async def ready() -> bool:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get("/readyz") as answer:
                        return answer.status == 200
                assert process.status is None, process.tail()
                return False

            await eventually(ready, "The model-server", every_s=0.05)
            before = everything_below(tmp_path)
            places = asyncio.Semaphore(AT_ONCE // 2)

            async def one_round() -> None:
                async with places:
                    await send_round(client, data)

            await asyncio.gather(*(one_round() for _ in range(AT_ONCE)))  # threads and pools have their memory by then
            started_with = psutil.Process(process.pid).memory_info().rss
            await asyncio.gather(*(one_round() for _ in range(ROUNDS - AT_ONCE)))
            assert psutil.Process(process.pid).memory_info().rss - started_with < GROWTH

            async with client.get("/metrics") as answer:
                metrics = await answer.read()
            assert f'evenskin_predictions_total{{outcome="ok"}} {ROUNDS * BATCH}.0'.encode() in metrics
            await eventually(lambda: any(b"/v1/predictions/batch" in sent for sent in traces), "A span")
            if sys.platform == "linux":
                assert core_limits(process.pid) == ["0", "0"]
            process.send(signal.SIGABRT)  # as a crash in native code
            await eventually(lambda: process.status is not None, "Its end")
        finally:
            process.stop()
    told = (work / "log").read_bytes()
    assert b"service_started" in told
    assert [needle for needle in needles if needle in metrics or needle in b"".join(traces)] == []
    assert holders(tmp_path, needles) == []
    assert everything_below(tmp_path) == before

    (work / "left").write_bytes(b"x" + data)  # it would be found
    assert {needle for _, needle in holders(tmp_path, needles)} == set(needles[:3])
