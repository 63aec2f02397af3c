"""How much of the machine's raw speed the model-server gives to its callers.

`python -m tests.bench.bench_model_server` serves a model of MobileNetV3-small's size over HTTP, and in the same run
prepares and predicts the same pictures without HTTP, on as many threads: without a search for faces, and with one.
Both go on by turns, so that a noisy machine troubles both alike. The
callers are a process of their own on the same cores: their work is charged to the server, as it would be to
any server here. On a busy machine the CPU time of one answer, `raw_cpu_ms` and `http_cpu_ms` (the server's process
alone), says more than the rates. Prints a table to standard error and JSON to standard output. About 40 seconds: on
a machine that is too busy for that, each kind of picture gets one round instead of two.
"""

from __future__ import annotations

import argparse
import asyncio
import io
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

from services.model_server.predictor import Predictor
from shared.cores import usable_cores
from shared.embedded.blobs import DirectoryBlobs
from shared.faces import FaceDetector, FaceSearch, detector_from
from shared.logs import configure_logs
from shared.preprocessing import NEWEST, prepare
from tests.bench.bench_pictures import PICTURES, photograph
from tests.bench.mobilenet import served_mobilenet
from tests.unit.model_server.serving import Running, running
from tests.unit.model_server.tiny_model import metadata, put_model

ROUNDS = 2
WARM_S = 0.3  # seconds that are not counted: connections open, queues fill
ROUND_S = 1.2  # seconds that are: 2 sets × 2 searches × 2 rounds × 2 ways of both stay below LIMIT_S with all starts
LIMIT_S = 40.0  # seconds after which no second round is begun
CALLERS_PER_WORKER = 4  # some are predicted while others' bytes are on their way
SIZE = 224  # pixels of the model's input


def picture_sets() -> dict[str, bytes]:
    """A portrait as messengers send it, and as a phone's camera makes it."""
    return {name: photograph(*told) for name, told in PICTURES.items()}


def model() -> bytes:
    """The model that is served, and predicts without HTTP."""
    told = metadata("v1", input_size=SIZE, preprocessing=NEWEST.described(SIZE))
    return served_mobilenet(told.model_dump_json(), SIZE, len(told.conditions))


def raw_round(picture: bytes, predictor: Predictor, detector: FaceDetector | None, workers: int) -> tuple[float, int]:
    """Prepare and predict on threads, without HTTP: pictures a second, and how many in all, warm-up too."""
    counts_from = time.perf_counter() + WARM_S

    def work() -> tuple[int, int]:
        counted = done = 0
        while time.perf_counter() < counts_from + ROUND_S:
            predictor.predict(prepare(picture, SIZE, detector=detector).pixels[np.newaxis])
            done += 1
            counted += 0 <= time.perf_counter() - counts_from < ROUND_S  # by its end: neither edge favours a way
        return counted, done

    with ThreadPoolExecutor(workers) as pool:
        results = [future.result() for future in [pool.submit(work) for _ in range(workers)]]
    counted, done = map(sum, zip(*results, strict=True))
    return counted / ROUND_S, done


async def call(url: str, picture: bytes, callers: int) -> dict[str, Any]:
    """The callers' side, in its own process: requests a second and their latencies in milliseconds."""
    latencies: list[float] = []
    async with aiohttp.ClientSession() as client:
        counts_from = time.perf_counter() + WARM_S

        async def one() -> None:
            while (began := time.perf_counter()) < counts_from + ROUND_S:
                body = io.BytesIO(picture)
                async with client.post(url, data=body, headers={"Content-Type": "image/jpeg"}) as response:
                    response.raise_for_status()
                    await response.read()
                ended = time.perf_counter()
                if 0 <= ended - counts_from < ROUND_S:
                    latencies.append((ended - began) * 1000)

        await asyncio.gather(*(one() for _ in range(callers)))
        return {"per_s": len(latencies) / ROUND_S, "latencies": latencies}


async def http_round(url: str, picture: Path, callers: int) -> dict[str, Any]:
    """Run the callers and read what they measured."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.bench_model_server", "--call", url, str(picture), str(callers)),
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
    result: dict[str, Any] = {"workers": workers, "callers": CALLERS_PER_WORKER * workers, "pictures": {}}
    began_s, sets = time.perf_counter(), picture_sets()
    predictor = Predictor.load(model())
    predictor.warm_up()
    with tempfile.TemporaryDirectory() as home:
        await put_model(DirectoryBlobs(Path(home) / "store"), "v1", model())
        for number, faces in enumerate(FaceSearch, 1):
            async with running(Path(home), predict_workers=workers, faces=faces.value) as server:
                for name, data in sets.items():
                    picture = Path(home) / "picture.jpg"
                    picture.write_bytes(data)
                    deadline = began_s + LIMIT_S * (number - 0.5) / len(FaceSearch)
                    measured = await _by_turns(server, picture, predictor, detector_from(faces), workers, deadline)
                    result["pictures"][f"{name}, faces {faces.value}"] = measured
    return result


async def _by_turns(
    server: Running,
    picture: Path,
    predictor: Predictor,
    detector: FaceDetector | None,
    workers: int,
    deadline: float,
) -> dict[str, Any]:
    """The figures of one picture. No second round is begun after `deadline`."""
    url = f"http://127.0.0.1:{server.service.port}/v1/predictions"
    data = await asyncio.to_thread(picture.read_bytes)
    raw: list[float] = []
    http: list[dict[str, Any]] = []
    cpu = {"raw": 0.0, "http": 0.0}
    answered = {"raw": 0, "http": 0}
    for number in range(ROUNDS):
        if number and time.perf_counter() > deadline:
            break
        began = time.process_time()
        rate, done = await asyncio.to_thread(raw_round, data, predictor, detector, workers)
        raw.append(rate)
        answered["raw"] += done
        cpu["raw"] += time.process_time() - began
        before, began = server.metric("evenskin_predictions_total", outcome="ok"), time.process_time()
        http.append(await http_round(url, picture, CALLERS_PER_WORKER * workers))
        answered["http"] += int(server.metric("evenskin_predictions_total", outcome="ok") - before)
        cpu["http"] += time.process_time() - began
    latencies = np.concatenate([round_["latencies"] for round_ in http])
    if not len(latencies):
        raise SystemExit(f"No picture was answered in {ROUNDS * ROUND_S} s: try on a calmer machine.")
    raw_per_s, http_per_s = float(np.median(raw)), float(np.median([round_["per_s"] for round_ in http]))
    return {
        "raw_per_s": round(raw_per_s, 1),
        "http_per_s": round(http_per_s, 1),
        "ratio": round(http_per_s / raw_per_s, 3) if raw_per_s else None,
        **{f"{way}_cpu_ms": round(1000 * cpu[way] / answered[way], 2) for way in cpu},
        "p50_ms": round(float(np.percentile(latencies, 50)), 2),
        "p99_ms": round(float(np.percentile(latencies, 99)), 2),
        "requests": len(latencies),
    }


def table(result: dict[str, Any], write: Callable[[str], object]) -> None:
    """The measurements for people."""
    write(f"{result['workers']} workers, {result['callers']} callers on the same cores\n")
    columns = ("raw_per_s", "http_per_s", "ratio", "raw_cpu_ms", "http_cpu_ms", "p50_ms", "p99_ms")
    write(f"{'pictures':<28}{''.join(f'{column:>13}' for column in columns)}\n")
    for name, row in result["pictures"].items():
        write(f"{name:<28}{''.join(f'{row[column]:>13}' for column in columns)}\n")


def main() -> None:
    """Measure, or be the callers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--call", nargs=3, metavar=("URL", "PICTURE", "CALLERS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.call:
        url, picture, callers = arguments.call
        print(json.dumps(asyncio.run(call(url, Path(picture).read_bytes(), int(callers)))))
        return
    configure_logs("bench", level="WARNING")
    result = asyncio.run(measure())
    table(result, sys.stderr.write)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
