"""A large campaign: how much memory it takes, how long the event loop is held at most, what a pause leaves.

    python -m tests.bench.bench_large_campaign [--slots 20000]

labeler-api alone, in a process of its own on the embedded adapters: whoever is asked for an image says that there is
none, so that what is measured is planning, asking in portions and counting. Memory is what the process's peak grew by
once the service had started. The event loop is looked at every 5 ms: told is the most CPU time that its thread took
between two looks, which other programs on the machine hardly change, and the longest delay on the clock, which they do;
a full garbage collection is in both. After a tenth of the slots the campaign is paused, and resumed once everything is
answered: the requests that still came are counted. Prints JSON, then a table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp

from services.labeler_api.app import build
from services.labeler_api.settings import LabelerSettings
from shared.bus import Subscription
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.events import FailureReason, ImageFailed, ImageRequested, RebalanceRequested
from shared.logs import configure_logs
from shared.message import Message
from shared.service import keep_what_is_loaded
from shared.taxonomy import Condition
from tests.eventually import eventually

TICK_S = 0.005  # seconds between two looks at the event loop
LOOK_S = 0.2  # seconds between two looks at the campaign
WITHIN_S = 3600.0  # a campaign that takes longer has failed
QUIET_S = 2.0  # seconds without a request after which a paused campaign is taken for quiet


@dataclass
class Holds:
    """The longest that the event loop was held: seconds of CPU, and on the clock."""

    cpu_s: float = 0.0
    clock_s: float = 0.0

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watch the loop."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()

    async def _watch(self) -> None:
        while True:
            cpu, clock = time.thread_time(), time.perf_counter()
            await asyncio.sleep(TICK_S)
            self.cpu_s = max(self.cpu_s, time.thread_time() - cpu)
            self.clock_s = max(self.clock_s, time.perf_counter() - clock - TICK_S)


class Refusing:
    """Stands in for the generator: makes no image, whoever asks."""

    def __init__(self, bus: InProcessBus) -> None:
        self.requests = 0
        self._bus = bus

    def subscription(self) -> Subscription:
        """On ImageRequested."""
        return Subscription("generator", ImageRequested, self._refuse, prefetch=50)

    async def quiet(self) -> None:
        """Wait until no request has come for a while."""
        seen = -1
        while seen != self.requests:
            seen = self.requests
            await asyncio.sleep(QUIET_S)

    async def _refuse(self, message: Message) -> None:
        request = message.event
        assert isinstance(request, ImageRequested)
        self.requests += 1
        fields = request.model_dump(include={"campaign_id", "slot_id", "attempt", "image_id"})
        failed = ImageFailed(**fields, reason=FailureReason.PROVIDER_ERROR, detail="none is made here")
        await self._bus.publish(message.caused(failed, source="generator"))


def peak_mib() -> float:
    """The most memory that this process has held, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


async def measure(home: Path, slots: int) -> dict[str, float]:
    """One campaign from its start to its end."""
    configure_logs("bench", level="ERROR")
    bus = InProcessBus()
    await bus.start()
    settings = LabelerSettings.load(_env_file=None, home=home, port=0, database_url=None, max_slots=slots, faces="off")
    service = build(settings, bus=bus, blobs=DirectoryBlobs(home / "store"))
    generator, holds = Refusing(bus), Holds()
    await service.start()
    keep_what_is_loaded()  # as the service's own process does
    await bus.subscribe(generator.subscription())
    share, more = divmod(slots, len(Condition))
    targets = {condition.value: share + (number < more) for number, condition in enumerate(Condition)}
    request = RebalanceRequested(targets=targets, campaign_id=uuid4(), max_attempts=1)
    campaign = f"http://127.0.0.1:{service.port}/v1/rebalances/{request.campaign_id}"
    before = peak_mib()
    try:
        async with holds.watched(), aiohttp.ClientSession(raise_for_status=True) as session:
            began = time.perf_counter()
            body = request.model_dump(mode="json", exclude_none=True)
            async with session.post(campaign.rpartition("/")[0], json=body):
                started_s = time.perf_counter() - began
            await eventually(lambda: generator.requests >= slots / 10, within_s=WITHIN_S, every_s=LOOK_S)
            at_pause = generator.requests
            async with session.post(f"{campaign}/pause"):
                await generator.quiet()
            after_pause = generator.requests - at_pause

            async def ended() -> bool:
                async with session.get(campaign) as answer:
                    return bool((await answer.json())["state"] == "exhausted")

            async with session.post(f"{campaign}/resume"):
                await eventually(ended, within_s=WITHIN_S, every_s=LOOK_S)
            seconds = time.perf_counter() - began
    finally:
        await bus.drain(5.0)
        await service.stop()
        await bus.close()
    assert generator.requests == slots
    return {
        "slots": slots,
        "start_s": round(started_s, 3),
        "whole_s": round(seconds, 1),
        "memory_mib": round(peak_mib() - before, 1),
        "loop_held_cpu_ms": round(holds.cpu_s * 1e3, 1),
        "loop_held_clock_ms": round(holds.clock_s * 1e3, 1),
        "requests_after_pause": after_pause,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evenskin-bench-") as place:
        figures = asyncio.run(measure(Path(place), arguments.slots))
    print(json.dumps({"benchmark": "large_campaign", **figures}))
    print(f"{arguments.slots} slots: started in {figures['start_s']:.2f} s, ended in {figures['whole_s']:.0f} s")
    print(f"memory: {figures['memory_mib']:.0f} MiB more than at rest")
    held = (figures["loop_held_cpu_ms"], figures["loop_held_clock_ms"])
    print(f"event loop held at most: {held[0]:.0f} ms of CPU, {held[1]:.0f} ms on the clock")
    print(f"requests after a pause: {figures['requests_after_pause']:.0f}")


if __name__ == "__main__":
    main()
