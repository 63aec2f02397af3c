"""How much of the machine's raw speed the model-server gives to its callers.

`python -m tests.bench.bench_model_server` serves over HTTP, and in the same run decodes and predicts the same
pictures without HTTP, on as many threads. Both go on by turns, so that a noisy machine troubles both alike. The
callers are a process of their own on the same cores: their work is charged to the server, as it would be to
any server here. On a busy machine the CPU time of one answer, `raw_cpu_ms` and `http_cpu_ms` (the server's process
alone), says more than the rates. Prints a table to standard error and JSON to standard output. About 20 seconds: on
a machine that is too busy for that, each kind of picture gets one round instead of two.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from services.model_server.predictor import Predictor
from shared.cores import usable_cores
from shared.embedded.blobs import DirectoryBlobs
from shared.imaging import model_input
from shared.logs import configure_logs
from tests.unit.model_server.pictures import SELFIES, encoded, oriented
from tests.unit.model_server.serving import running
from tests.unit.model_server.tiny_model import put_model, tiny_model

ROUNDS = 2
WARM_S = 0.3  # seconds that are not counted: connections open, queues fill
ROUND_S = 1.2  # seconds that are: 2 sets × 2 rounds × 2 ways of both stay below LIMIT_S with all starts
LIMIT_S = 20.0  # seconds after which no second round is begun
CALLERS_PER_WORKER = 2  # one is predicted while another's bytes are on their way
PHONE_SIZE = (3000, 4000)  # pixels of a phone's default picture


def picture_sets() -> dict[str, list[bytes]]:
    """The selfies as they are, in their eight orientations, and the upright one at a phone's size."""
    files = [SELFIES / f"astronaut_orient{number}.jpg" for number in range(1, 9)]
    small = [path.read_bytes() for path in files] if SELFIES.is_dir() else [oriented(number) for number in range(1, 9)]
    phone = Image.open(io.BytesIO(small[0])).convert("RGB").resize(PHONE_SIZE, Image.Resampling.BICUBIC)
    return {"small": small, "phone": [encoded(phone, quality=85)]}


def raw_round(pictures: list[bytes], predictor: Predictor, workers: int) -> tuple[float, int]:
    """Decode and predict on threads, without HTTP: pictures a second, and how many in all, warm-up too."""
    turn = itertools.cycle(pictures)
    counts_from = time.perf_counter() + WARM_S

    def work() -> tuple[int, int]:
        counted = done = 0
        while time.perf_counter() < counts_from + ROUND_S:
            predictor.predict(model_input(next(turn), predictor.metadata.input_size)[np.newaxis])
            done += 1
            counted += 0 <= time.perf_counter() - counts_from < ROUND_S  # by its end: neither edge favours a way
        return counted, done

    with ThreadPoolExecutor(workers) as pool:
        results = [future.result() for future in [pool.submit(work) for _ in range(workers)]]
    counted, done = map(sum, zip(*results, strict=True))
    return counted / ROUND_S, done


async def call(url: str, pictures: list[bytes], callers: int) -> dict[str, Any]:
    """The callers' side, in its own process: requests a second and their latencies in milliseconds."""
    turn = itertools.cycle(pictures)
    latencies: list[float] = []
    async with aiohttp.ClientSession() as client:
        counts_from = time.perf_counter() + WARM_S

        async def one() -> None:
            while (began := time.perf_counter()) < counts_from + ROUND_S:
                body = io.BytesIO(next(turn))
                async with client.post(url, data=body, headers={"Content-Type": "image/jpeg"}) as response:
                    response.raise_for_status()
                    await response.read()
                ended = time.perf_counter()
                if 0 <= ended - counts_from < ROUND_S:
                    latencies.append((ended - began) * 1000)

        await asyncio.gather(*(one() for _ in range(callers)))
        return {"per_s": len(latencies) / ROUND_S, "latencies": latencies}


async def http_round(url: str, directory: Path, callers: int) -> dict[str, Any]:
    """Run the callers and read what they measured."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.bench_model_server", "--call", url, str(directory), str(callers)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    measured: dict[str, Any] = json.loads(output)
    return measured


async def measure() -> dict[str, Any]:
    """Serve, and measure both ways by turns."""
    workers = usable_cores()
    callers = CALLERS_PER_WORKER * workers
    predictor = Predictor.load(tiny_model())
    predictor.warm_up()
    result: dict[str, Any] = {"workers": workers, "callers": callers, "pictures": {}}
    began_s, sets = time.perf_counter(), picture_sets()
    with tempfile.TemporaryDirectory() as home:
        await put_model(DirectoryBlobs(Path(home) / "store"), "v1")
        async with running(Path(home), predict_workers=workers) as server:
            url = f"http://127.0.0.1:{server.service.port}/v1/predictions"
            for position, (name, pictures) in enumerate(sets.items(), 1):
                deadline = began_s + LIMIT_S * (position - 0.5) / len(sets)  # a round takes half of a set's share
                directory = Path(home) / name
                directory.mkdir()
                for number, picture in enumerate(pictures):
                    (directory / f"{number}.jpg").write_bytes(picture)
                raw: list[float] = []
                http: list[dict[str, Any]] = []
                cpu = {"raw": 0.0, "http": 0.0}
                answered = {"raw": 0, "http": 0}
                for number in range(ROUNDS):
                    if number and time.perf_counter() > deadline:
                        break
                    began = time.process_time()
                    rate, done = await asyncio.to_thread(raw_round, pictures, predictor, workers)
                    raw.append(rate)
                    answered["raw"] += done
                    cpu["raw"] += time.process_time() - began
                    before, began = server.metric("evenskin_predictions_total", outcome="ok"), time.process_time()
                    http.append(await http_round(url, directory, callers))
                    answered["http"] += int(server.metric("evenskin_predictions_total", outcome="ok") - before)
                    cpu["http"] += time.process_time() - began
                latencies = np.concatenate([round_["latencies"] for round_ in http])
                if not len(latencies):
                    raise SystemExit(
                        f"No '{name}' picture was answered in {ROUNDS * ROUND_S} s: try on a calmer machine."
                    )
                raw_per_s, http_per_s = float(np.median(raw)), float(np.median([round_["per_s"] for round_ in http]))
                result["pictures"][name] = {
                    "raw_per_s": round(raw_per_s, 1),
                    "http_per_s": round(http_per_s, 1),
                    "ratio": round(http_per_s / raw_per_s, 3) if raw_per_s else None,
                    **{f"{way}_cpu_ms": round(1000 * cpu[way] / answered[way], 2) for way in cpu},
                    "p50_ms": round(float(np.percentile(latencies, 50)), 2),
                    "p99_ms": round(float(np.percentile(latencies, 99)), 2),
                    "requests": len(latencies),
                }
    return result


def table(result: dict[str, Any], write: Callable[[str], object]) -> None:
    """The measurements for people."""
    write(f"{result['workers']} workers, {result['callers']} callers on the same cores\n")
    columns = ("raw_per_s", "http_per_s", "ratio", "raw_cpu_ms", "http_cpu_ms", "p50_ms", "p99_ms")
    write(f"{'pictures':<10}{''.join(f'{column:>13}' for column in columns)}\n")
    for name, row in result["pictures"].items():
        write(f"{name:<10}{''.join(f'{row[column]:>13}' for column in columns)}\n")


def main() -> None:
    """Measure, or be the callers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--call", nargs=3, metavar=("URL", "DIRECTORY", "CALLERS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.call:
        url, directory, callers = arguments.call
        pictures = [path.read_bytes() for path in sorted(Path(directory).iterdir())]
        print(json.dumps(asyncio.run(call(url, pictures, int(callers)))))
        return
    configure_logs("bench", level="WARNING")
    result = asyncio.run(measure())
    table(result, sys.stderr.write)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
