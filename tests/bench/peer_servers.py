"""Other servers on the same pipeline: a bare aiohttp application, and mosec where it is installed.

`python -m tests.bench.peer_servers aiohttp|mosec PORT MODEL on|off WORKERS` serves `POST /inference`: a picture in, the
model's probabilities out, without any of the model-server's features.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from services.model_server.predictor import Predictor
from shared.faces import FaceDetector, FaceSearch, detector_from
from shared.preprocessing import prepare

PATH = "/inference"
MAX_BYTES = 64 * 1024 * 1024  # of a body


class Pipeline:
    """From a file's bytes to probabilities, as the model-server does it."""

    def __init__(self, predictor: Predictor, detector: FaceDetector | None) -> None:
        self._predictor, self._detector = predictor, detector

    def answer(self, data: bytes) -> dict[str, Any]:
        """The answer to one picture. Several threads may call it."""
        size = self._predictor.metadata.input_size
        pixels = prepare(data, size, self._predictor.preprocessing, detector=self._detector).pixels
        return {"probabilities": self._predictor.predict(pixels[np.newaxis]).probabilities.tolist()}


def pipeline(model: Path, faces: str) -> Pipeline:
    """The pipeline with a model, and with or without a search for faces."""
    predictor = Predictor.load(model.read_bytes())
    predictor.warm_up()
    return Pipeline(predictor, detector_from(FaceSearch(faces)))


def known() -> tuple[str, ...]:
    """The servers that are installed."""
    return ("aiohttp", "mosec") if find_spec("mosec") else ("aiohttp",)


def serve_aiohttp(port: int, model: Path, faces: str, workers: int) -> None:
    """One event loop, and the pipeline on threads."""
    work, pool = pipeline(model, faces), ThreadPoolExecutor(workers)

    async def infer(request: web.Request) -> web.Response:
        data = await request.read()
        return web.json_response(await asyncio.get_running_loop().run_in_executor(pool, work.answer, data))

    app = web.Application(client_max_size=MAX_BYTES)
    app.router.add_post(PATH, infer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


def serve_mosec(port: int, model: Path, faces: str, workers: int) -> None:
    """HTTP in Rust, and the pipeline in processes."""
    mosec: Any = import_module("mosec")

    class Inference(mosec.Worker):  # type: ignore[misc]  # of no known type: it is no dependency
        """One process."""

        def __init__(self) -> None:
            self._work = pipeline(model, faces)

        def deserialize(self, data: bytes) -> bytes:
            """The picture as it came."""
            return data

        def forward(self, data: bytes) -> dict[str, Any]:
            """One picture's answer."""
            return self._work.answer(data)

    sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    server = mosec.Server()
    server.append_worker(Inference, num=workers, start_method="fork")  # it knows no local class else
    server.run()


def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=("aiohttp", "mosec"))
    parser.add_argument("port", type=int)
    parser.add_argument("model", type=Path)
    parser.add_argument("faces", choices=[search.value for search in FaceSearch])
    parser.add_argument("workers", type=int)
    told = parser.parse_args()
    serve = {"aiohttp": serve_aiohttp, "mosec": serve_mosec}[told.server]
    serve(told.port, told.model, told.faces, told.workers)


if __name__ == "__main__":
    main()
