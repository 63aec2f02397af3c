"""How many faces a second the procedural provider draws, on one thread and on every core, in one run."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

from services.generator.procedural.draw import draw
from services.generator.procedural_provider import SIZE, seed_of
from services.generator.starting_set import UNBALANCED, orders

SECONDS = 6.0  # of each measurement


def rate(threads: int) -> float:
    """Faces a second at SIZE × SIZE pixels, JPEG encoding included."""
    wanted = list(orders(UNBALANCED, seed=1).values())[::7]
    for order in wanted[:2]:  # what is made once per process is not what is measured
        draw({order.condition: order.severity}, order.subject, 1, SIZE)
    ends = time.perf_counter() + SECONDS
    started = time.perf_counter()

    def work(offset: int) -> int:
        drawn = 0
        for order in cycle(wanted[offset::threads]):
            if time.perf_counter() >= ends:
                return drawn
            draw({order.condition: order.severity}, order.subject, seed_of(order.image_id) + drawn, SIZE)
            drawn += 1
        return drawn

    with ThreadPoolExecutor(threads) as pool:
        drawn = sum(pool.map(work, range(threads)))
    return drawn / (time.perf_counter() - started)


def main() -> None:
    """Print one JSON line and the same for people."""
    cores = os.cpu_count() or 1
    one, all_ = rate(1), rate(cores)
    print(json.dumps({"one_thread_per_s": one, "all_cores_per_s": all_, "cores": cores, "scaling": all_ / one}))
    print(f"{one:.1f} faces/s on one thread, {all_:.1f} on {cores}: {all_ / one:.2f} times as many")


if __name__ == "__main__":
    main()
