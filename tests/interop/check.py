"""`python -m tests.interop.check PYTHON`: our exports in other tools' hands, and Label Studio's corrections in ours.

Triton's client asks a model-server of ours, too.

PYTHON is that of an environment with `requirements.txt`; `make interop` makes one. It ends in an error where a tool
reads something else than is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from shared.embedded.blobs import DirectoryBlobs
from tests.fakes.pictures import png
from tests.integration.labeler_api.support import Labeler, labeler
from tests.unit.model_server.serving import running as running_server
from tests.unit.model_server.tiny_model import put_model

HERE = Path(__file__).parent
START_S = 300  # of Label Studio: its first start makes its database
CORRECTED = "redness:severe"


async def check(python: str) -> None:
    """Raise where a tool does not read what we write, or we do not read what it writes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tool").mkdir()
        async with labeler(folder / "home") as running:
            await _fill(running)
            for format in ("coco", "imagefolder", "labelstudio"):
                await _evenskin(running, "export", str(folder / format), "--format", format)
            await _run(python, HERE / "read_coco.py", folder / "coco" / "coco.json")
            await _run(python, HERE / "read_imagefolder.py", folder / "imagefolder")
            async with _label_studio(python, folder / "tool") as (url, token):
                script = HERE / "correct_in_label_studio.py"
                await _run(python, script, url, token, folder / "labelstudio", CORRECTED)
            await _evenskin(running, "import", str(folder / "labelstudio" / "back.json"))
            changed = [image["labels"] for image in await running.images() if image["reviewer"].startswith("label")]
            if changed != [{"redness": "severe"}]:
                raise RuntimeError(f"Corrected were {changed}.")
        await put_model(DirectoryBlobs(folder / "server" / "store"), "v1")
        async with running_server(folder / "server") as server:
            await _run(python, HERE / "infer_as_triton.py", f"127.0.0.1:{server.service.port}")


async def _fill(running: Labeler) -> None:
    await running.imported(2, condition="acne", severity="mild")
    await running.imported(1, labels='{"acne": "severe", "aging": null}')
    await running.imported(1, labels="{}")
    await running.reaches(await running.rebalance(target_per_condition=1, conditions=["pore_size"]), "met")
    for image in await running.images():  # flips, which the fake augmenter names and does not make
        await running.blobs.put(f"images/{image['id']}/hflip.png", png(9))


async def _evenskin(running: Labeler, *arguments: str) -> None:
    address = {"EVENSKIN_LABELER_URL": running.url}
    await _run(sys.executable, "-m", "services.console.cli", *arguments, variables=address)


async def _run(*command: object, variables: dict[str, str] | None = None) -> None:
    process = await asyncio.create_subprocess_exec(*map(str, command), env={**os.environ, **(variables or {})})
    if await process.wait():
        raise RuntimeError(f"{' '.join(map(str, command[:3]))} failed with {process.returncode}.")


@contextlib.asynccontextmanager
async def _label_studio(python: str, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A Label Studio of our own; its address and the token of its user."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, token = f"http://127.0.0.1:{port}", secrets.token_hex(20)
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_USERNAME": "interop@example.org",
        "LABEL_STUDIO_PASSWORD": secrets.token_hex(12),
        "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LATEST_VERSION_CHECK": "false",
        "COLLECT_ANALYTICS": "false",
    }
    command = (Path(python).parent / "label-studio", "start", "--no-browser", "--internal-host", "127.0.0.1")
    with (folder / "log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            *map(str, command), "--port", str(port), env={**os.environ, **settings}, stdout=log, stderr=log
        )
        try:
            await _answers(url, server)
            yield url, token
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.terminate()
            await server.wait()


async def _answers(url: str, server: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(START_S):
        while True:
            if server.returncode is not None:
                raise RuntimeError(f"Label Studio ended with {server.returncode}.")
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/health") as answer:
                    if answer.ok:
                        return
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(check(sys.argv[1]))
    sys.stdout.write("Exports are read, Label Studio's corrections came back, and Triton's client was answered.\n")
