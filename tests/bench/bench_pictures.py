"""How many JPEGs a second go from their bytes to a prediction, without HTTP: decoded whole, as small as is needed, and
with the face found and framed.

    python -m tests.bench.bench_pictures [--seconds 1.5] [--threads 2]

All ways take the same code, and each other's turn, so that other work on the machine meets both alike; a figure is the
best of the rounds. On a busy machine the CPU time of one picture, `cpu_ms`, says more than the rates. `difference` is
that of the two squares which the model sees, on average, of 255; a frame on the face is another square, and has none.
Prints a table to standard error and JSON to standard
output. About 20 seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.imaging import decode
from shared.inference_session import inference_session
from shared.preprocessing import Preprocessing, prepare
from tests.bench.mobilenet import mobilenet
from tests.unit.model_server.pictures import encoded
from tests.unit.shared.middle_square import square
from tests.unit.shared.portraits import detector, drawn

SIZE = 224  # pixels of the model's input
ROUNDS = 3
# Width, height, and the standard deviation of a sensor's noise in levels of 255, by which the files have the bytes that
# phones write: 0.4 MB as messengers send it, 2 MB as a front camera does.
PICTURES = {"1080x1440": (1080, 1440, 5.6), "12 megapixels": (3000, 4000, 3.6)}
QUALITY = 90  # of 100

Pixels = npt.NDArray[np.uint8]
WAYS: dict[str, Callable[[bytes], Pixels]] = {
    "whole": lambda data: square(decode(data).image, SIZE),
    "scaled": lambda data: prepare(data, SIZE, Preprocessing.MIDDLE_3).pixels,
    "framed": lambda data: prepare(data, SIZE, detector=detector()).pixels,
}
"""From a file's bytes to the square that the model sees; the first one is what the others are compared with."""
OF_THE_SAME_SQUARE = ("scaled",)


def photograph(width: int, height: int, noise: float) -> bytes:
    """A drawn face before something that compresses like a photograph: detail at every scale, and a sensor's noise."""
    random = np.random.default_rng(0)
    picture = np.full((height, width, 3), 128.0, np.float32)
    for cells in (4, 16, 64, 256):
        grain = Image.fromarray(random.integers(0, 256, (cells, cells, 3), np.uint8))
        smooth = grain.resize((width, height), Image.Resampling.BICUBIC)
        picture += (np.asarray(smooth) - np.float32(127.5)) * 2 / cells**0.5
    face = drawn().resize((width * 3 // 4,) * 2, Image.Resampling.BICUBIC)
    left, top = (width - face.width) // 2, (height - face.height) // 2
    picture[top : top + face.height, left : left + face.width] = np.asarray(face, np.float32)
    picture += random.normal(0, noise, picture.shape).astype(np.float32)
    exif = Image.Exif()
    exif[0x0112] = 1  # as phones write it: no other way up is looked at
    return encoded(Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)), quality=QUALITY, exif=exif)


def per_second(work: Callable[[], object], threads: int, seconds: float) -> tuple[float, float]:
    """How often some work is done in a second by so many threads, and how many milliseconds of CPU it takes once."""
    began, cpu_began = time.perf_counter(), time.process_time()

    def repeat() -> int:
        done = 0
        while time.perf_counter() < began + seconds:
            work()
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(future.result() for future in [pool.submit(repeat) for _ in range(threads)])
    return done / (time.perf_counter() - began), 1000 * (time.process_time() - cpu_began) / done


def measure(seconds: float, threads: int) -> dict[str, Any]:
    """Every way on every picture, by turns."""
    session = inference_session(mobilenet(SIZE))
    result: dict[str, Any] = {"threads": threads, "input_size": SIZE, "pictures": {}}
    for name, (width, height, noise) in PICTURES.items():
        data = photograph(width, height, noise)
        seen = {way: look(data) for way, look in WAYS.items()}
        best, cpu = dict.fromkeys(WAYS, 0.0), dict.fromkeys(WAYS, math.inf)
        for _ in range(ROUNDS):
            for way, look in WAYS.items():

                def answer(look: Callable[[bytes], Pixels] = look, data: bytes = data) -> object:
                    return session.run(None, {"image": look(data)[np.newaxis]})

                rate, milliseconds = per_second(answer, threads, seconds)
                best[way], cpu[way] = max(best[way], rate), min(cpu[way], milliseconds)
        first, *others = WAYS
        result["pictures"][name] = {
            "bytes": len(data),
            **{f"{way}_per_s": round(rate, 2) for way, rate in best.items()},
            **{f"{way}_cpu_ms": round(milliseconds, 2) for way, milliseconds in cpu.items()},
            **{f"{way}_ratio": round(best[way] / best[first], 3) for way in others},
            **{
                f"{way}_difference": round(float(np.abs(seen[way].astype(int) - seen[first]).mean()), 3)
                for way in OF_THE_SAME_SQUARE
            },
        }
    return result


def table(result: dict[str, Any], write: Callable[[str], object]) -> None:
    """The measurements for people."""
    columns = [column for column in next(iter(result["pictures"].values())) if column != "bytes"]
    write(f"{result['threads']} threads, input of {result['input_size']} pixels\n")
    write(f"{'picture':<16}{'bytes':>10}{''.join(f'{column:>18}' for column in columns)}\n")
    for name, row in result["pictures"].items():
        write(f"{name:<16}{row['bytes']:>10}{''.join(f'{row[column]:>18}' for column in columns)}\n")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each round")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    result = measure(arguments.seconds, arguments.threads)
    table(result, sys.stderr.write)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
