"""How much of the machine's raw speed the model-server gives to its callers, beside other servers, in one run.

    python -m tests.bench.bench_model_server [--rounds 3] [--seconds 1.5] [--pictures 1080x1440] [--faces off on]

The limit prepares and predicts pictures on as many threads as there are cores, without HTTP. The model-server, a bare
aiohttp application and mosec (where it is installed) serve the same pictures, model and workers, each as a process of
its own. All go on by turns, so that a noisy machine troubles them alike; a figure is the median of the rounds. The
callers (`lean_client`) are on the same cores, and their work is charged to the servers.

`ratio` is a server's rate by the limit's. `cpu_ratio` is the limit's CPU time for a picture by the server's process's
own for a request: on a busy machine it says more. `p99_ratio` is the slowest hundredth's latency by what ideal queueing
gives, callers by the limit's rate. `goodput` is the rate with so many callers, most of whom are refused and ask again
at once, by the server's own rate at 32. Prints a table to standard error and JSON to standard output. About a minute
without mosec.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil

from services.model_server.predictor import Predictor
from shared.cores import usable_cores
from shared.embedded.blobs import DirectoryBlobs
from shared.faces import FaceDetector, FaceSearch, detector_from
from shared.preprocessing import NEWEST, prepare
from tests.bench.bench_pictures import PICTURES, photograph
from tests.bench.mobilenet import served_mobilenet
from tests.bench.peer_servers import PATH, known
from tests.servers.process import free_port
from tests.unit.model_server.tiny_model import metadata, put_model

SIZE = 224  # pixels of the model's input
CALLERS = (8, 32)
OVERLOADS = (128, 512)  # callers: 4 and 16 times as many as are taken
OVERLOAD_ROUNDS = 3  # times as long a round: it begins with hundreds of callers that connect, and a burst of refusals
START_S = 60.0  # seconds that a server may take to answer
OWN = "evenskin"
LIMIT = "limit"


def model() -> bytes:
    """The model that is served, and predicts without HTTP."""
    told = metadata("v1", input_size=SIZE, preprocessing=NEWEST.described(SIZE))
    return served_mobilenet(told.model_dump_json(), SIZE, len(told.conditions))


@dataclass
class Round:
    """One server's figures of one round: answers and refusals a second, milliseconds of CPU for one, latencies."""

    per_s: float
    cpu_ms: float
    refused_per_s: float = 0.0
    latencies: list[float] = field(default_factory=list)


def limit_round(
    picture: bytes, predictor: Predictor, detector: FaceDetector | None, workers: int, seconds: float
) -> Round:
    """Prepare and predict on threads, without HTTP."""
    began, cpu = time.perf_counter(), time.process_time()

    def work() -> int:
        done = 0
        while time.perf_counter() < began + seconds:
            predictor.predict(prepare(picture, SIZE, detector=detector).pixels[np.newaxis])
            done += 1
        return done

    with ThreadPoolExecutor(workers) as pool:
        done = sum(future.result() for future in [pool.submit(work) for _ in range(workers)])
    return Round(done / (time.perf_counter() - began), 1000 * (time.process_time() - cpu) / done)


@dataclass(frozen=True)
class Server:
    """A server in processes of its own."""

    name: str
    port: int
    path: str
    process: asyncio.subprocess.Process

    def cpu_s(self) -> float:
        """Seconds of CPU that it has used, its children's too."""
        own = psutil.Process(self.process.pid)
        times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
        return sum(used.user + used.system for used in times)

    async def round(self, picture: Path, callers: int, seconds: float) -> Round:
        """Let callers ask."""
        cpu = self.cpu_s()
        host = f"127.0.0.1:{self.port}"
        arguments = ("-m", "tests.bench.lean_client", host, self.path, str(picture), str(callers), str(seconds))
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        if process.returncode:
            raise SystemExit(f"The callers of {self.name} failed.")
        told = json.loads(output)
        answered = max(1, told["answered"])
        return Round(
            len(told["latencies"]) / seconds,
            1000 * (self.cpu_s() - cpu) / answered,
            (told["refused"] + told["broken"]) / seconds,
            told["latencies"],
        )


@contextlib.asynccontextmanager
async def started(
    name: str, arguments: list[str], port: int, path: str, ready: str, environment: dict[str, str]
) -> AsyncIterator[Server]:
    """Start a server, and end it on the way out."""
    environment = {**os.environ, "EVENSKIN_LOG_LEVEL": "INFO", **environment}
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment, stdout=log, stderr=log
        )
        try:
            await _answers(f"http://127.0.0.1:{port}{ready}", process)
            yield Server(name, port, path, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _answers(url: str, process: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + START_S
    async with aiohttp.ClientSession() as client:
        while process.returncode is None and time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(url) as response:
                    if response.status < 500:
                        return
            await asyncio.sleep(0.05)
    raise SystemExit(f"Nothing answers at {url}.")


@contextlib.asynccontextmanager
async def servers(home: Path, faces: FaceSearch, workers: int) -> AsyncIterator[list[Server]]:
    """The model-server and its peers, started. Their ports are free ones."""
    async with contextlib.AsyncExitStack() as stack:
        port = free_port()
        environment = {
            "EVENSKIN_HOME": str(home),
            "EVENSKIN_PORT": str(port),
            "EVENSKIN_FACES": faces.value,
            "EVENSKIN_PREDICT_WORKERS": str(workers),
        }
        own = started(OWN, ["-m", "services.model_server"], port, "/v1/predictions", "/readyz", environment)
        running = [await stack.enter_async_context(own)]
        for peer in known():
            port = free_port()
            told = [peer, str(port), str(home / "model.onnx"), faces.value, str(workers)]
            served = started(peer, ["-m", "tests.bench.peer_servers", *told], port, PATH, "/", {})
            running.append(await stack.enter_async_context(served))
        yield running


async def measure(sets: list[str], searches: list[FaceSearch], rounds: int, seconds: float) -> dict[str, Any]:
    """Serve, and measure all ways by turns."""
    workers = usable_cores()
    result: dict[str, Any] = {"workers": workers, "rounds": rounds, "seconds": seconds, "pictures": {}}
    predictor = Predictor.load(model())
    predictor.warm_up()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        (home / "model.onnx").write_bytes(model())
        await put_model(DirectoryBlobs(home / "store"), "v1", model())
        for faces in searches:
            detector = detector_from(faces)
            async with servers(home, faces, workers) as running:
                for name in sets:
                    picture = home / "picture.jpg"
                    picture.write_bytes(photograph(*PICTURES[name]))
                    key = f"{name}, faces {faces.value}"
                    result["pictures"][key] = await _by_turns(
                        running, picture, predictor, detector, workers, rounds, seconds
                    )
    return result


async def _by_turns(
    running: list[Server],
    picture: Path,
    predictor: Predictor,
    detector: FaceDetector | None,
    workers: int,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """The figures of one picture."""
    data = await asyncio.to_thread(picture.read_bytes)
    found: dict[str, list[Round]] = {}
    for _ in range(rounds):
        limit = await asyncio.to_thread(limit_round, data, predictor, detector, workers, seconds)
        found.setdefault(LIMIT, []).append(limit)
        for callers in CALLERS:
            for server in running:
                found.setdefault(f"{server.name} {callers}", []).append(await server.round(picture, callers, seconds))
        for callers in OVERLOADS:
            key = f"{OWN} {callers}"
            found.setdefault(key, []).append(await running[0].round(picture, callers, OVERLOAD_ROUNDS * seconds))
    return {way: _figures(way, of, found) for way, of in found.items()}


def _figures(way: str, of: list[Round], found: dict[str, list[Round]]) -> dict[str, Any]:
    """The medians of a way's rounds, each beside the same round's limit."""
    limits = found[LIMIT]
    told: dict[str, Any] = {
        "per_s": round(statistics.median(one.per_s for one in of), 1),
        "cpu_ms": round(statistics.median(one.cpu_ms for one in of), 2),
    }
    if way == LIMIT:
        return told
    callers = int(way.split()[-1])
    if callers in OVERLOADS:
        peak = found[f"{OWN} {CALLERS[-1]}"]
        goodput = statistics.median(one.per_s / peer.per_s for one, peer in zip(of, peak, strict=True))
        refused = statistics.median(one.refused_per_s for one in of)
        return {**told, "goodput": round(goodput, 3), "refused_per_s": round(refused, 1)}
    pairs = list(zip(of, limits, strict=True))
    latencies = [float(np.percentile(one.latencies, 99)) * limit.per_s / callers for one, limit in pairs]
    return {
        **told,
        "ratio": round(statistics.median(one.per_s / limit.per_s for one, limit in pairs), 3),
        "cpu_ratio": round(statistics.median(limit.cpu_ms / one.cpu_ms for one, limit in pairs), 3),
        "p99_ms": round(1000 * statistics.median(float(np.percentile(one.latencies, 99)) for one in of), 1),
        "p99_ratio": round(statistics.median(latencies), 2),
    }


def table(result: dict[str, Any], write: Callable[[str], object]) -> None:
    """The measurements for people."""
    columns = ("per_s", "cpu_ms", "ratio", "cpu_ratio", "p99_ms", "p99_ratio", "goodput", "refused_per_s")
    write(f"{result['workers']} workers; callers on the same cores\n")
    for name, ways in result["pictures"].items():
        write(f"\n{name:<28}{''.join(f'{column:>14}' for column in columns)}\n")
        for way, row in ways.items():
            cells = (row.get(column, "") for column in columns)
            write(f"{way:<28}{''.join(f'{cell:>14}' for cell in cells)}\n")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round")
    parser.add_argument("--pictures", nargs="+", choices=list(PICTURES), default=[next(iter(PICTURES))])
    parser.add_argument("--faces", nargs="+", type=FaceSearch, choices=list(FaceSearch), default=list(FaceSearch))
    told = parser.parse_args()
    result = asyncio.run(measure(told.pictures, told.faces, told.rounds, told.seconds))
    table(result, sys.stderr.write)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
