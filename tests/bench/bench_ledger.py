"""How many events a second the ledger sustains on PostgreSQL, and what 100 times as many images change about it.

    python -m tests.bench.bench_ledger [--images 300] [--rounds 5] [--large 100000]

A labeler-api as it is deployed, on a private PostgreSQL that commits to disk, with its relay and closer; bus and store
are in memory. Of every image the ledger handles two events, ImageGenerated and ImageAugmented, and sends one,
ImageLabeled. One ledger holds 1,000 images already, another 100,000; they take turns. In these rounds the gate has
looked at the pictures beforehand; in further ones, on the smaller ledger, it looks at each as it comes, in threads of
the same process, as it is deployed: pictures of 256x256, the smallest that it takes. They are noise, in which no face
is looked for; what that costs is told beside it, of drawn faces as they are generated. Every figure is the median of
the rounds. Prints JSON, then a table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from services.generator.procedural import draw
from services.labeler_api.app import PREFETCH, build
from services.labeler_api.ledger.database import Database
from services.labeler_api.pictures import gate
from services.labeler_api.settings import LabelerSettings
from shared.bus import Subscription
from shared.embedded.bus import InProcessBus
from shared.events import ImageRequested, RebalanceRequested, Subject
from shared.faces import FaceDetector
from shared.logs import configure_logs
from shared.message import Message
from shared.taxonomy import MONK_TONES, AgeBand, Condition, Light, Severity, Sex, View
from tests.bench.filled_ledger import fill
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.pictures import png
from tests.fakes.workers import FakeAugmenter, FakeGenerator
from tests.servers import postgres

SMALL = 1_000
MARK = slice(1000, 1064)  # bytes of a picture that no other one has there: all of it is noise
WARM_UP = 100  # images of each ledger before the first round: connections, plans and caches
ROUND_S = 120.0  # a round that takes longer has failed


class Ledger:
    """A running labeler-api, whose requests for images are collected and answered when we say so."""

    def __init__(self, home: Path, url: str, pictures: list[bytes]) -> None:
        settings = LabelerSettings.load(
            _env_file=None, home=home, port=0, database_url=url, log_level="WARNING", drain_s=5.0, faces="off"
        )
        self.bus = InProcessBus()
        self._blobs = MemoryBlobs()
        self.service = build(settings, bus=self.bus, blobs=self._blobs)
        self._generator = FakeGenerator(self.bus, self._blobs)
        self._pictures = iter(pictures)
        self._requests: list[Message] = []
        self._answered = 0

    async def start(self) -> None:
        """Start the service and what is around it."""
        await self.bus.start()
        await self.service.start()
        await FakeAugmenter(self.bus).start()
        await self.bus.subscribe(Subscription("generator", ImageRequested, self._collect))

    async def _collect(self, message: Message) -> None:
        self._requests.append(message)

    async def ask(self, target: int, slots: int) -> None:
        """Start a campaign of so many slots, and one more, so that it does not end under the clock."""
        request = RebalanceRequested(targets={"acne": target + slots + 1}, campaign_id=uuid4())
        await self.bus.publish(Message(request, "bench"))
        await self._until(lambda: len(self._requests) == slots + 1)

    async def round(self, images: int) -> tuple[float, float]:
        """Answer so many requests; seconds and CPU seconds of one event until the ledger has counted them all."""
        answers = []
        for message in (self._requests.pop() for _ in range(images)):
            request = message.event
            assert isinstance(request, ImageRequested)
            event = await self._generator.made(request, next(self._pictures))
            answers.append(message.caused(event, source="generator"))
        self._answered += images
        wall, cpu = time.perf_counter(), time.process_time()
        for answer in answers:
            await self.bus.publish(answer)
        await self._until(lambda: self._handled("ImageAugmented") == self._answered)
        return (time.perf_counter() - wall) / (2 * images), (time.process_time() - cpu) / (2 * images)

    def _handled(self, event: str) -> int:
        labels = {"event": event, "outcome": "done"}
        return int(self.service.registry.get_sample_value("evenskin_events_handled_total", labels) or 0)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(ROUND_S):
            while not condition():  # noqa: ASYNC110 - the service's own counter
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End everything."""
        await self.bus.drain(5.0)
        await self.service.stop()
        await self.bus.close()


async def new_database(server_url: str) -> str:
    """URL of an empty database."""
    name = f"bench_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(server_url)
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
    parts = urlsplit(server_url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))


@contextlib.contextmanager
def known_reports(reports: dict[bytes, gate.GateReport]) -> Iterator[None]:
    """The gate returns ready-made reports, looked up by the pictures' marks."""
    with mock.patch.object(gate, "examine", lambda data, *_: reports[data[MARK]]):
        yield


def gate_ms(pictures: list[bytes], detector: FaceDetector | None = None) -> float:
    """CPU milliseconds that the gate takes for a picture, the median."""
    taken = []
    for picture in pictures:
        began = time.process_time()
        gate.examine(picture, detector)
        taken.append(1000 * (time.process_time() - began))
    return round(statistics.median(taken), 3)


def drawn_faces() -> list[bytes]:
    """Faces of every tone, as the procedural provider draws them."""
    lights = itertools.cycle(Light)
    subjects = [
        Subject(skin_tone=tone, age_band=AgeBand.ADULT, sex=sex, light=next(lights), view=View.FRONTAL)
        for tone in MONK_TONES
        for sex in Sex
    ]
    return [draw({Condition.ACNE: Severity.MODERATE}, subject, seed) for seed, subject in enumerate(subjects)]


async def measure(server_url: str, home: Path, *, large: int, images: int, rounds: int) -> dict[str, object]:
    """Both ledgers by turns, then the smaller one with the gate at work."""
    configure_logs("bench", level="WARNING")
    per_ledger = WARM_UP + images * rounds * 2
    pictures, faces = [png(seed) for seed in range(per_ledger)], drawn_faces()
    began = time.process_time()
    reports = {picture[MARK]: gate.examine(picture) for picture in pictures}
    gate_s = (time.process_time() - began) / len(pictures)
    ledgers: dict[int, Ledger] = {}
    for size in (SMALL, large):
        url = await new_database(server_url)
        database = Database(url)
        await database.migrate()
        await database.close()
        shown = await fill(url, size, [report.look.hash for report in reports.values() if report.look is not None])
        ledgers[size] = ledger = Ledger(home / str(size), url, pictures)
        await ledger.start()
        await ledger.ask(next(iter(shown.values())), per_ledger)
        await ledger.round(WARM_UP)
    costs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with known_reports(reports):
        for number in range(rounds):
            for size in sorted(ledgers, reverse=number % 2 == 1):
                costs[f"{size:,}"].append(await ledgers[size].round(images))
    for _ in range(rounds):
        costs[f"{SMALL:,}, gate at work"].append(await ledgers[SMALL].round(images))
    for ledger in ledgers.values():
        await ledger.stop()
    rows = {
        name: {
            "events_per_s": round(1 / statistics.median(wall for wall, _ in taken)),
            "ms_per_event": round(1000 * statistics.median(wall for wall, _ in taken), 3),
            "cpu_ms_per_event": round(1000 * statistics.median(cpu for _, cpu in taken), 3),
        }
        for name, taken in costs.items()
    }
    ratios = [more[0] / less[0] for less, more in zip(costs[f"{SMALL:,}"], costs[f"{large:,}"], strict=True)]
    return {
        "ledgers": rows,
        "cost_ratio": round(statistics.median(ratios), 2),
        "gate_cpu_ms_per_image": round(1000 * gate_s, 3),
        "gate_cpu_ms_per_drawn_face": {
            "faces off": gate_ms(faces),
            "faces on": gate_ms(faces, FaceDetector.load()),
        },
        "concurrency": PREFETCH,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300, help="of one round; two events each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=100_000, help="images in the larger ledger")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evenskin-bench-") as place:
        directory = Path(place)
        directory.chmod(0o755)  # readable for the user that PostgreSQL runs as
        (directory / "postgres").mkdir()
        server = postgres.start(directory / "postgres", durable=True)
        try:
            figures = asyncio.run(
                measure(
                    server.facts["url"],
                    directory,
                    large=arguments.large,
                    images=arguments.images,
                    rounds=arguments.rounds,
                )
            )
        finally:
            server.stop()
    print(json.dumps({"benchmark": "ledger", **figures}))
    print(f"{'images there':>20} {'events/s':>9} {'ms/event':>9} {'CPU ms':>7}")
    rows = figures["ledgers"]
    assert isinstance(rows, dict)
    for name, row in rows.items():
        print(f"{name:>20} {row['events_per_s']:9} {row['ms_per_event']:9.2f} {row['cpu_ms_per_event']:7.2f}")
    print(f"an event costs {figures['cost_ratio']:.2f} times as much at {arguments.large:,} images as at {SMALL:,}")


if __name__ == "__main__":
    main()
