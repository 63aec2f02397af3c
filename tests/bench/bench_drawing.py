"""How many faces a second the procedural provider draws, in one process and on every core, in one run."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from itertools import cycle

from services.demo.starting_set import UNBALANCED, starting_orders
from services.generator.procedural_provider import ProceduralProvider
from services.generator.provider import Order

SECONDS = 6.0  # of each measurement


def rate(processes: int) -> float:
    """Faces a second at SIZE × SIZE pixels, JPEG encoding included."""
    return asyncio.run(_rate(processes))


async def _rate(processes: int) -> float:
    wanted = list(starting_orders(UNBALANCED, seed=1).values())[::3]
    provider = ProceduralProvider(processes=processes)
    # Starting a process is not what is measured.
    await asyncio.gather(*(provider.generate(order) for order in wanted[: 4 * processes]))
    started = time.perf_counter()
    drawn = 0

    async def work(mine: Iterator[Order]) -> None:
        nonlocal drawn
        for order in mine:
            if time.perf_counter() - started >= SECONDS:
                return
            await provider.generate(order)
            drawn += 1

    shared = cycle(wanted)
    await asyncio.gather(*(work(shared) for _ in range(2 * processes)))
    elapsed = time.perf_counter() - started
    await provider.close()
    return drawn / elapsed


def main() -> None:
    """Print one JSON line and the same for people."""
    cores = os.cpu_count() or 1
    one, all_ = rate(1), rate(cores)
    print(json.dumps({"one_process_per_s": one, "all_cores_per_s": all_, "cores": cores, "scaling": all_ / one}))
    print(f"{one:.1f} faces/s in one process, {all_:.1f} on {cores}: {all_ / one:.2f} times as many")


if __name__ == "__main__":
    main()
