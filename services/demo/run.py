"""`evenskin demo`: runs the whole loop in one process, on an unbalanced dataset that is drawn for it.

The services themselves import, rebalance, review, flip, train, promote and predict. Each step is safe to repeat,
so an interrupted demo goes on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.markup import escape

from services.console.all_in_one import RunningServices, all_in_one
from services.console.client import LabelerClient, ModelClient
from services.console.commands.campaigns import watch
from services.console.commands.export import write_export
from services.console.commands.importing import upload_folder
from services.console.connection import quiet_logs
from services.console.import_folder import read_folder
from services.console.output import print_json, progress, results
from services.console.progress import progress_bars
from services.console.tables import plan_table, prediction_table
from services.demo.assemble import TrainedCampaign, assemble, sample_faces
from services.demo.memory import MemoryMeter
from services.demo.notes import Notes
from services.demo.report.document import Report
from services.demo.report.render import render
from services.demo.starting_set import REBALANCED, TARGET, UNBALANCED, draw_starting_set
from services.demo.tables import comparison_table
from services.generator.procedural_provider import ProceduralProvider
from services.generator.provider import Order
from shared.documents.balance import Balance
from shared.documents.predictions import Prediction
from shared.documents.rebalances import PlanDocument
from shared.errors import EvenskinError, InvalidRequest, TrainingFailed
from shared.events import RebalanceRequested, Subject
from shared.message import Message
from shared.settings import Settings
from shared.taxonomy import AgeBand, Condition, Light, Severity, Sex, View, derived_id

SEED = 7
PROBE_S = 0.5  # seconds between the requests that watch the swap
TRUTH = {Condition.REDNESS: Severity.SEVERE}  # what the picture shows that is posted at the end


@dataclass
class Demo:
    """One run. `scale`: share of the full dataset and target, for a quick look; 1 is the whole demo."""

    home: Path
    scale: float
    notes: Notes
    probes: dict[str, int] = field(default_factory=lambda: {"sent": 0, "failed": 0})

    @property
    def counts(self) -> dict[Condition, int]:
        """Originals to start with; never so few that a fold would be empty."""
        return {condition: max(12, round(n * self.scale)) for condition, n in UNBALANCED.items()}

    @property
    def target(self) -> int:
        """The rebalance's target per condition."""
        return max(max(self.counts.values()), round(TARGET * self.scale))

    def request(self, name: str, **fields: Any) -> RebalanceRequested:
        """A rebalance whose id follows from the demo's: publishing it again changes nothing."""
        return RebalanceRequested(campaign_id=derived_id("demo", self.notes.identity, name), **fields)


def run(home: Path, *, json_output: bool, scale: float = 1.0) -> int:
    """Run the demo under `home`, or go on with it. Returns the exit status."""
    if not 0 < scale <= 1:
        raise InvalidRequest(f"The scale is {scale}.", advice="Use a number above 0 and up to 1.")
    quiet_logs(Settings.load())
    return asyncio.run(_run(home, scale, json_output))


async def _run(home: Path, scale: float, json_output: bool) -> int:
    meter = MemoryMeter()
    measuring = asyncio.create_task(meter.run(), name="measure memory")
    try:
        return await _run_loop(home, scale, json_output, meter)
    finally:
        measuring.cancel()
        await asyncio.gather(measuring, return_exceptions=True)


async def _run_loop(home: Path, scale: float, json_output: bool, meter: MemoryMeter) -> int:
    demo = Demo(home, scale, Notes.open(home, scale))
    console = progress()
    console.print(f"The whole loop in one process, under {escape(str(home))}. Ctrl-C stops it; again goes on.")
    with demo.notes.timed("draw"):
        await _draw_starting_set(demo)
    # Real pace and price are the plan's; the drawing itself is as quick as this machine.
    async with (
        all_in_one(home) as running,
        LabelerClient(str(running.labeler_url)) as labeler,
        ModelClient(str(running.model_url)) as model_server,
    ):
        await _import_starting_set(demo, labeler)
        before = await _train_before(demo, running, labeler, model_server)
        balance_before = await _show_plan(demo, labeler)
        after = await _rebalance(demo, running, labeler, model_server)
        prediction, picture = await _predict(demo, model_server)
        await _export(demo, labeler)
        balance = await labeler.balance()
    faces = await asyncio.to_thread(sample_faces, home / "dataset")
    demo.notes.set("peak_memory_mb", max(meter.peak_mb, demo.notes.get("peak_memory_mb", 0.0)))
    report = assemble(
        plan=_noted_plan(demo),
        balance_before=balance_before,
        balance_after=balance,
        before=before,
        after=after,
        prediction={
            **prediction.json_object(),
            "truth": {c.value: s.label for c, s in TRUTH.items()},
            "source": "prediction.jpg",
        },
        seconds=demo.notes.seconds,
        peak_memory_mb=demo.notes.get("peak_memory_mb"),
        swap=demo.notes.get("swap") or demo.probes,
        versions=_versions(),
        seed=SEED,
        scale=scale,
    )
    _write_report(home, report, faces, picture)
    _print_summary(report, prediction, home, json_output=json_output)
    return 0


async def _draw_starting_set(demo: Demo) -> None:
    with progress_bars() as bars:
        task = bars.add_task("drawing faces", total=sum(demo.counts.values()), note="to start from")
        await draw_starting_set(
            demo.counts,
            demo.home / "starting",
            seed=SEED,
            processes=os.cpu_count() or 1,
            on_drawn=lambda: bars.advance(task),
        )


async def _import_starting_set(demo: Demo, labeler: LabelerClient) -> None:
    """Import what was drawn as any user's folder, and wait for its flips."""
    if not demo.notes.get("imported"):
        with demo.notes.timed("import"):
            folder = await asyncio.to_thread(read_folder, demo.home / "starting")
            outcome = await upload_folder(labeler, folder)
            if outcome.refused:
                raise InvalidRequest(f"{len(outcome.refused)} drawn pictures were refused: {outcome.refused[0]}.")
        demo.notes.set("imported", outcome.new + outcome.already_there)
    with demo.notes.timed("flip"), progress_bars() as bars:
        task = bars.add_task("flipping", total=demo.notes.get("imported"), note="")
        while unaugmented := (await labeler.balance()).unaugmented:
            bars.update(task, completed=demo.notes.get("imported") - unaugmented)
            await asyncio.sleep(0.1)


async def _train_before(
    demo: Demo, running: RunningServices, labeler: LabelerClient, model_server: ModelClient
) -> TrainedCampaign:
    """A rebalance to target 0 lacks nothing, so it trains on what there is."""
    with demo.notes.timed("train_before"):
        campaign = await _run_campaign(running, labeler, demo.request("before", target_per_condition=0))
    await _until_served(model_server, campaign.model.version)
    return campaign


async def _run_campaign(
    running: RunningServices, labeler: LabelerClient, request: RebalanceRequested
) -> TrainedCampaign:
    """Publish a rebalance as any operator would, and watch it until its model is there."""
    await running.bus.publish(Message(request, source="operator"))
    while True:
        try:
            campaign = await labeler.campaign(str(request.campaign_id))
            break
        except EvenskinError as error:
            if error.status != 404:
                raise
            await asyncio.sleep(0.05)  # published, not handled yet
    campaign = await watch(labeler, campaign)
    if campaign.model is None:
        raise TrainingFailed(f"The rebalance ended as {campaign.state}: {campaign.reason}.")
    return TrainedCampaign(**dict(campaign))


async def _until_served(model_server: ModelClient, wanted: str) -> None:
    """Wait until the model-server answers with this model, or ten seconds: a later one may be live already."""
    for _ in range(200):
        with contextlib.suppress(EvenskinError):
            if await model_server.served_version() == wanted:
                return
        await asyncio.sleep(0.05)


async def _show_plan(demo: Demo, labeler: LabelerClient) -> Balance:
    """Show the plan before anything is generated. Returns the balance it was made on."""
    if not demo.notes.get("plan"):
        balance = await labeler.balance()
        plan = await labeler.plan(
            target_per_condition=demo.target, conditions=tuple(condition.value for condition in REBALANCED)
        )
        demo.notes.set("balance_before", balance.json_object())
        demo.notes.set("plan", plan.json_object())
    console = progress()
    console.print(plan_table(_noted_plan(demo)))
    console.print("The procedural provider draws them here, for nothing and as fast as this machine can.", style="dim")
    return Balance.model_validate(demo.notes.get("balance_before"))


def _noted_plan(demo: Demo) -> PlanDocument:
    return PlanDocument.model_validate(demo.notes.get("plan"))


async def _rebalance(
    demo: Demo, running: RunningServices, labeler: LabelerClient, model_server: ModelClient
) -> TrainedCampaign:
    """Run the rebalance while requests keep asking the model-server, so that a dropped one would show."""
    request = demo.request(
        "after",
        target_per_condition=demo.target,
        conditions=tuple(condition.value for condition in REBALANCED),
    )
    with demo.notes.timed("rebalance_and_train_after"):
        async with _probing(demo, model_server):
            campaign = await _run_campaign(running, labeler, request)
            if campaign.model.promoted:
                await _until_served(model_server, campaign.model.version)
    if demo.probes["sent"] and not demo.notes.get("swap"):
        demo.notes.set("swap", dict(demo.probes))
    _split_times(demo, campaign)
    return campaign


def _split_times(demo: Demo, campaign: TrainedCampaign) -> None:
    """Split the stage's seconds into those of the images and of the training, by the campaign's own times."""
    total = demo.notes.seconds.pop("rebalance_and_train_after", None)
    if total is None or campaign.met_at is None or "generate_review_flip" in demo.notes.seconds:
        return
    images = min(total, (campaign.met_at - campaign.created_at).total_seconds())
    demo.notes.add_seconds("generate_review_flip", images)
    demo.notes.add_seconds("train_after", total - images)


@contextlib.asynccontextmanager
async def _probing(demo: Demo, model_server: ModelClient) -> AsyncIterator[None]:
    """Ask for a prediction every PROBE_S seconds, and count what is not answered."""
    picture = await asyncio.to_thread(_any_picture, demo.home / "starting")

    async def probe() -> None:
        while True:
            demo.probes["sent"] += 1
            try:
                await model_server.predict(picture)
            except EvenskinError:
                demo.probes["failed"] += 1
            await asyncio.sleep(PROBE_S)

    task = asyncio.create_task(probe(), name="probe model-server")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _any_picture(directory: Path) -> bytes:
    return min(directory.rglob("*.jpg")).read_bytes()


async def _predict(demo: Demo, model_server: ModelClient) -> tuple[Prediction, bytes]:
    """Draw a picture that no dataset holds, and post it. Returns the answer and the picture."""
    subject = Subject(skin_tone=4, age_band=AgeBand.ADULT, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=View.FRONTAL)
    provider = ProceduralProvider(processes=1)
    ((condition, severity),) = TRUTH.items()
    try:
        order = Order(derived_id("demo prediction", SEED), condition, severity, subject)
        picture = (await provider.generate(order)).data
    finally:
        await provider.close()
    with demo.notes.timed("predict"):
        answer = await model_server.predict(picture)
    return answer, picture


async def _export(demo: Demo, labeler: LabelerClient) -> None:
    with demo.notes.timed("export"):
        target = demo.home / "dataset"
        await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
        async with labeler.export("imagefolder") as download:
            await write_export(download, target, "imagefolder")


def _versions() -> dict[str, str]:
    packages = ("evenskin", "torch", "onnxruntime", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _write_report(home: Path, report: Report, faces: list[Any], picture: bytes) -> None:
    (home / "prediction.jpg").write_bytes(picture)
    for name, text in (
        ("report.html", render(report, faces=faces, picture=picture)),
        ("report.json", report.model_dump_json(indent=1)),
    ):
        partial = home / f".{name}"
        partial.write_text(text)
        os.replace(partial, home / name)


def _print_summary(report: Report, prediction: Prediction, home: Path, *, json_output: bool) -> None:
    if json_output:
        print_json(report.model_dump(mode="json"))
        return
    console = results()
    console.print(comparison_table(report.models.before, report.models.after, baseline=report.models.baseline))
    console.print(prediction_table(prediction, title="POST /v1/predictions: a face drawn with severe redness"))
    if report.promotion is not None:
        console.print(escape(report.promotion.reason or ""), soft_wrap=True)
    total = sum(report.seconds.values())
    swap = report.model_dump()["swap"]
    console.print(
        f"{total:.0f} s in all, at most {report.peak_memory_mb:.0f} MB; "
        f"{swap['sent']} requests were sent while the model was swapped, {swap['failed']} of them failed."
    )
    console.print(f"Report:  {escape(str(home / 'report.html'))}", soft_wrap=True)
    console.print(f"Dataset: {escape(str(home / 'dataset'))}", soft_wrap=True)
    console.print(f"Next:    evenskin serve all --home {escape(str(home))}", soft_wrap=True)
