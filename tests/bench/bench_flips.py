"""How many pictures of 1024×1024 are flipped in a second, beside Pillow and OpenCV in the same run.

    python -m tests.bench.bench_flips [--seconds 3] [--threads 2]

Prints one line of JSON, then a table. Every figure is the best of three rounds, which the contenders take in
turn, so that other work on the machine meets all of them alike.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
from PIL import Image

from services.augmenter.flips import flip_horizontally
from services.augmenter.jpeg import Way

SIDE = 1024  # pixels
ROUNDS = 3
Flip = Callable[[bytes], object]


def photograph() -> Image.Image:
    """Something that compresses like a photograph: detail at every scale, and a sensor's noise."""
    rng = np.random.default_rng(0)
    picture = np.full((SIDE, SIDE, 3), 128.0)
    for cells in (4, 16, 64, 256):
        grain = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        smooth = grain.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture += (np.asarray(smooth) - 127.5) * 2 / cells**0.5
    picture += rng.normal(0, 2, picture.shape)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def with_pillow(kind: str, **options: int) -> Flip:
    def flip(data: bytes) -> bytes:
        out = io.BytesIO()
        with Image.open(io.BytesIO(data)) as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(out, kind, **options)
        return out.getvalue()

    return flip


def with_opencv(extension: str) -> Flip:
    def flip(data: bytes) -> object:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert image is not None
        return cv2.imencode(extension, cv2.flip(image, 1))[1]

    return flip


def per_second(flip: Flip, data: bytes, threads: int, seconds: float) -> float:
    """Flips finished per second by `threads` threads in about `seconds`."""
    end = time.perf_counter() + seconds

    def work() -> int:
        for done in itertools.count():
            if time.perf_counter() >= end:
                return done
            flip(data)
        return 0

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(future.result() for future in [pool.submit(work) for _ in range(threads)])
    return done / (time.perf_counter() - start)


def measure(threads: int, seconds: float) -> dict[str, dict[str, float]]:
    """Pictures per second: {format: {contender: figure}}."""
    cv2.setNumThreads(1)  # the threads are ours
    picture = photograph()
    figures: dict[str, dict[str, float]] = {}
    for kind, extension in (("PNG", ".png"), ("JPEG", ".jpg")):
        options = {"quality": 90} if kind == "JPEG" else {}
        out = io.BytesIO()
        picture.save(out, kind, **options)
        data = out.getvalue()
        contenders: dict[str, Flip] = {
            "evenskin": flip_horizontally,
            "Pillow": with_pillow(kind, **options),
            "OpenCV": with_opencv(extension),
        }
        if kind == "JPEG":
            contenders |= {f"evenskin by {way}": partial(flip_horizontally, jpeg_way=way) for way in list(Way)[1:]}
        if kind == "PNG":
            contenders["Pillow, level 1"] = with_pillow(kind, compress_level=1)
        best = dict.fromkeys(contenders, 0.0)
        for flip in contenders.values():
            flip(data)
        for _ in range(ROUNDS):
            for name, flip in contenders.items():
                best[name] = max(best[name], per_second(flip, data, threads, seconds / ROUNDS))
        figures[kind] = best
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="per contender and format")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    figures = measure(arguments.threads, arguments.seconds)
    print(
        json.dumps(
            {
                "benchmark": "flips",
                "threads": arguments.threads,
                "images_per_second": {
                    kind: {name: round(value, 1) for name, value in row.items()} for kind, row in figures.items()
                },
                "ratios": {
                    kind: {name: round(row["evenskin"] / value, 2) for name, value in row.items() if name != "evenskin"}
                    for kind, row in figures.items()
                },
            }
        )
    )
    print(f"\n{SIDE}×{SIDE}, {arguments.threads} threads")
    print(f"{'':28}{'pictures/s':>10}{'ours is':>11}")
    for kind, row in figures.items():
        for name, value in row.items():
            print(f"{kind + ' ' + name:28}{value:10.1f}{row['evenskin'] / value:10.2f}×")


if __name__ == "__main__":
    main()
